"""An outage of five days, of the machine, the API or the network, on a simulated clock: what catches up, and when.

A machine that was off has no ticks; during an outage of the API or the network all ticks fail.
"""

import datetime as dt
import os
from collections.abc import Iterable
from itertools import pairwise

from dagster import DagsterInstance, RunRequest, build_schedule_context

from cdr_assets.definitions import build_defs
from cdr_assets.domain.hours import Hour, consecutive
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration import sensors
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between
from cdr_assets.orchestration.sensors import due_hours, unpublished_hours
from cdr_assets_tests.orchestration.test_schedules import publish as publish_copy_of
from cdr_assets_tests.orchestration.test_sensors import HOUR, MINUTE

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
    assert missing == []


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
