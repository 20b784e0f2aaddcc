"""The sensors `alerts` and `heartbeat` over real runs, a real web server and a real mail server; the clock is given.

A night: the API is down, an hour fails and is mended, the token is revoked, the daemon stops. The long night is part of
the campaign.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    SkipReason,
    build_sensor_context,
)

from cdr_assets.domain.hours import consecutive
from cdr_assets.orchestration.alerting import beat_after_good_run, build_alert_sensors, tick
from cdr_assets.orchestration.partitions import hourly_partitions
from cdr_assets.orchestration.sensors import due_hours, missing_hours
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.alerts.receivers import Mailbox, Web
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record, settings_for
from cdr_assets_tests.orchestration.test_hours import files_with_the_token

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
        # The hours that the gap sensor has asked for; messages and heartbeats, each with its time.
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
        # First what the minutes before have left behind: in a daemon, sensors tick while runs are under way.
        told, beats = len(heads(self.web)), self._count_of_beats()
        self.daemon.tick(self.now)
        self.messages += [(f"{now:%H:%M}", head) for head in heads(self.web)[told:]]
        self.beats += [f"{now:%H:%M}"] * (self._count_of_beats() - beats)
        for minute, schedule in ((10, "hourly"), (30, "lookback_hourly")):
            if self.now.minute == minute:
                pipeline.tick(schedule, now)
        if f"{now:%H:%M}" == "02:30":
            pipeline.tick("lookback_nightly", now)
        missing = missing_hours(pipeline.instance, hourly_partitions(pipeline.settings), pipeline.settings, now)
        due, self.asked = due_hours(missing, self.asked, now)
        for hours in consecutive(due):
            pipeline.run(hours[0].start, len(hours))

    def _count_of_beats(self) -> int:
        return sum(command == "GET" for command, _ in self.web.requests)


def heads(web: Web) -> list[str]:
    """The first line of each notice of each message."""
    return [line for text in web.texts for line in text.splitlines() if ": " in line and line.split(":")[0].isupper()]


def test_a_failed_hour_is_told_once_and_when_it_is_mended(
    calls: ListedCalls, make_pipeline: Callable[..., Pipeline], web: Web, mailbox: Mailbox
) -> None:
    calls.add(record("a"))
    calls.add(record("b", of_a_new_kind="x"))
    with Sandbox(calls, token=TOKEN) as sandbox:
        good = make_pipeline(
            sandbox.base_url,
            cdr_alert_url=web.url,
            cdr_heartbeat_url=f"{web.url}/beat",
            cdr_smtp_url=f"smtp://127.0.0.1:{mailbox.port}",
            cdr_alert_to="ops@acme.example",
        )
        bad = make_pipeline(sandbox.base_url, alotech_app_token="revoked" * 3)
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
        assert heads(web)[1:] == [
            "NEW: check warns: cdr/calls fields_are_known: 2 h, 2026-03-02 05:00 to 06:00",
            "OVER: hours failed: 2 h, 2026-03-02 05:00 to 06:00",
        ]
        assert [command for command, _ in web.requests].count("GET") == 1
        # The next hour fails, and the daemon has lost its cursor.
        assert not bad.run(HOUR + 2 * ONE_HOUR).success
        daemon = Daemon(good)
        daemon.tick(now + 5 * ONE_HOUR)
        assert heads(web)[3:] == [
            "NEW: hours failed: 1 h, 2026-03-02 07:00",
            # Nobody has run anything for hours.
            "NEW: newest hour is late: 1 h, 2026-03-02 08:00",
            "NEW: check warns: cdr/calls fields_are_known: 2 h, 2026-03-02 05:00 to 06:00",
        ]
    assert len(mailbox.got) == 3
    for secret in (TOKEN, "revoked", "ops@acme.example", web.url):
        assert secret not in (daemon.cursor or "") + str(web.got)


#: What happens, when it happens or shows first, when a message is expected, and its first line.
EXPECTED = [
    ("the API is down from 23:00: the hour 22:00 fails", "23:10", "23:11", "NEW: hours failed: 1 h, 2026-03-02 22:00"),
    (
        "the API is back at 01:00; the gap sensor reads both hours",
        "01:25",
        "01:26",
        "OVER: hours failed: 2 h, 2026-03-02 22:00 to 23:00",
    ),
    ("one hour is refused", "03:10", "03:11", "NEW: hours failed: 1 h, 2026-03-03 02:00"),
    ("it is mended and read again", "03:25", "03:26", "OVER: hours failed: 1 h, 2026-03-03 02:00"),
    (
        "the daemon, stopped at 04:00, is started again",
        "06:40",
        "06:40",
        "NEW: newest hour is late: 1 h, 2026-03-03 03:00",
    ),
    ("the gap sensor reads what is missing", "06:40", "06:41", "OVER: newest hour is late: 1 h, 2026-03-03 03:00"),
    (
        "the token is revoked at 06:50: the hour 06:00 fails",
        "07:10",
        "07:11",
        "NEW: hours failed: 1 h, 2026-03-03 06:00",
    ),
    (
        "there is a new token; the gap sensor reads the hour",
        "07:25",
        "07:26",
        "OVER: hours failed: 1 h, 2026-03-03 06:00",
    ),
]

# None at 23:11 and 00:11, while the API was down, and from 04:11 to 06:11, while the daemon was.
BEATS = ["21:00", "21:11", "22:11", "01:11", "01:26", "02:11", "03:26", "06:41", "07:26", "08:11"]


@pytest.mark.campaign
def test_a_night(
    calls: ListedCalls,
    make_pipeline: Callable[..., Pipeline],
    web: Web,
    mailbox: Mailbox,
    tmp_path: Path,
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
    print("| event | at | message expected | received | text |", "|---|---|---|---|---|", sep="\n")
    for (event, at, due, _), (received, told) in zip(EXPECTED, night.messages, strict=False):
        print(f"| {event} | {at} | {due} | {received} | `{told}` |")
    print(f"heartbeats: {' '.join(night.beats)}")
    assert night.messages == [(due, told) for _, _, due, told in EXPECTED]
    assert night.beats == BEATS
    # Mail and webhook are told the same, and no file of the night holds an address or the token.
    assert len(mailbox.got) == len(web.got)
    assert not files_with_the_token(tmp_path)


class _LostLogs:
    """A Dagster instance whose storage of runs cannot be read."""

    def get_run_records(self, *_: object, **__: object) -> None:
        raise OSError("disk I/O error at 0532 123 45 67")


def test_a_storage_that_cannot_be_read_is_told_and_silences_nothing(tmp_path: Path, web: Web) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path / "data", cdr_alert_url=web.url)
    # A copy that cannot be read either.
    settings.published_path.parent.mkdir(parents=True)
    settings.published_path.write_bytes(b"no database")
    now, cursor = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC), None
    for minutes in (0, 9, 11, 12):
        at = now + minutes * MINUTE
        cursor, _ = tick(_LostLogs(), hourly_partitions(settings), settings, cursor, at)  # type: ignore[arg-type]
        assert len(web.got) == (1 if minutes > 10 else 0)
    assert [line for line in heads(web) if "alerts cannot look" in line] == [
        "NEW: alerts cannot look: runs and checks in Dagster",
        "NEW: alerts cannot look: hours in the published copy",
        "NEW: alerts cannot look: calls in the published copy",
    ]
    assert "why: OSError: disk I/O error at *****67; what was told of them before stays as it is" in web.texts[0]


def test_sensors_are_on_only_where_an_address_is_set(tmp_path: Path, web: Web) -> None:
    def sensors(**addresses: str) -> dict[str, bool]:
        settings = settings_for("http://127.0.0.1:1", tmp_path / "data", **addresses)
        found = {sensor.name: sensor for sensor in build_alert_sensors(hourly_partitions(settings), settings)}
        with DagsterInstance.ephemeral() as instance:
            for sensor in found.values():
                with build_sensor_context(instance, cursor=None) as context:
                    assert isinstance(sensor(context), SkipReason)
        return {name: sensor.default_status is DefaultSensorStatus.RUNNING for name, sensor in found.items()}

    assert sensors() == {"alerts": False, "heartbeat": False}
    assert sensors(cdr_alert_url=web.url) == {"alerts": True, "heartbeat": False}
    assert sensors(cdr_heartbeat_url=web.url) == {"alerts": False, "heartbeat": True}
    assert sensors(cdr_smtp_url="smtp://127.0.0.1:9", cdr_alert_to="a@b.c") == {"alerts": True, "heartbeat": False}
    assert web.requests == []


def run_of(instance: DagsterInstance, job: str, status: DagsterRunStatus, **tags: str) -> str:
    """Stores a run that has ended."""
    run = instance.add_run(DagsterRun(job, run_id=str(uuid4()), tags=tags, status=DagsterRunStatus.STARTED))
    kind = DagsterEventType.RUN_SUCCESS if status is DagsterRunStatus.SUCCESS else DagsterEventType.RUN_FAILURE
    instance.report_dagster_event(DagsterEvent(kind.value, job, message="its process was killed"), run.run_id)
    return run.run_id


def test_every_run_is_read_once_and_a_long_history_in_portions(
    make_pipeline: Callable[..., Pipeline], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr_assets.orchestration.alerting._AT_ONCE", 6)
    pipeline = make_pipeline("http://127.0.0.1:1", cdr_alert_url=web.url)
    daemon, now = Daemon(pipeline), dt.datetime(2026, 3, 2, 12)
    for n in range(6):
        run_of(pipeline.instance, f"job {n % 3}", DagsterRunStatus.FAILURE)
    run_of(pipeline.instance, "job 1", DagsterRunStatus.SUCCESS)
    daemon.tick(now)
    # Runs that are not read yet may have mended what these have left behind.
    assert (daemon.told, web.got) == (["1 runs or more are to be read first"], [])
    daemon.tick(now)
    assert heads(web) == ["NEW: run failed: job 0", "NEW: run failed: job 2"]
    assert "why: its process was killed (run " in web.texts[0]
    daemon.tick(now + MINUTE)
    run_of(pipeline.instance, "job 0", DagsterRunStatus.SUCCESS)
    daemon.tick(now + 2 * MINUTE)
    assert heads(web)[2:] == ["OVER: run failed: job 0"]


def test_a_heartbeat_that_fails_is_tried_again_and_a_backfill_of_old_hours_has_none(
    make_pipeline: Callable[..., Pipeline], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr_assets.alerts.sending._PAUSE_SECONDS", 0)
    pipeline = make_pipeline("http://127.0.0.1:1", cdr_heartbeat_url=web.url)
    daemon, now = Daemon(pipeline), HOUR + ONE_HOUR + 11 * MINUTE

    def beats() -> int:
        web.requests.clear()
        daemon.tick(now)
        return len(web.requests)

    run_of(pipeline.instance, "hourly", DagsterRunStatus.SUCCESS, **{"dagster/partition": "2026-03-01-00:00"})
    run_of(pipeline.instance, "lookback", DagsterRunStatus.SUCCESS, **{"dagster/partition": "2026-03-02-05:00"})
    run_of(pipeline.instance, "hourly", DagsterRunStatus.FAILURE, **{"dagster/partition": "2026-03-02-05:00"})
    assert beats() == 0
    run_of(pipeline.instance, "hourly", DagsterRunStatus.SUCCESS, **{"dagster/partition": "2026-03-02-05:00"})
    web.status = 503
    assert beats() == 2
    web.status = 200
    assert [beats(), beats()] == [1, 0]
