"""The gap sensor: which hours count as missing, and that each gets at most one run an hour."""

import datetime as dt
import json
from collections.abc import Iterable
from uuid import uuid4

from dagster import (
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SkipReason,
    build_sensor_context,
)

from cdr_assets.definitions import build_defs
from cdr_assets.domain.hours import Hour
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between, hours_of_run, range_of
from cdr_assets.orchestration.sensors import due_hours, missing_hours

# 11:30 in Istanbul. The hours up to 10:00 have ended and settled, and the schedule has had time to load them.
NOW = dt.datetime(2026, 3, 10, 8, 30, tzinfo=dt.UTC)
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)


def publish(instance: DagsterInstance, keys: Iterable[str]) -> None:
    for key in keys:
        instance.report_runless_asset_event(AssetMaterialization(PUBLISHED_KEY, partition=key))


def missing(instance: DagsterInstance, settings: Settings, now: dt.datetime = NOW) -> list[str]:
    return [hour.key for hour in missing_hours(instance, hourly_partitions(settings), settings, now)]


def last_hours(settings: Settings, count: int) -> list[Hour]:
    """The last hours that the schedule has had time to load."""
    return hours_between(hourly_partitions(settings), NOW - 4 * 24 * HOUR, NOW, NOW)[-count:]


def test_before_anything_was_published_nothing_is_missing(instance: DagsterInstance, settings: Settings) -> None:
    assert missing(instance, settings) == []


def test_hours_of_three_days_are_missing_but_for_the_newest(instance: DagsterInstance, settings: Settings) -> None:
    publish(instance, ["2026-03-07-11:00"])
    keys = missing(instance, settings)
    assert (keys[0], keys[-1], len(keys)) == ("2026-03-07-12:00", "2026-03-10-10:00", 71)
    # Ten minutes to settle, and fifteen minutes for the schedule.
    assert missing(instance, settings, NOW - 6 * MINUTE)[-1] == "2026-03-10-09:00"
    assert missing(instance, settings, NOW - 5 * MINUTE)[-1] == "2026-03-10-10:00"


def test_hours_that_were_never_asked_for_are_missing_within_three_days_alone(
    instance: DagsterInstance, settings: Settings
) -> None:
    publish(instance, ["2026-03-10-09:00"])
    keys = missing(instance, settings)
    assert (keys[0], keys[-1], len(keys)) == ("2026-03-07-12:00", "2026-03-10-10:00", 70)


def test_what_is_published_or_under_way_is_not_missing(instance: DagsterInstance, settings: Settings) -> None:
    publish(instance, ["2026-03-07-11:00"])
    before = missing(instance, settings)
    hours = before[-6:]
    publish(instance, before[:-6])
    assert missing(instance, settings) == hours

    def run(status: DagsterRunStatus, **tags: str) -> None:
        instance.add_run(DagsterRun("hourly", run_id=str(uuid4()), tags=tags, status=status))

    run(DagsterRunStatus.STARTED, **range_of(hours[0], hours[1]))
    run(DagsterRunStatus.NOT_STARTED, **{"dagster/partition": hours[2]})
    # If a run has ended without publishing its hours, they are missing.
    run(DagsterRunStatus.FAILURE, **range_of(hours[3], hours[4]))
    run(DagsterRunStatus.SUCCESS, **{"dagster/partition": hours[5]})
    assert missing(instance, settings) == hours[3:]


def test_an_hour_is_asked_for_once_an_hour_whatever_its_group(settings: Settings) -> None:
    a, b, c, d = last_hours(settings, 4)
    due, cursor = due_hours([a, b, c], None, NOW)
    assert due == [a, b, c]
    # The run of the three failed only for b, and now d is missing too: another group with another run key.
    due, cursor = due_hours([b], cursor, NOW + MINUTE)
    assert due == []
    due, cursor = due_hours([b, d], cursor, NOW + 2 * MINUTE)
    assert due == [d]
    due, cursor = due_hours([b, d], cursor, NOW + 59 * MINUTE)
    assert due == []
    due, cursor = due_hours([b, d], cursor, NOW + 60 * MINUTE)
    assert due == [b]
    due, cursor = due_hours([b, d], cursor, NOW + 62 * MINUTE)
    assert due == [d]
    # The cursor forgets hours that were requested long ago.
    assert set(json.loads(cursor)) == {b.key, d.key}


def test_the_sensor_does_not_ask_for_an_hour_that_it_has_just_asked_for(
    instance: DagsterInstance, settings: Settings
) -> None:
    defs = build_defs(settings)
    sensor, partitions = defs.get_repository_def().get_sensor_def("gaps"), hourly_partitions(settings)

    def tick(cursor: str | None) -> tuple[list[RunRequest | SkipReason], str | None]:
        with build_sensor_context(instance, cursor=cursor) as context:
            return list(sensor(context)), context.cursor

    def asked(answers: Iterable[RunRequest | SkipReason]) -> list[str]:
        requests = [answer for answer in answers if isinstance(answer, RunRequest)]
        runs = [DagsterRun("hourly", tags=dict(request.tags)) for request in requests]
        return [hour.key for run in runs for hour in hours_of_run(partitions, run)]

    answers, cursor = tick(None)
    assert answers == [SkipReason("no hour is missing")]
    publish(instance, ["2025-06-01-00:00"])
    answers, cursor = tick(cursor)
    first = asked(answers)
    assert len(first) > 70
    # One hour of the group was published. The rest is two groups, which no earlier run key names.
    publish(instance, [first[10]])
    answers, _ = tick(cursor)
    assert not set(asked(answers)) & set(first)
