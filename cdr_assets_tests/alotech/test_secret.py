"""The app token is in the requests and nowhere else: not in a log, error, repr, traceback, frame, print or page."""

from __future__ import annotations

import http.client
import json
import logging
import pickle
import socket
import traceback
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from cdr_assets.alotech import AlotechClient, AlotechError, Window
from cdr_assets.alotech.wire import Wire
from cdr_assets.domain.redaction import redactors
from cdr_assets_tests.alotech.server import TOKEN, Action, Answer, ScriptedServer, page, record, refused, reset, silence

Connect = Callable[..., AlotechClient]

SPELLINGS = {
    TOKEN,
    quote(TOKEN),
    quote(TOKEN, safe=""),
    quote(TOKEN, safe="").lower(),
    quote_plus(TOKEN),
    quote(quote(TOKEN, safe=""), safe=""),
    json.dumps(TOKEN)[1:-1],
    json.dumps(TOKEN)[1:-1].replace("/", r"\/"),
    escape(TOKEN),
}


def assert_secret(text: str) -> None:
    for spelling in SPELLINGS:
        assert spelling not in text, text
    # Nor may a piece of it be left by a cut or another escape.
    assert "Secret" not in text, text


ECHO = f"no luck with app_token={quote(TOKEN, safe='')} alias {TOKEN}"


def only(text: str) -> Action:
    """Sends exactly this and ends the connection."""

    def write(connection: socket.socket) -> None:
        connection.sendall(text.encode())
        raise ConnectionAbortedError

    return write


FAULTS: dict[str, Action] = {
    "rejected token": refused(f"Invalid token {TOKEN}"),
    "rejected parameter": refused(f"Invalid date in {ECHO}"),
    "refused": refused(ECHO),
    "refused at length": refused(ECHO * 20),
    "refused in other escapes": Answer(
        b'{"success": false, "message": "' + "".join(f"\\u{ord(c):04x}" for c in f"no {TOKEN}").encode() + b'"}'
    ),
    "status": Answer(json.dumps({"message": ECHO}).encode(), 500),
    "status for a token": Answer(json.dumps({"message": ECHO}).encode(), 401),
    "not found": Answer(ECHO.encode(), 404, {}),
    "redirect": Answer(b"", 302, {"Location": f"https://elsewhere.example/{quote(TOKEN)}?next={quote(TOKEN)}"}),
    "redirect to an odd place": Answer(b"", 302, {"Location": f"http://[{quote(TOKEN)}/"}),
    "html": Answer(f"<html>{ECHO}</html>".encode()),
    "keys": Answer(json.dumps({TOKEN: 1, quote(TOKEN): 2}).encode()),
    "cut off": Answer(ECHO.encode() * 100, cut=1000),
    "reset": reset,
    "silence": silence,
    "bad status line": only(f"{quote(TOKEN)} oh no\r\n\r\n"),
    "bad header": only(f"HTTP/1.1 200 OK\r\n{quote(TOKEN)}\r\n\r\n"),
    "bad length": only(f"HTTP/1.1 200 OK\r\nContent-Length: {quote(TOKEN)}\r\n\r\n"),
    "bad chunk": only(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{quote(TOKEN)}\r\n"),
    "bad compression": Answer(TOKEN.encode(), headers={"Content-Encoding": "gzip"}),
    "repeated cursor": page([record("a")], TOKEN),
    "bad cursor": page([record("a")], {TOKEN: 1}),
    "bad charset": Answer(b'{"a": "\x81"}', headers={"Content-Type": f"text/html; charset={quote(TOKEN)}"}),
}


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """All loggers at DEBUG, and http.client told to print its requests to stdout."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    for name in (
        "",
        "urllib3",
        "urllib3.connectionpool",
        "urllib3.util.retry",
        "cdr_assets.alotech.client",
        "filelock",
    ):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def everything_told(error: BaseException) -> str:
    """All that a program which prints the error could show, also of the exceptions behind it."""
    told = ["".join(traceback.format_exception(error)), pickle.dumps(error).decode("latin-1")]
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is not None:
            told += [str(current), repr(current), repr(vars(current)), repr(current.args)]
            pending += [current.__cause__, current.__context__]
    return "\n".join(told)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("position", [0, 1])
def test_faults(
    server: ScriptedServer,
    connect: Connect,
    hour: Window,
    fault: str,
    position: int,
    loud: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.script = lambda asked: FAULTS[fault] if position == 0 or "cursor" in asked else page([], "c1")
    client = connect(server.url, read_timeout=0.05 if fault == "silence" else 20, max_attempts=2)
    with pytest.raises(AlotechError) as caught:
        client.fetch_window(hour)
    assert all(asked["app_token"] == TOKEN for asked in server.asked)
    assert_secret(everything_told(caught.value))
    assert_secret(loud.text)
    # urllib3 logs each new connection: the search above had a text to search.
    assert f"Starting new HTTP connection (1): 127.0.0.1:{server.port}" in loud.text
    printed = capfd.readouterr()
    assert_secret(printed.out + printed.err)


@pytest.mark.parametrize("fault", ["reset", "silence", "bad status line", "bad chunk"])
def test_no_frame_of_a_failed_request_holds_it(server: ScriptedServer, fault: str) -> None:
    server.script = lambda _: FAULTS[fault]
    wire = Wire(server.url, TOKEN, connect_timeout=20, read_timeout=0.05, total_timeout=20)
    with pytest.raises(AlotechError) as caught:
        wire.get({"function": "ping"})
    assert server.asked[0]["app_token"] == TOKEN
    # Services that collect errors send the variables of each frame along, also those of the error's context.
    assert caught.value.__context__ is None
    assert_secret("".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()))
    wire.close()


def test_without_a_connection(connect: Connect, hour: Window, loud: pytest.LogCaptureFixture) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for scheme in ("http", "https"):
            with pytest.raises(AlotechError) as caught:
                connect(f"{scheme}://127.0.0.1:{bound.getsockname()[1]}/").fetch_window(hour)
            assert_secret(everything_told(caught.value))
    assert_secret(loud.text)


def test_single_calls_and_ping(server: ScriptedServer, client: AlotechClient, loud: pytest.LogCaptureFixture) -> None:
    server.script = lambda _: refused(ECHO)
    with pytest.raises(AlotechError) as caught:
        client.fetch_call(callkey=TOKEN)
    assert_secret(everything_told(caught.value))
    with pytest.raises(AlotechError) as caught:
        client.ping()
    assert_secret(everything_told(caught.value))
    assert_secret(loud.text)


@pytest.mark.usefixtures("server")
def test_reprs(client: AlotechClient, hour: Window) -> None:
    client.fetch_window(hour)
    seen: set[int] = set()
    pending: list[object] = [client]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        assert_secret(repr(thing))
        if hasattr(thing, "__dict__"):
            pending += vars(thing).values()
        if isinstance(thing, dict):
            pending += thing.values()
    assert len(seen) > 20


def test_errors_before_any_request() -> None:
    for url in (
        f"https://acme.example/?app_token={quote(TOKEN)}",
        f"http://{quote(TOKEN)}.example/",
        f"https://acme.example:{quote(TOKEN, safe='')}/",
        quote(TOKEN),
    ):
        with pytest.raises(AlotechError) as caught:
            AlotechClient(url, TOKEN)
        assert_secret(everything_told(caught.value))


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
def test_a_page_that_echoes_it(server: ScriptedServer, client: AlotechClient, hour: Window, spelling: str) -> None:
    body = f'{{"CallList": [{{"url": "https://x.example/?a=1&app_token={spelling}&b=2", "queue": "Sat\u0131\u015f"}}]}}'
    server.answers(Answer(body.encode()))
    [one] = client.fetch_window(hour)
    assert one.body.decode() == body.replace(spelling, "[token]")


def test_a_cursor_that_echoes_it_is_followed_as_it_is(
    server: ScriptedServer, client: AlotechClient, hour: Window
) -> None:
    server.answers(page([record("a")], f"next {TOKEN}"), page([record("b")]))
    pages = client.fetch_window(hour)
    assert server.asked[1]["cursor"] == f"next {TOKEN}"
    assert_secret("".join(p.body.decode() for p in pages))


@pytest.mark.parametrize(
    ("token", "body", "expected"),
    [
        ("12345678", "tel 12345678!", "tel [token]!"),
        ("12345678", "tel 9012345678, 12345678a, 123456789", "tel 9012345678, 12345678a, 123456789"),
        ("satis", "queue satis", "queue satis"),
    ],
)
def test_bodies_are_cut_with_care(token: str, body: str, expected: str) -> None:
    in_text, in_body = redactors([token])
    assert in_body(body.encode()).decode() == expected
    assert token not in in_text(body)
