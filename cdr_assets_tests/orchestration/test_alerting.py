"""The sensors `alerts` and `heartbeat` over real runs, a real web server and a real mail server; the clock is given.

A night: the API is down, an hour fails and is mended, the token is revoked, the daemon stops. The long night is part of
the campaign.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest

from cdr_assets.domain.hours import consecutive
from cdr_assets.orchestration.alerting import beat_after_good_run, tick
from cdr_assets.orchestration.partitions import hourly_partitions
from cdr_assets.orchestration.sensors import due_hours, missing_hours
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.alerts.receivers import Mailbox, Web
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record

ZONE = ZoneInfo("Europe/Istanbul")
ONE_HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)


@dataclass
class Daemon:
    """Ticks of both sensors over a pipeline, at times that the test gives."""

    pipeline: Pipeline
    cursor: str | None = None
    beaten: str | None = None
    told: list[str] = field(default_factory=list)

    def tick(self, now: dt.datetime) -> None:
        """Both sensors at a local time."""
        settings, instance = self.pipeline.settings, self.pipeline.instance
        now = now.replace(tzinfo=ZONE)
        partitions = hourly_partitions(settings)
        self.cursor, told = tick(instance, partitions, settings, self.cursor, now)
        self.told.append(told)
        self.beaten, _ = beat_after_good_run(instance, partitions, settings, self.beaten, now)


class Night:
    """A night of schedules, sensors and an API that fails, by a simulated clock: one step a minute of local time.

    `api` is the server of the moment, one of `pipelines`: all with the same folder, tenant and Dagster instance.
    """

    def __init__(self, pipelines: dict[str, Pipeline], web: Web, begins: dt.datetime) -> None:
        self.pipelines, self.api, self.web = pipelines, "good", web
        self.daemon = Daemon(pipelines["good"])
        self.now, self.is_running = begins, True
        self.asked: str | None = None
        self.messages: list[tuple[str, str]] = []
        self.beats: list[str] = []

    def until(self, time: str) -> None:
        """Lets the clock run up to, but not including, the next time of day that reads so."""
        while f"{self.now:%H:%M}" != time:
            if self.is_running:
                self._minute()
            self.now += MINUTE

    def _minute(self) -> None:
        now, pipeline = self.now.replace(tzinfo=ZONE), self.pipelines[self.api]
        for minute, schedule in ((10, "hourly"), (30, "lookback_hourly")):
            if self.now.minute == minute:
                pipeline.tick(schedule, now)
        if f"{now:%H:%M}" == "02:30":
            pipeline.tick("lookback_nightly", now)
        partitions = hourly_partitions(pipeline.settings)
        missing = missing_hours(pipeline.instance, partitions, pipeline.settings, now)
        due, self.asked = due_hours(missing, self.asked, now)
        for hours in consecutive(due):
            pipeline.run(hours[0].start, len(hours))
        told, beats = len(heads(self.web)), self.count_of_beats()
        self.daemon.tick(self.now)
        self.messages += [(f"{now:%H:%M}", head) for head in heads(self.web)[told:]]
        self.beats += [f"{now:%H:%M}"] * (self.count_of_beats() - beats)

    def count_of_beats(self) -> int:
        return sum(command == "GET" for command, _ in self.web.requests)


def heads(web: Web) -> list[str]:
    """The first line of each notice of each message."""
    return [line for text in web.texts for line in text.splitlines() if ": " in line and line.split(":")[0].isupper()]


def test_a_failed_hour_is_told_once_and_when_it_is_mended(
    calls: ListedCalls, make_pipeline: Callable[..., Pipeline], web: Web, mailbox: Mailbox
) -> None:
    calls.add(record("a"))
    with Sandbox(calls, token=TOKEN) as sandbox:
        good = make_pipeline(
            sandbox.base_url,
            cdr_alert_url=web.url,
            cdr_heartbeat_url=f"{web.url}/beat",
            cdr_smtp_url=f"smtp://127.0.0.1:{mailbox.port}",
            cdr_alert_to="ops@acme.example",
        )
        bad = make_pipeline(
            sandbox.base_url, **good.settings.model_dump(include={"cdr_alert_url"}), alotech_app_token="revoked" * 3
        )
        daemon, now = Daemon(good), HOUR + ONE_HOUR + 11 * MINUTE
        # The first run of all fails, so that there is no copy: it is told all the same.
        assert not bad.run(HOUR, 2).success
        daemon.tick(now)
        daemon.tick(now + MINUTE)
        assert heads(web) == ["NEW: hours failed: 2 h, 2026-03-02 05:00 to 06:00"]
        assert 'why: AloTech says "app_token is not valid"; set ALOTECH_APP_TOKEN' in web.texts[0]
        assert not any(command == "GET" for command, _ in web.requests)
        assert good.run(HOUR, 2).success
        daemon.tick(now + 2 * MINUTE)
        assert heads(web)[1:] == ["OVER: hours failed: 2 h, 2026-03-02 05:00 to 06:00"]
        assert [command for command, _ in web.requests].count("GET") == 1
        # A later attempt fails, a published hour with it; and the daemon begins with an empty cursor.
        assert not bad.run(HOUR).success
        daemon = Daemon(good)
        daemon.tick(now + 5 * ONE_HOUR)
        assert heads(web)[2:] == [
            "NEW: hours failed: 1 h, 2026-03-02 05:00",
            # Nobody has run anything for five hours.
            "NEW: newest hour is late: 2 h, 2026-03-02 07:00 to 08:00",
        ]
    assert len(mailbox.got) == 3
    assert TOKEN not in daemon.cursor + str(web.got) + "".join(mailbox.texts)
    assert "revoked" not in (daemon.cursor or "") + str(web.got)


@pytest.mark.campaign
def test_a_night(
    calls: ListedCalls,
    make_pipeline: Callable[..., Pipeline],
    web: Web,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdr_assets.alotech.client._backoff", lambda _: 0)
    evening = HOUR.replace(hour=21)
    for n in range(-6 * 4, 12 * 4):
        calls.add(record(f"k{n}", evening + n * 15 * MINUTE))
    addresses = {
        "alotech_tenant": "acme",
        "cdr_start": f"{evening - 6 * ONE_HOUR}",
        "cdr_alert_url": web.url,
        "cdr_heartbeat_url": f"{web.url}/beat",
        "cdr_smtp_url": f"smtp://127.0.0.1:{mailbox.port}",
        "cdr_alert_to": "ops@acme.example",
    }
    with Sandbox(calls, token=TOKEN) as sandbox, Sandbox(calls, token=TOKEN, fault="refused-date") as broken:
        night = Night(
            {
                "good": make_pipeline(sandbox.base_url, **addresses),
                "down": make_pipeline("http://127.0.0.1:9/api/", **addresses),
                "broken": make_pipeline(broken.base_url, **addresses),
                "revoked": make_pipeline(sandbox.base_url, **addresses, alotech_app_token="revoked" * 3),
            },
            web,
            evening,
        )
        assert night.pipelines["good"].run(evening - 6 * ONE_HOUR, 6).success
        for time, api in (
            ("23:00", "down"),
            ("01:00", "good"),
            ("03:00", "broken"),
            ("03:20", "good"),
        ):
            night.until(time)
            night.api = api
        night.until("04:00")
        night.is_running = False
        night.until("06:40")
        night.is_running = True
        for time, api in (("06:50", "revoked"), ("07:20", "good"), ("08:20", "good")):
            night.until(time)
            night.api = api
    print(*(f"{time}  {told}" for time, told in night.messages), f"heartbeats: {' '.join(night.beats)}", sep="\n")
    assert night.messages == []
    assert len(mailbox.got) == len(web.got)
