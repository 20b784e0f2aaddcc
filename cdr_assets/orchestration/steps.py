"""The hours of a run: which they are, which of them still go on, and how each is reported to Dagster.

Dagster's own report of a ranged run marks every partition as materialized, or none. Here one hour may fail while the
others go on, so that each good hour is reported by itself and the last step of the run fails for the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

import duckdb
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    BackfillPolicy,
    DagsterEvent,
    DagsterRun,
    Failure,
    HourlyPartitionsDefinition,
    MaterializeResult,
    OpExecutionContext,
)

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOURS_PER_RUN, Hour
from cdr_assets.ingest.loading import NOT_LOADED
from cdr_assets.orchestration.assets.config import pages_config
from cdr_assets.orchestration.keys import PAGES_OP, STEPS
from cdr_assets.orchestration.partitions import hours_of
from cdr_assets.orchestration.private import (
    DATA_VERSION_TAG,
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
    DagsterEventBatchMetadata,
)
from cdr_assets.warehouse import errors_of

_P = ParamSpec("_P")
_T = TypeVar("_T")

# One policy on every asset of the chain: a job that mixes policies falls to the smallest.
BACKFILL_POLICY = BackfillPolicy.multi_run(max_partitions_per_run=HOURS_PER_RUN)


def in_operators_words(step: Callable[_P, Iterator[_T]]) -> Callable[_P, Iterator[_T]]:
    """What the operator can mend fails the step with one line on top, in place of a traceback from deep below."""

    @wraps(step)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        try:
            yield from step(*args, **kwargs)
        except OperatorError as error:
            raise Failure(str(error), allow_retries=False) from None

    return told


def hours_in(context: AssetExecutionContext) -> list[Hour]:
    """The hours of the run, in order."""
    partitions = context.assets_def.partitions_def
    assert isinstance(partitions, HourlyPartitionsDefinition)
    return hours_of(partitions, context.partition_keys)


def holder(context: AssetExecutionContext | OpExecutionContext) -> str:
    """How the run names itself to others who wait for the warehouse."""
    step = context if isinstance(context, OpExecutionContext) else context.op_execution_context
    return f"run {context.run.run_id[:8]}, {step.op.name}"


def report(
    context: AssetExecutionContext,
    asset_key: AssetKey,
    hours: Iterable[Hour],
    metadata: Mapping[Hour, Mapping[str, Any]] | None = None,
    versions: Mapping[Hour, str] | None = None,
) -> None:
    """Reports hours of an asset as materialized, each with its own figures and data version."""
    # As `log_event` does for one, in a batch: stored one by one, the hours of a week took a fifth of its run.
    step, batch_id = context.get_step_execution_context(), str(uuid4())
    hours = list(hours)
    for hour in hours:
        materialization = AssetMaterialization(
            asset_key=asset_key,
            partition=hour.key,
            metadata=metadata[hour] if metadata else None,
            tags={DATA_VERSION_TAG: versions[hour]} if versions else None,
        )
        batch = DagsterEventBatchMetadata(batch_id, is_end=hour is hours[-1])
        DagsterEvent.asset_materialization(step, materialization, batch)


def ended(asset_key: AssetKey) -> MaterializeResult[None]:
    """Ends the asset's part in the step: its hours have been reported, the steps downstream may go on."""
    # The marker keeps Dagster from adding a materialization of its own for every partition of the run, failed hours
    # included; without any output, the steps downstream would be skipped and the good hours lost with the bad.
    return MaterializeResult(asset_key=asset_key, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def is_in_run(context: AssetExecutionContext, *steps: str) -> bool:
    """Whether the run goes through one of the steps, which may be a user's own run with other assets beside ours."""
    return any(node.name in steps for node in context.job_def.nodes)


def split(
    context: AssetExecutionContext, connection: duckdb.DuckDBPyConnection, hours: Sequence[Hour]
) -> tuple[list[Hour], dict[Hour, str]]:
    """The hours that can go on, and why the others failed on their way through this run.

    Whose fetch an hour's calls are from is not asked: another run may have fetched or loaded it anew meanwhile. Hours
    that the run only merges some calls into are neither good nor failed.
    """
    if not is_in_run(context, "cdr"):
        return list(hours), {}
    errors = errors_of(connection, *_runs_of(context))
    failed = {hour: errors[hour.start] for hour in hours if hour.start in errors}
    if pages_config(context.run).narrowed_by():
        return [], failed
    return [hour for hour in hours if hour not in failed], failed


def _runs_of(context: AssetExecutionContext) -> list[str]:
    """The run, and those whose fetch it goes on with where it was re-executed from a later step."""
    run: DagsterRun | None = context.run
    runs = []
    while run is not None:
        runs.append(run.run_id)
        steps = run.step_keys_to_execute
        goes_on = steps is not None and PAGES_OP not in steps
        run = context.instance.get_run_by_id(run.parent_run_id) if goes_on and run.parent_run_id else None
    return runs


def fail_for(context: AssetExecutionContext, failed: Mapping[Any, str], step: str) -> None:
    """Fails the step for its failed hours, unless a later one of the run will: the good hours come first."""
    if failed and not is_in_run(context, *STEPS[STEPS.index(step) + 1 :]):
        raise failure(failed)


def failure(failed: Mapping[Any, str], step: str = PAGES_OP) -> Failure:
    """One line that says which hours (or calls) failed, where and why: fetches in `step`, whichever step ends the run.

    Retrying is for the operator or the gap sensor.
    """
    names_of_reason: dict[str, list[Any]] = {}
    for name, reason in sorted(failed.items(), key=lambda item: str(item[0])):
        names_of_reason.setdefault(reason, []).append(name)
    told = "; ".join(f"{_listed(names)}: {reason}" for reason, names in names_of_reason.items())
    what = "hour" if all(isinstance(name, Hour) for name in failed) else "fetch"
    where = " and ".join(sorted({"cdr" if reason.startswith(NOT_LOADED) else step for reason in names_of_reason}))
    count = (
        f"1 {what} failed in {where} and keeps what it held"
        if len(failed) == 1
        else f"{len(failed)} {what}{'s' if what == 'hour' else 'es'} failed in {where} and keep what they held"
    )
    return Failure(f"{count}: {told}", allow_retries=False)


def _listed(names: Sequence[Any]) -> str:
    if len(names) <= 3:
        return ", ".join(str(name) for name in names)
    return f"{names[0]} to {names[-1]} ({len(names)} in all)"
