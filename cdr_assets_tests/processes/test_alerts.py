"""Alerts and heartbeats of a real daemon, `cdr dev`, with the real clock: what is told, and after how many seconds."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cdr_assets.sandbox import GeneratedCentre, Sandbox
from cdr_assets_tests.alerts.receivers import Mailbox, Web
from cdr_assets_tests.cli.command import cdr_process
from cdr_assets_tests.conftest import TOKEN
from cdr_assets_tests.processes.test_dev import await_answer, dev, ends_whole, free_port

HOUR = dt.timedelta(hours=1)


def seconds_until(what: Callable[[], object], within: float) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within, "it does not come"
        time.sleep(0.2)
    return time.monotonic() - begun


@pytest.mark.campaign
def test_a_daemon_tells_of_a_revoked_token_and_a_dead_one_is_missed(
    tmp_path: Path, web: Web, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(ZoneInfo("Europe/Istanbul")).replace(tzinfo=None)
    newest = now.replace(minute=0, second=0, microsecond=0) - HOUR
    first = newest - 3 * HOUR
    with Sandbox(GeneratedCentre(calls_per_hour=10), token=TOKEN) as sandbox:
        environment = {
            "ALOTECH_BASE_URL": sandbox.base_url,
            "ALOTECH_APP_TOKEN": TOKEN,
            "CDR_START": f"{first}",
            # No hour is late, so that the token is the only fault.
            "CDR_LATE_MINUTES": "600",
            "CDR_ALERT_URL": web.url,
            "CDR_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}",
            "CDR_ALERT_TO": "ops@acme.example",
            "CDR_HEARTBEAT_URL": f"{web.url}/beat",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def backfill(start: dt.datetime, finish: dt.datetime) -> None:
            done = cdr_process(tmp_path, "backfill", f"{start}", f"{finish}", **environment)
            assert done.returncode == 0, done.stdout + done.stderr

        def beats() -> int:
            return sum(command == "GET" for command, _ in web.requests)

        backfill(first, first + HOUR)
        # The token is revoked. The gap sensor asks for the other hours, and their run fails.
        sandbox._token = "another-token-of-it"
        port = free_port()
        with dev(tmp_path, port) as process:
            assert process.stdout is not None
            log: list[str] = []
            # Nobody else reads it, and a full pipe would stop the daemon.
            threading.Thread(target=lambda: log.extend(process.stdout or ()), daemon=True).start()
            await_answer(port)
            begins = seconds_until(lambda: len(web.got) == len(mailbox.got) == 1, 240)
            assert "NEW: hours failed: " in web.texts[0]
            assert "set ALOTECH_APP_TOKEN to a valid application token of this tenant" in web.texts[0]
            # The backfill's own run, which ended before the daemon began, has a fresh hour.
            seconds_until(beats, 60)
            before = beats()
            sandbox._token = TOKEN
            backfill(first, newest + HOUR)
            is_over = seconds_until(lambda: len(web.got) == len(mailbox.got) == 2, 90)
            assert "OVER: hours failed: " in web.texts[1]
            beaten = seconds_until(lambda: beats() > before, 90)
            before = beats()
            assert ends_whole(process)
        # The daemon is dead: the next good hour is no sign of life.
        backfill(newest, newest + HOUR)
        time.sleep(60)
        assert (beats(), len(web.got)) == (before, 2)
    sent = [
        line for line in log if "Sensor alerts skipped: CDR_ALERT_URL: 1 notice sent: HTTP 200; CDR_SMTP_URL" in line
    ]
    assert len(sent) == 2
    print(
        f"new: {begins:.0f} s after the UI answered; over: {is_over:.0f} s after the hours were published; heartbeat: "
        f"{beaten:.0f} s after that"
    )
    logs = [path for path in tmp_path.rglob("*") if path.is_file() and web.url.encode() in path.read_bytes()]
    assert logs == []
