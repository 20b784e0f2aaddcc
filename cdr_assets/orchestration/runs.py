"""Runs that the `cdr` command starts in its own process, of the same jobs as in the UI.

Arguments and printing are in `cdr_assets.cli`.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, Definitions, EventLogEntry, JobDefinition

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import Hour, consecutive
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.loading import read_narrowed
from cdr_assets.orchestration.dead_runs import TERMINAL_TAG, alive
from cdr_assets.orchestration.home import dagster_home, open_instance
from cdr_assets.orchestration.keys import OWN_MARTS_CHECK, PUBLISHED_KEY, STAGE_ENDS
from cdr_assets.orchestration.ops import config_of
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between, range_tags
from cdr_assets.publishing.reading import open_published
from cdr_assets.warehouse import Warehouse, calls_of, listed_by, read_narrowed_pages

# Keeps a run's log off the terminal: the command prints one line if the run fails.
QUIET: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Backfilled:
    """The result of a backfill.

    `hours` is the number of published hours, `problems` says why other hours were not published. `calls`, `new`,
    `changed` and `rejected` are counts of the backfill's loads in the published copy. `warnings` has a line for each
    warning of a check.
    """

    hours: int
    calls: int
    new: int
    changed: int
    rejected: int
    warnings: Sequence[str]
    problems: Sequence[str]

    def __str__(self) -> str:
        warnings = f"{len(self.warnings)} warning{'' if len(self.warnings) == 1 else 's'}"
        return (
            f"{self.calls:,} calls, {self.new:,} new, {self.changed:,} changed, {self.rejected:,} rejected, {warnings}"
        )


def backfill(
    defs: Definitions,
    settings: Settings,
    start: dt.datetime,
    finish: dt.datetime,
    *,
    begin: Callable[[int], None],
    progress: Callable[[float], None],
    warn: Callable[[str], None],
) -> Backfilled:
    """Fetches, loads and publishes the hours that begin in [start, finish), in the tenant's local time.

    Calls `begin` with the number of hours, then `progress` with the hours done since its last call (each of the four
    steps counts as a quarter of an hour's work), and `warn` with each warning in the runs' logs, for instance that a
    run waits for another's lock. Raises OperatorError if there is no such hour.
    """
    hours = ended_hours(settings, start, finish, dt.datetime.now(dt.UTC))
    begin(len(hours))
    published: set[str | None] = set()

    def watch(entry: EventLogEntry) -> None:
        if entry.level == logging.WARNING:
            warn(entry.user_message)
        event = entry.dagster_event
        if event is not None and event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            if event.asset_key in STAGE_ENDS:
                progress(1 / len(STAGE_ENDS))
            if event.asset_key == STAGE_ENDS[-1]:
                published.add(event.partition)
        if event is not None and event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            # Leave out the freshness checks: the hours may be a year old, and the schedule warns of a stale copy.
            if not check.passed and (check.asset_key != PUBLISHED_KEY or check.check_name == OWN_MARTS_CHECK):
                warnings.append(f"{check.check_name}: {' '.join((check.description or 'see its run').split())}")

    problems: list[str] = []
    warnings: list[str] = []
    run_ids: list[str] = []
    with open_instance(settings) as instance:
        job = defs.resolve_job_def("hourly")
        for group in consecutive(hours):
            before = len(published)
            run_id = str(uuid4())
            run_ids.append(run_id)
            instance.add_event_listener(run_id, watch)
            problem = _run(job, instance, run_id=run_id, tags=range_tags(group))
            if problem:
                problems.append(problem)
                if len(published) == before:
                    # The run published no hour at all, so the next one would fail too.
                    break
    figures = (0, 0, 0, 0)
    if published:
        with open_published(settings.published_path) as connection:
            figures = listed_by(connection, run_ids)
    return Backfilled(len(published), *figures, warnings=warnings, problems=problems)


def refresh(defs: Definitions, settings: Settings, name: str, key: str) -> list[tuple[str, dt.datetime, bool]]:
    """Fetches one call again by its `callkey`, `activecallkey` or `uniqueid`.

    Returns for each call its key, its local hour, and whether it was new or had changed. Raises OperatorError if the
    run failed or AloTech has no such call.
    """
    run_id = str(uuid4())
    with open_instance(settings) as instance:
        job = defs.resolve_job_def("refresh_call")
        problem = _run(job, instance, run_id=run_id, run_config=config_of("ask_for_call", **{name: key}))
    if problem:
        raise OperatorError(problem)
    with Warehouse(settings.warehouse_path).connect("cdr refresh", read_only=True) as connection:
        pages = read_narrowed_pages(connection, run_id)
        calls = calls_of(connection, read_narrowed(pages, settings).calls["key"])
    if not calls:
        raise OperatorError(f"AloTech knows no call with the {name} {key}; nothing was changed")
    # An unchanged call keeps its earlier `fetched_at`.
    began = min(pages["fetched_at"])
    return [(key, hour, fetched_at >= began) for key, hour, fetched_at in calls]


def ended_hours(settings: Settings, start: dt.datetime, finish: dt.datetime, now: dt.datetime) -> list[Hour]:
    """The hours that begin in [start, finish), in the tenant's local time, and have ended by `now`, an aware time.

    Raises OperatorError if there is none.
    """
    zone = settings.zone
    hours = hours_between(hourly_partitions(settings), start.replace(tzinfo=zone), finish.replace(tzinfo=zone), now)
    if not hours:
        raise OperatorError(
            f"no hour has ended between {start:%Y-%m-%d %H:%M} and {finish:%Y-%m-%d %H:%M} since CDR_START "
            f"({settings.cdr_start:%Y-%m-%d %H:%M}); choose other dates or an earlier CDR_START"
        )
    return hours


def _run(
    job: JobDefinition, instance: DagsterInstance, *, run_config: dict[str, object] | None = None, **run: Any
) -> str | None:
    """Runs the job in this process. Returns None, or one line that says why it failed."""
    tags = {TERMINAL_TAG: "true", **run.pop("tags", {})}
    with alive(dagster_home()):
        result = job.execute_in_process(
            run_config=QUIET | (run_config or {}), instance=instance, raise_on_error=False, tags=tags, **run
        )
    return None if result.success else reason_of(result.all_events)


def reason_of(events: Iterable[DagsterEvent]) -> str:
    """One line that says why the first failed step, or the run itself, failed."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return str(data.user_failure_data.description)
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return " ".join(error.message.split())
        if event.event_type is DagsterEventType.RUN_FAILURE and event.message:
            # No step failed: the run's process was killed, or never started.
            return " ".join(event.message.split())
    return "the run failed; look at it in the Dagster UI (make dev)"
