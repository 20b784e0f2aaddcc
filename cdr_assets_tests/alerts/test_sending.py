"""Sending to a real web server and a real mail server: what arrives, what each failure says, and how long it takes."""

import datetime as dt
import time
from pathlib import Path

import pytest

from cdr_assets.alerts import sending
from cdr_assets.alerts.faults import Fault, Kind, cleaner
from cdr_assets.alerts.memory import Memory
from cdr_assets.alerts.message import HELP, Message, spans, write_message, write_test
from cdr_assets.alerts.sending import NotSentError, beat, receivers_of
from cdr_assets.alerts.telling import tell
from cdr_assets.domain.settings import Settings
from cdr_assets_tests.alerts.receivers import PATH, Mailbox, Web
from cdr_assets_tests.cli.command import cdr
from cdr_assets_tests.conftest import TOKEN

NOW = dt.datetime(2026, 3, 2, 3, 15, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
FIVE = dt.datetime(2026, 3, 2, 5)
PASSWORD = "p4ssw0rd/of=mail"


def settings_to(web: Web | None = None, mailbox: Mailbox | None = None, **more: str) -> Settings:
    if web:
        more["cdr_alert_url"] = web.url
    if mailbox:
        user = "bot%40acme.example:p4ssw0rd%2Fof=mail@" if mailbox.password else ""
        more["cdr_smtp_url"] = f"smtp://{user}127.0.0.1:{mailbox.port}?from=cdr@acme.example"
        more["cdr_alert_to"] = "ops@acme.example, boss@acme.example"
    return Settings(alotech_tenant="acme", alotech_app_token=TOKEN, **more)  # type: ignore[arg-type]


def message_of(settings: Settings, *faults: Fault) -> Message:
    clean = cleaner(settings)
    memory = Memory()
    memory.see([Fault(f.kind, f.key, clean(f.subject), clean(f.reason), f.hours) for f in faults], set(), NOW)
    return write_message(memory.due("web", NOW), settings, NOW)


def test_a_message_says_hours_reason_and_what_to_do(web: Web, mailbox: Mailbox) -> None:
    settings = settings_to(web, mailbox)
    hours = (FIVE, FIVE + HOUR, FIVE + 3 * HOUR)
    memory = Memory()
    memory.see([Fault(Kind.HOURS_FAILED, "hours: outage", "", "no connection; check the network", hours)], set(), NOW)
    lines = tell(memory, receivers_of(settings), settings, NOW)
    assert lines == ["CDR_ALERT_URL: 1 notice sent: HTTP 200", "CDR_SMTP_URL: 1 notice sent: accepted"]
    [body] = web.got
    assert body["text"] == (
        "cdr_assets acme.alo-tech.com/api: 1 new\n"
        "\n"
        "NEW: hours failed: 3 h, 2026-03-02 05:00 to 06:00, 2026-03-02 08:00\n"
        "  noticed 2026-03-02 06:15\n"
        "  why: no connection; check the network\n"
        "  do: Do what the reason says. The hours are read again once an hour for three days, then every night for a "
        "month.\n"
        f'  more: {HELP}, "hours failed"'
    )
    [fault] = body["faults"]
    assert (fault["phase"], fault["kind"], fault["count"], fault["until"]) == ("new", "hours failed", 3, None)
    [mail] = mailbox.got
    assert mail.get_content().splitlines() == body["text"].splitlines()
    assert (mail["From"], mail["Subject"]) == ("cdr@acme.example", "cdr_assets acme.alo-tech.com/api: 1 new")
    assert mailbox.recipients == [["ops@acme.example", "boss@acme.example"]]


def test_no_number_no_secret_and_no_command_leaves(web: Web, mailbox: Mailbox) -> None:
    mailbox.password = PASSWORD
    settings = settings_to(web, mailbox)
    hostile = (
        f"<!channel> the call of 0532 123 45 67\r\nBcc: evil@example.com\x1b[31m app_token={TOKEN} {PASSWORD} {PATH} "
        f"ops@acme.example {settings.cdr_smtp_url.get_secret_value() if settings.cdr_smtp_url else ''}"
    )
    message = message_of(settings, Fault(Kind.RUN_FAILED, "run: x", f"job\r\n{hostile}", hostile))
    for receiver in receivers_of(settings):
        receiver.send(message)
    [mail] = mailbox.got
    for told in (str(web.got[0]), mail.as_string(), mail.get_content()):
        for secret in ("123 45", TOKEN, PASSWORD, PATH, "<!", "\x1b", "smtp://"):
            assert secret not in told
        assert "ops@acme.example" not in told.replace("ops@acme.example, boss@acme.example", "")
    assert "*****67" in web.got[0]["text"]
    assert mail["Bcc"] is None


def test_a_hundred_faults_are_a_digest() -> None:
    settings = settings_to()
    message = message_of(settings, *(Fault(Kind.CHECK_WARNS, f"check: {n}", f"check {n}", "odd") for n in range(100)))
    assert message.subject == "cdr_assets acme.alo-tech.com/api: 100 new"
    assert message.text.endswith("and 90 more: 90 x check warns (new)")
    assert len(message.json["faults"]) == 10


def test_spans_of_hours() -> None:
    assert list(spans([FIVE, FIVE + HOUR, FIVE + 3 * HOUR, *(FIVE + n * HOUR for n in range(30, 60))])) == [
        "2026-03-02 05:00 to 06:00",
        "2026-03-02 08:00",
        "2026-03-03 11:00 to 2026-03-04 16:00",
    ]


@pytest.mark.parametrize(
    ("status", "told", "tries"),
    [
        (302, "HTTP 302, a redirect, which is not followed: write the final address", 1),
        (404, "HTTP 404", 1),
        (503, "HTTP 503", 2),
        (None, "no answer within 0.5 s", 1),
    ],
)
def test_what_a_web_server_does_not_take(
    web: Web, monkeypatch: pytest.MonkeyPatch, status: int | None, told: str, tries: int
) -> None:
    monkeypatch.setattr(sending, "_PAUSE_SECONDS", 0)
    if status is None:
        monkeypatch.setattr(sending, "_ATTEMPT_SECONDS", 0.5)
    web.status = status
    settings = settings_to(web, cdr_heartbeat_url=web.url)
    [receiver] = receivers_of(settings)
    begun = time.monotonic()
    with pytest.raises(NotSentError) as raised:
        receiver.send(write_test(settings, NOW))
    assert time.monotonic() - begun < 5
    assert (str(raised.value), len(web.requests)) == (told, tries)
    assert raised.value.__context__ is None
    with pytest.raises(NotSentError, match=told):
        beat(settings)
    # No redirect was followed: it could lead anywhere, with the whole message.
    assert {path for _, path in web.requests} == {PATH}


def test_neither_a_proxy_nor_a_netrc_gets_between(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login a password b\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    settings = settings_to(web)
    assert receivers_of(settings)[0].send(write_test(settings, NOW)) == "HTTP 200"


def test_a_closed_port_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_PAUSE_SECONDS", 0)
    settings = Settings(
        cdr_alert_url="http://127.0.0.1:9/secret-path-of-it",
        cdr_smtp_url="smtp://127.0.0.1:9",
        cdr_alert_to="a@b.example",
    )  # type: ignore[arg-type]
    reasons = []
    for receiver in receivers_of(settings):
        with pytest.raises(NotSentError) as raised:
            receiver.send(write_test(settings, NOW))
        reasons.append(str(raised.value))
    assert reasons == [
        "no connection, or it broke (ConnectionError)",
        "no connection to the mail server, or it broke (ConnectionRefusedError)",
    ]


def test_what_a_mail_server_does_not_take(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_PAUSE_SECONDS", 0)
    mailbox.password = PASSWORD
    settings = settings_to(None, mailbox)
    [receiver] = receivers_of(settings)
    message = write_test(settings, NOW)
    assert receiver.send(message) == "accepted"
    mailbox.refused = {"boss@acme.example"}
    assert receiver.send(message) == "accepted for 1 of 2 addresses"
    mailbox.refused.add("ops@acme.example")
    with pytest.raises(NotSentError, match=r"^the mail server refuses every address \(550\)$"):
        receiver.send(message)
    mailbox.refused, mailbox.accepts = set(), False
    with pytest.raises(NotSentError, match=r"^the mail server answers 451$"):
        receiver.send(message)
    mailbox.password = "another"
    with pytest.raises(NotSentError, match=r"^the mail server refuses the user or the password \(535\)$"):
        receiver.send(message)


def test_a_password_needs_tls_but_on_this_machine(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox.password = PASSWORD
    settings = settings_to(None, mailbox)
    # As if the server were on another machine.
    monkeypatch.setattr(sending, "_LOOPBACK", ())
    with pytest.raises(NotSentError, match=r"^the mail server offers no TLS or no login"):
        receivers_of(settings)[0].send(write_test(settings, NOW))
    assert mailbox.got == []


def test_what_could_not_be_sent_is_sent_at_the_next_tick(
    web: Web, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_PAUSE_SECONDS", 0)
    settings, memory = settings_to(web, mailbox), Memory()
    memory.see([Fault(Kind.CALLS_MISSING, "calls", reason="none came")], set(), NOW)
    web.status = 500
    assert tell(memory, receivers_of(settings), settings, NOW) == [
        "CDR_ALERT_URL: 1 notice not sent, the next tick tries again: HTTP 500",
        "CDR_SMTP_URL: 1 notice sent: accepted",
    ]
    web.status = 200
    assert tell(memory, receivers_of(settings), settings, NOW) == ["CDR_ALERT_URL: 1 notice sent: HTTP 200"]
    assert (len(web.got), len(mailbox.got)) == (1, 1)


def test_cdr_alert_tries_every_address(web: Web, mailbox: Mailbox, tmp_path: Path) -> None:
    addresses = {
        "CDR_ALERT_URL": web.url,
        "CDR_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}",
        "CDR_ALERT_TO": "ops@acme.example",
        "CDR_HEARTBEAT_URL": f"{web.url}/beat",
    }
    done = cdr(tmp_path, "alert", "--test", ALOTECH_TENANT="acme", **addresses)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok    CDR_ALERT_URL: HTTP 200",
        "ok    CDR_SMTP_URL: accepted",
        "ok    CDR_HEARTBEAT_URL: HTTP 200",
    ]
    assert web.texts[0].startswith("cdr_assets acme.alo-tech.com/api: test\n\nSomebody ran `cdr alert --test`.")
    assert web.requests[-1] == ("GET", f"{PATH}/beat")
    web.status = 404
    done = cdr(tmp_path, "alert", "--test", **addresses)
    assert done.returncode == 1
    assert "wrong CDR_ALERT_URL: HTTP 404\n" in done.stdout
    assert "ok    CDR_SMTP_URL: accepted\n" in done.stdout


def test_cdr_alert_without_an_address_or_without_test(tmp_path: Path) -> None:
    done = cdr(tmp_path, "alert", "--test")
    assert (done.returncode, done.stderr) == (
        1,
        "cdr: no address is set: write CDR_ALERT_URL, or CDR_SMTP_URL and CDR_ALERT_TO, or CDR_HEARTBEAT_URL in .env\n",
    )
    assert cdr(tmp_path, "alert").returncode == 2
