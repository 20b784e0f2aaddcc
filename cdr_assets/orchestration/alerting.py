"""The sensors `alerts` and `heartbeat`: read what Dagster knows of runs, and hand it to the alerts.

They run in the daemon, apart from all runs, so that no message can fail or delay a run; and if the daemon or the
machine is dead, the heartbeat stays away. What counts as a fault and what is sent is in `cdr_assets.alerts`.
"""

import datetime as dt
import logging
import time
from collections.abc import Callable

from dagster import (
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    HourlyPartitionsDefinition,
    JsonMetadataValue,
    RunRecord,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)
from msgspec.structs import replace

from cdr_assets.alerts.faults import Ended, Evaluation, Fault, Source, cleaner
from cdr_assets.alerts.memory import Memory, read_memory, write_memory
from cdr_assets.alerts.sending import NotSentError, beat, receivers_of
from cdr_assets.alerts.telling import faults_of_calls, faults_of_hours, look, tell
from cdr_assets.domain.lateness import GAPS_WITHIN
from cdr_assets.domain.settings import Settings, local_hour
from cdr_assets.orchestration.assets.config import pages_config
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.orchestration.partitions import hours_of_run
from cdr_assets.orchestration.runs import reason_of
from cdr_assets.orchestration.steps import FAILED_HOURS

_log = logging.getLogger(__name__)

# Not cancelled ones: somebody wanted that.
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
_READ = {
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.ASSET_CHECK_EVALUATION,
}

# Dagster ends a tick after 60 s and forgets its cursor. Sending may take 24 s.
_READING_SECONDS = 15
_NO_SENDING_AFTER_SECONDS = 35
_AT_ONCE = 50

# Two processes may store the ends of their runs in another order than that of their times.
_OVERLAP = dt.timedelta(minutes=2)

# If a run was changed so long after its end, somebody has added a tag to it: it says nothing new.
_EDITED = dt.timedelta(hours=1)

# Runs of `hourly` among which the heartbeat looks for one with a fresh hour: a backfill has one run a week of hours.
_NEWEST = 20


def build_alert_sensors(partitions: HourlyPartitionsDefinition, settings: Settings) -> list[SensorDefinition]:
    """Both sensors, each switched on by default only if its address is set."""

    @sensor(
        name="alerts",
        minimum_interval_seconds=30,
        default_status=_on(settings.cdr_alert_url or settings.cdr_smtp_url),
        description="Tells CDR_ALERT_URL and CDR_ALERT_TO of failed and late hours, failed runs and checks, and "
        "missing calls: when it begins, once a day, and when it is over.",
    )
    def alerts(context: SensorEvaluationContext) -> SkipReason:
        cursor, told = tick(context.instance, partitions, settings, context.cursor, dt.datetime.now(dt.UTC))
        context.update_cursor(cursor)
        return SkipReason(told)

    @sensor(
        name="heartbeat",
        minimum_interval_seconds=30,
        default_status=_on(settings.cdr_heartbeat_url),
        description="Calls CDR_HEARTBEAT_URL after every good run of the job hourly that published a fresh hour.",
    )
    def heartbeat(context: SensorEvaluationContext) -> SkipReason:
        cursor, told = beat_after_good_run(
            context.instance, partitions, settings, context.cursor, dt.datetime.now(dt.UTC)
        )
        context.update_cursor(cursor)
        return SkipReason(told)

    return [alerts, heartbeat]


def _on(address: object) -> DefaultSensorStatus:
    return DefaultSensorStatus.RUNNING if address else DefaultSensorStatus.STOPPED


def tick(
    instance: DagsterInstance,
    partitions: HourlyPartitionsDefinition,
    settings: Settings,
    cursor: str | None,
    now: dt.datetime,
) -> tuple[str, str]:
    """Sends what is due at `now`, an aware time. Returns the new cursor and a line of what was done."""
    receivers = receivers_of(settings)
    if not receivers:
        return cursor or "", "no address is set: write CDR_ALERT_URL, or CDR_SMTP_URL and CDR_ALERT_TO"
    begun, memory, clean = time.monotonic(), read_memory(cursor), cleaner(settings)
    left = 0

    def of_runs() -> list[Fault]:
        nonlocal left
        left = _read_runs(instance, partitions, memory, now, clean)
        memory.runs.forget(now, settings.zone)
        return memory.runs.faults()

    faults, unread = look(
        {
            # First, because the hours need the failed attempts.
            Source.RUNS: of_runs,
            Source.HOURS: lambda: faults_of_hours(settings, memory.runs.attempts, now),
            Source.CALLS: lambda: faults_of_calls(settings),
        },
        clean,
    )
    if left:
        # A later run may have mended what an earlier one left behind.
        return write_memory(memory), f"{left} runs or more are to be read first"
    memory.see(faults, unread, now)
    if time.monotonic() - begun > _NO_SENDING_AFTER_SECONDS:
        return write_memory(memory), "looking took so long that the next tick sends"
    lines = tell(memory, receivers, settings, now)
    return write_memory(memory), "; ".join(lines) or f"nothing new to tell; {len(faults)} faults are there"


def _read_runs(
    instance: DagsterInstance,
    partitions: HourlyPartitionsDefinition,
    memory: Memory,
    now: dt.datetime,
    clean: Callable[[str], str],
) -> int:
    """Takes the runs into account that have ended since the last tick; returns how many are left, as far as known."""
    since = memory.read_until - _OVERLAP if memory.read_until else now.astimezone(dt.UTC) - GAPS_WITHIN
    stop_at = time.monotonic() + _READING_SECONDS
    records = instance.get_run_records(
        RunsFilter(statuses=_ENDED, updated_after=since),
        limit=_AT_ONCE + len(memory.newest_runs) + 1,
        order_by="update_timestamp",
        ascending=True,
    )
    new = [record for record in records if record.dagster_run.run_id not in memory.newest_runs]
    read = 0
    for record in new[:_AT_ONCE]:
        if time.monotonic() > stop_at:
            break
        updated = record.update_timestamp
        if memory.read_until is None or _ended_at(record) > memory.read_until - _EDITED:
            memory.runs.add(_ended(instance, partitions, record, clean), now)
        memory.read_until = max(memory.read_until or updated, updated)
        memory.newest_runs[record.dagster_run.run_id] = updated
        read += 1
    if memory.read_until:
        oldest = memory.read_until - _OVERLAP
        memory.newest_runs = {run_id: at for run_id, at in memory.newest_runs.items() if at >= oldest}
    return len(new) - read


def _ended(
    instance: DagsterInstance, partitions: HourlyPartitionsDefinition, record: RunRecord, clean: Callable[[str], str]
) -> Ended:
    """What a run says by its end. If its log cannot be read, the others count all the same."""
    run = record.dagster_run
    ended = Ended(run.run_id, run.job_name, record.dagster_run.is_success, _ended_at(record))
    try:
        events = [
            (dt.datetime.fromtimestamp(entry.timestamp, dt.UTC), entry.dagster_event)
            for entry in instance.all_logs(run.run_id, of_type=_READ)
            if entry.dagster_event
        ]
        failed = [(at, event.step_failure_data) for at, event in events if event.is_step_failure]
        hours_of: dict[str, list[dt.datetime]] = {}
        for _, failure in failed:
            told = failure.user_failure_data.metadata.get(FAILED_HOURS) if failure.user_failure_data else None
            if isinstance(told, JsonMetadataValue) and isinstance(told.data, dict):
                hours_of |= {clean(reason): [*map(local_hour, hours)] for reason, hours in told.data.items()}
        checks = [
            event.asset_check_evaluation_data
            for _, event in events
            if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION
        ]
        return replace(
            ended,
            at=failed[0][0] if failed else ended.at,
            hours=tuple(hour.start for hour in hours_of_run(partitions, run)),
            reason="" if ended.success else clean(reason_of(event for _, event in events)),
            # Hours that a run with filters could not read keep all that they held.
            failed_hours=hours_of if hours_of and not pages_config(run).narrowed_by() else None,
            checks=tuple(
                Evaluation(
                    f"{check.asset_key.to_user_string()} {check.check_name}",
                    check.passed,
                    check.severity is AssetCheckSeverity.ERROR,
                    clean(check.description or "its run says more"),
                )
                for check in checks
            ),
        )
    except Exception as error:
        return replace(ended, reason=clean(f"its log cannot be read: {type(error).__name__}: {error}"))


def _ended_at(record: RunRecord) -> dt.datetime:
    if record.end_time is None:
        return record.update_timestamp
    return dt.datetime.fromtimestamp(record.end_time, dt.UTC)


def beat_after_good_run(
    instance: DagsterInstance,
    partitions: HourlyPartitionsDefinition,
    settings: Settings,
    cursor: str | None,
    now: dt.datetime,
) -> tuple[str | None, str]:
    """Calls CDR_HEARTBEAT_URL if a good run of `hourly` has published a fresh hour since the run in the cursor.

    Returns the new cursor and a line of what was done. What could not be sent is tried again at the next tick, as long
    as the hour is fresh.
    """
    if settings.cdr_heartbeat_url is None:
        return cursor, "no address is set: write CDR_HEARTBEAT_URL"
    records = instance.get_run_records(
        RunsFilter(job_name="hourly", statuses=[DagsterRunStatus.SUCCESS]), limit=_NEWEST, order_by="update_timestamp"
    )
    # A backfill of old hours is no sign that the schedule works.
    fresh_since = now - dt.timedelta(minutes=settings.cdr_settle_minutes + settings.cdr_late_minutes)
    for record in records:
        run = record.dagster_run
        if run.run_id == cursor:
            break
        hours = hours_of_run(partitions, run)
        is_whole = not run.asset_selection or PUBLISHED_KEY in run.asset_selection
        if is_whole and hours and hours[-1].ends_at >= fresh_since:
            try:
                return run.run_id, f"heartbeat sent after run {run.run_id[:8]}: {beat(settings)}"
            except NotSentError as error:
                told = f"heartbeat not sent, the next tick tries again: {error}"
                _log.warning("CDR_HEARTBEAT_URL: %s", told)
                return cursor, told
    return cursor, "no good run of a fresh hour since the last heartbeat"
