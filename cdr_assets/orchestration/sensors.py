"""The gap sensor: asks for the hours that an outage, or a failure, left out.

An hourly schedule does not make up for the ticks it missed while the daemon was down.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    HourlyPartitionsDefinition,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from cdr_assets.domain.hours import HOUR, Hour, consecutive
from cdr_assets.domain.lateness import GAPS_WITHIN
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.orchestration.partitions import hours_between, hours_of_run, range_tags
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition

# The schedule asks for the newest hour itself; the sensor leaves it this time to do so.
GRACE = dt.timedelta(minutes=15)

_UNDER_WAY = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def build_gap_sensor(
    job: UnresolvedAssetJobDefinition, partitions: HourlyPartitionsDefinition, settings: Settings
) -> SensorDefinition:
    @sensor(
        name="gaps",
        job=job,
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
        description="Asks for the hours of the last three days that are missing, at most once an hour each.",
    )
    def gaps(context: SensorEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        now = dt.datetime.now(dt.UTC)
        missing = missing_hours(context.instance, partitions, settings, now)
        due, cursor = due_hours(missing, context.cursor, now)
        for hours in consecutive(due):
            # The same key at a tick that is done again: Dagster starts no run for it a second time.
            yield RunRequest(run_key=f"{hours[0].key} to {hours[-1].key} at {now:%Y-%m-%d %H}", tags=range_tags(hours))
        context.update_cursor(cursor)
        if not due:
            yield SkipReason(
                f"{len(missing)} missing hours were asked for within the last hour" if missing else "no hour is missing"
            )

    return gaps


def due_hours(missing: Sequence[Hour], cursor: str | None, now: dt.datetime) -> tuple[list[Hour], str]:
    """Those that were not asked for within the last hour, and the cursor that remembers all that were.

    An hour that fails again and again is asked for once an hour, not at every tick. Each is remembered by itself: the
    run's key names a group of hours, and the next group is another, with the hours that this one left out.
    """
    asked_at: dict[str, str] = json.loads(cursor) if cursor else {}
    asked_at = {key: at for key, at in asked_at.items() if now - dt.datetime.fromisoformat(at) < HOUR}
    due = [hour for hour in missing if hour.key not in asked_at]
    return due, json.dumps(asked_at | {hour.key: now.isoformat() for hour in due})


def missing_hours(
    instance: DagsterInstance, partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> list[Hour]:
    """The hours of the last days that are neither published nor under way. None before anything was ever loaded."""
    published = instance.get_materialized_partitions(PUBLISHED_KEY)
    if not published:
        return []
    settled = now - dt.timedelta(minutes=settings.cdr_settle_minutes) - GRACE
    hours = hours_between(partitions, settled - GAPS_WITHIN, settled, settled)
    missing = [hour for hour in hours if hour.key not in published]
    if not missing:
        return []
    runs = instance.get_runs(RunsFilter(statuses=_UNDER_WAY))
    under_way = {hour.key for run in runs for hour in hours_of_run(partitions, run)}
    return [hour for hour in missing if hour.key not in under_way]
