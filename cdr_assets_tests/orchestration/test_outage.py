"""An outage of five days, of the machine, the API or the network, on a simulated clock: what catches up, and when.

A machine that was off has no ticks; during an outage of the API or the network all ticks fail.
"""

import datetime as dt
import math
import os
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, RunRequest, build_schedule_context

from cdr_assets.alotech import client
from cdr_assets.definitions import build_defs
from cdr_assets.domain.hours import Hour, consecutive
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration import sensors
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between
from cdr_assets.orchestration.sensors import due_hours, missing_hours, unpublished_hours
from cdr_assets.sandbox import Sandbox, fault_of
from cdr_assets_tests.conftest import TOKEN, Pipeline
from cdr_assets_tests.orchestration.test_hours import failure_of
from cdr_assets_tests.orchestration.test_schedules import publish as publish_copy_of
from cdr_assets_tests.orchestration.test_sensors import HOUR, MINUTE
from cdr_assets_tests.orchestration.test_simulated_day import MIDNIGHT, ZONE, Api, stored, told

# The first hour that the outage leaves out ends then; and the machine, the API or the network is back.
BEGINS = dt.datetime(2026, 3, 10, 8, tzinfo=dt.UTC)
BACK = BEGINS + dt.timedelta(days=5)


def keys(hours: Iterable[Hour]) -> list[str]:
    return [hour.key for hour in hours]


def hours_of(settings: Settings, start: dt.datetime, finish: dt.datetime) -> list[Hour]:
    return hours_between(hourly_partitions(settings), start, finish, finish)


def before(settings: Settings) -> set[str]:
    """The last four days before the outage are published. Nothing was asked for before that."""
    return set(keys(hours_of(settings, BEGINS - dt.timedelta(days=4), BEGINS)))


def test_a_machine_that_was_off_catches_up_in_one_run_at_its_first_tick(settings: Settings) -> None:
    now = BACK + sensors.GRACE + dt.timedelta(minutes=settings.cdr_settle_minutes)
    missing = unpublished_hours(before(settings), hourly_partitions(settings), settings, now)
    due, _ = due_hours(missing, None, now)
    [run] = consecutive(due)
    assert keys(run) == keys(hours_of(settings, BEGINS, BACK))
    assert len(run) == 5 * 24


def test_an_api_that_is_away_is_asked_for_each_hour_once_an_hour(settings: Settings) -> None:
    """Every run fails, until the API or the network is back."""
    published, cursor, asked = before(settings), None, dict[str, list[dt.datetime]]()
    for tick in range(5 * 24 * 2 + 4):
        now = BEGINS + 30 * tick * MINUTE
        missing = unpublished_hours(published, hourly_partitions(settings), settings, now)
        due, cursor = due_hours(missing, cursor, now)
        for hour in due:
            asked.setdefault(hour.key, []).append(now)
        if now >= BACK:
            published |= set(keys(due))
    assert list(asked)[: 5 * 24] == keys(hours_of(settings, BEGINS, BACK))
    for times in asked.values():
        assert all(later - earlier >= HOUR for earlier, later in pairwise(times))
    # No hour was given up, and all were there an hour after the API was back.
    assert len(asked[next(iter(asked))]) == 5 * 24
    assert max(times[-1] for times in asked.values() if times[0] < BACK) < BACK + HOUR
    assert unpublished_hours(published, hourly_partitions(settings), settings, now) == []


def test_what_is_older_than_thirty_days_is_left_to_the_operator(settings: Settings) -> None:
    def missing(published: set[str]) -> list[str]:
        after_40_days = BEGINS + dt.timedelta(days=40)
        return keys(unpublished_hours(published, hourly_partitions(settings), settings, after_40_days))

    assert len(missing(before(settings))) == 30 * 24 - 1
    # An hour of long ago changes nothing.
    assert missing(before(settings) | {"2025-06-01-00:00"}) == missing(before(settings))


def test_the_reports_of_the_days_of_an_outage_are_written_when_it_is_over(
    instance: DagsterInstance,
    settings: Settings,
) -> None:
    """Four days are always written again. A fifth is, if its hours were read after its page was written, or it has
    none."""
    at = dt.datetime(2026, 3, 20, 6, tzinfo=settings.zone)
    days = [dt.date(2026, 3, day) for day in range(10, 20)]
    # Read on the morning of the 20th.
    publish_copy_of(
        settings,
        {
            dt.datetime.combine(day, dt.time(1)): at - dt.datetime.combine(day, dt.time(3), settings.zone)
            for day in days
        },
    )
    schedule = build_defs(settings).get_repository_def().get_schedule_def("daily_report")

    def first_day() -> str:
        [request] = schedule(build_schedule_context(instance, scheduled_execution_time=at))
        assert isinstance(request, RunRequest)
        assert request.tags["dagster/asset_partition_range_end"] == "2026-03-19"
        return str(request.tags["dagster/asset_partition_range_start"])

    settings.reports_dir.mkdir()
    for day in days:
        (settings.reports_dir / f"{day}.html").touch()
        os.utime(settings.reports_dir / f"{day}.html", (at.timestamp(), at.timestamp()))
    assert first_day() == "2026-03-16"
    (settings.reports_dir / "2026-03-14.html").unlink()
    assert first_day() == "2026-03-14"
    before = (at - dt.timedelta(days=5)).timestamp()
    os.utime(settings.reports_dir / "2026-03-12.html", (before, before))
    assert first_day() == "2026-03-12"


@pytest.mark.campaign
@pytest.mark.parametrize("away", ["machine", "API", "network"])
def test_five_days_without_it_are_caught_up_in_one_run(
    away: str, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real runs. While the API or the network is away, the sensor ticks every six hours."""
    monkeypatch.setattr(client, "_backoff", lambda _: 0)
    api = Api(6 * 24, 5)
    ends, back = MIDNIGHT + dt.timedelta(days=1), MIDNIGHT + dt.timedelta(days=6)
    with (
        Sandbox(api, token=TOKEN) as sandbox,
        Sandbox(api, token=TOKEN, fault=fault_of("503", times=math.inf)) as unavailable,
    ):
        addresses = {"API": unavailable.base_url, "network": "http://127.0.0.1:1/api/"}
        here, gone = (
            make_pipeline(address, alotech_tenant="acme", cdr_start=f"{MIDNIGHT}")
            for address in (sandbox.base_url, addresses.get(away, sandbox.base_url))
        )
        api.at(ends)
        assert here.run(MIDNIGHT, 24).success

        cursor, failed = None, 0
        if away != "machine":
            for now in (ends + hours * HOUR for hours in range(6, 5 * 24, 6)):
                api.at(now)
                results, cursor = tick(gone, now.replace(tzinfo=ZONE), cursor)
                assert [result.success for result in results] == [False]
                failed += 1
            [(hours, reasons)] = gone.ask(
                "SELECT count(DISTINCT partition_hour), count(DISTINCT error) FROM cdr.loads WHERE error IS NOT NULL"
            )
            assert (hours, reasons > 0) == (5 * 24 - 7, True)
        # The copy of before the outage is still there.
        assert here.ask_published("SELECT count(*) > 0, max(partition_hour) FROM cdr.calls") == [(True, ends - HOUR)]

        now = back + 25 * MINUTE
        api.at(now)
        [result], cursor = tick(here, now.replace(tzinfo=ZONE), cursor)
        assert result.success, failure_of(result)
        assert tick(here, (now + 5 * MINUTE).replace(tzinfo=ZONE), None)[0] == []
        # The day before is read again at night.
        missed = {record["key"] for record in api.listed.records if record["calldate"] >= f"{ends}"}
        expected = {key: values for key, values in told(api).items() if key in missed}
        assert {key: values for key, values in stored(here).items() if key in missed} == expected
        assert here.ask_published("SELECT count(DISTINCT partition_hour) FROM cdr.loads WHERE error IS NULL") == [
            (144,)
        ]
        print(f"{away}: {failed} failed runs, then 1 run; {len(expected)} calls of 120 hours equal the API's")


def tick(pipeline: Pipeline, now: dt.datetime, cursor: str | None) -> tuple[list[ExecuteInProcessResult], str]:
    """The runs that the gap sensor starts, as it does, at this time."""
    missing = missing_hours(pipeline.instance, hourly_partitions(pipeline.settings), pipeline.settings, now)
    due, cursor = due_hours(missing, cursor, now)
    return [pipeline.run(hours[0].start, len(hours)) for hours in consecutive(due)], cursor
