"""The schedules. Each asks for what is due at its tick; what an outage left out is the gap sensor's."""

import datetime as dt
from collections.abc import Iterator

from dagster import (
    DefaultScheduleStatus,
    HourlyPartitionsDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from cdr_assets.partitions import HOUR, hours_between
from cdr_assets.settings import Settings


def build_hourly_schedule(
    job: UnresolvedAssetJobDefinition, partitions: HourlyPartitionsDefinition, settings: Settings
) -> ScheduleDefinition:
    settle = dt.timedelta(minutes=settings.cdr_settle_minutes)

    @schedule(
        name="hourly",
        job=job,
        cron_schedule=f"{settings.cdr_settle_minutes % 60} * * * *",
        execution_timezone=settings.alotech_timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description=f"The hour that ended {settings.cdr_settle_minutes} minutes ago.",
    )
    def hourly(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        settled = context.scheduled_execution_time.astimezone(dt.UTC) - settle
        hours = hours_between(partitions, settled - 2 * HOUR, settled, settled)
        if hours:
            yield RunRequest(run_key=hours[-1].key, partition_key=hours[-1].key)
        else:
            yield SkipReason("CDR_START has not been reached yet")

    return hourly


def build_freshness_schedule(job: UnresolvedAssetJobDefinition, settings: Settings) -> ScheduleDefinition:
    return ScheduleDefinition(
        name="freshness",
        job=job,
        cron_schedule="45 * * * *",
        execution_timezone=settings.alotech_timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
