"""The gap sensor: asks for the hours that an outage, or a failure, left out.

An hourly schedule does not make up for the ticks it missed while the daemon was down.
"""

import datetime as dt
from collections.abc import Iterator

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
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from cdr_assets.assets.keys import PUBLISHED_KEY
from cdr_assets.partitions import Hour, consecutive, hours_between, hours_of_run, range_tags
from cdr_assets.settings import Settings

LOOK_BACK = dt.timedelta(days=3)
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
        for hours in consecutive(missing):
            # The key lets an hour that fails again and again be asked for once an hour, not at every tick.
            yield RunRequest(run_key=f"{hours[0].key} to {hours[-1].key} at {now:%Y-%m-%d %H}", tags=range_tags(hours))
        if not missing:
            yield SkipReason("no hour is missing")

    return gaps


def missing_hours(
    instance: DagsterInstance, partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> list[Hour]:
    """The hours of the last days that are neither published nor under way. None before anything was ever loaded."""
    published = instance.get_materialized_partitions(PUBLISHED_KEY)
    if not published:
        return []
    settled = now - dt.timedelta(minutes=settings.cdr_settle_minutes) - GRACE
    hours = hours_between(partitions, settled - LOOK_BACK, settled, settled)
    missing = [hour for hour in hours if hour.key not in published]
    if not missing:
        return []
    runs = instance.get_runs(RunsFilter(statuses=_UNDER_WAY))
    under_way = {hour.key for run in runs for hour in hours_of_run(partitions, run)}
    return [hour for hour in missing if hour.key not in under_way]
