"""The gap sensor: starts runs for hours that are missing after an outage or a failure.

It is needed because an hourly schedule does not repeat the ticks that it missed while the daemon was down. Runs at set
times are in `schedules`.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence, Set

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
from cdr_assets.domain.lateness import CATCH_UP, GAPS_WITHIN
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.dead_runs import end_runs_of_terminals
from cdr_assets.orchestration.home import dagster_home
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.orchestration.partitions import hours_of, hours_of_run, keys_between, range_tags
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition

# Leave the newest hour to the schedule for this long.
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
        description=(
            f"Starts runs for hours of the last {CATCH_UP.days} days that an outage or a failure left out, each once "
            "an hour at most."
        ),
    )
    def gaps(context: SensorEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        now = dt.datetime.now(dt.UTC)
        end_runs_of_terminals(context.instance, dagster_home(settings))
        missing = missing_hours(context.instance, partitions, settings, now)
        due, cursor = due_hours(missing, context.cursor, now)
        for hours in consecutive(due):
            # If a tick is repeated, the run key is the same, and Dagster starts no second run for it.
            yield RunRequest(run_key=f"{hours[0].key} to {hours[-1].key} at {now:%Y-%m-%d %H}", tags=range_tags(hours))
        context.update_cursor(cursor)
        if not due:
            yield SkipReason(
                f"{len(missing)} missing hours were asked for within the last hour" if missing else "no hour is missing"
            )

    return gaps


def due_hours(missing: Sequence[Hour], cursor: str | None, now: dt.datetime) -> tuple[list[Hour], str]:
    """The missing hours for which no run was requested within the last hour, and the new cursor.

    The cursor is JSON: the key of each requested hour, and when it was requested. With it, an hour that keeps failing
    gets a run once an hour and not at every tick. The run keys cannot do this: each names a group of hours, and the
    next tick's group may hold the same hours together with others.
    """
    asked_at: dict[str, str] = json.loads(cursor) if cursor else {}
    asked_at = {key: at for key, at in asked_at.items() if now - dt.datetime.fromisoformat(at) < HOUR}
    due = [hour for hour in missing if hour.key not in asked_at]
    return due, json.dumps(asked_at | {hour.key: now.isoformat() for hour in due})


def missing_hours(
    instance: DagsterInstance, partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> list[Hour]:
    """The hours that are neither published nor in a run that is queued or running; see `unpublished_hours`."""
    missing = unpublished_hours(instance.get_materialized_partitions(PUBLISHED_KEY), partitions, settings, now)
    if not missing:
        return []
    runs = instance.get_runs(RunsFilter(statuses=_UNDER_WAY))
    under_way = {hour.key for run in runs for hour in hours_of_run(partitions, run)}
    return [hour for hour in missing if hour.key not in under_way]


def unpublished_hours(
    published: Set[str], partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> list[Hour]:
    """The hours that had time to be published, and are not in `published` (keys); none if it is empty.

    Within CATCH_UP, those after the first published hour, because an outage left them out; hours before it were never
    asked for, and are missing only within GAPS_WITHIN.
    """
    if not published:
        return []
    settled = now - dt.timedelta(minutes=settings.cdr_settle_minutes) - GRACE
    keys = keys_between(partitions, settled - CATCH_UP, now)
    there = [place for place, key in enumerate(keys) if key in published]
    # Keys are not compared: if more hours are published than these, the others are older.
    first = there[0] if len(there) == len(published) else -1
    after_first = set(keys[first + 1 :])
    return [
        hour
        for hour in hours_of(partitions, [key for key in keys if key not in published])
        if hour.ends_at <= settled and (hour.key in after_first or hour.ends_at - HOUR >= settled - GAPS_WITHIN)
    ]
