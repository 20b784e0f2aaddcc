"""Helpers for the steps of a run over hours: which hours it has, which have failed, and how to report each to Dagster.

In a run over a range, Dagster itself marks either all partitions as materialized or none. Here one hour may fail while
the others continue: each good hour is reported by itself, and the last step fails if any hour failed. Which keys and
windows hours have is in `partitions`; the steps themselves are in `assets` and `ops`.
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
    MetadataValue,
    OpExecutionContext,
)

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOURS_PER_RUN, Hour
from cdr_assets.domain.masking import mask
from cdr_assets.ingest.loading import NOT_LOADED
from cdr_assets.orchestration.assets.config import pages_config
from cdr_assets.orchestration.keys import HOURS_TAG, PAGES_OP, STEPS
from cdr_assets.orchestration.partitions import hours_of
from cdr_assets.orchestration.private import (
    DATA_VERSION_TAG,
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
    DagsterEventBatchMetadata,
)
from cdr_assets.warehouse import errors_of

_P = ParamSpec("_P")
_T = TypeVar("_T")

# The same policy for all assets of a run: a job with several policies uses the smallest of them.
BACKFILL_POLICY = BackfillPolicy.multi_run(max_partitions_per_run=HOURS_PER_RUN)


# The metadata of a run's failure that has the local hours that failed, by reason.
FAILED_HOURS = "failed hours"


def in_operators_words(step: Callable[_P, Iterator[_T]]) -> Callable[_P, Iterator[_T]]:
    """Turns an OperatorError into a Failure, so that the UI shows its one line and no long traceback.

    In the messages of all other errors, which Dagster stores too, phone numbers are masked: DuckDB and polars quote
    values.
    """

    @wraps(step)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        try:
            yield from step(*args, **kwargs)
        except OperatorError as error:
            raise Failure(str(error), allow_retries=False) from None
        except Exception as error:
            masked: BaseException | None = error
            while masked:
                masked.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in masked.args)
                masked = masked.__cause__ or masked.__context__
            raise

    return told


def hours_in(context: AssetExecutionContext) -> list[Hour]:
    """The hours of the run, in order."""
    partitions = context.assets_def.partitions_def
    assert isinstance(partitions, HourlyPartitionsDefinition)
    return hours_of(partitions, context.partition_keys)


def holder(context: AssetExecutionContext | OpExecutionContext) -> str:
    """The run's and the step's name, shown to others who wait for the warehouse."""
    step = context if isinstance(context, OpExecutionContext) else context.op_execution_context
    return f"run {context.run.run_id[:8]}, {step.op.name}"


def report_hours(
    context: AssetExecutionContext,
    asset_key: AssetKey,
    hours: Iterable[Hour],
    metadata: Mapping[Hour, Mapping[str, Any]] | None = None,
    versions: Mapping[Hour, str] | None = None,
) -> None:
    """Reports the hours of an asset as materialized, each with its own metadata and data version."""
    # `log_event` stores one event at a time, which took a fifth of the time of a run of a week. Store them in a batch.
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
    """The asset's output, to yield once its hours are reported: the next steps can start."""
    # Without an output, Dagster would skip the next steps, also for the good hours. With a plain output, it would mark
    # every partition of the run as materialized, also failed hours. This marker prevents that.
    return MaterializeResult(asset_key=asset_key, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def is_in_run(context: AssetExecutionContext, *steps: str) -> bool:
    """Whether one of the steps is in the run. The run may be a user's own selection of assets."""
    return any(node.name in steps for node in context.job_def.nodes)


def split(
    context: AssetExecutionContext, connection: duckdb.DuckDBPyConnection, hours: Sequence[Hour]
) -> tuple[list[Hour], dict[Hour, str]]:
    """The good hours of this run, and the failed ones with their reasons.

    An hour counts as good even if another run has fetched or loaded it again in the meantime. If the run has filters,
    it only merges calls into its hours, so that none of them is good; some may have failed.
    """
    if not is_in_run(context, "cdr"):
        return list(hours), {}
    errors = errors_of(connection, *_runs_of(context))
    failed = {hour: errors[hour.start] for hour in hours if hour.start in errors}
    if pages_config(context.run).narrowed_by():
        return [], failed
    return [hour for hour in hours if hour not in failed], failed


def _runs_of(context: AssetExecutionContext) -> list[str]:
    """The IDs of the run and, if it was re-executed without the fetch, of the earlier runs whose fetch it uses."""
    run: DagsterRun | None = context.run
    runs = []
    while run is not None:
        runs.append(run.run_id)
        steps = run.step_keys_to_execute
        goes_on = steps is not None and PAGES_OP not in steps
        run = context.instance.get_run_by_id(run.parent_run_id) if goes_on and run.parent_run_id else None
    return runs


def fail_for(context: AssetExecutionContext, failed: Mapping[Any, str], step: str) -> None:
    """Raises Failure if any hour failed, but only in the last step of the run: the good hours must get there first."""
    if failed and not is_in_run(context, *STEPS[STEPS.index(step) + 1 :]):
        is_narrowed = pages_config(context.run).narrowed_by()
        raise failure(failed, went_through=0 if is_narrowed else len(context.partition_keys) - len(failed))


def note_published(context: AssetExecutionContext, hours: int) -> None:
    """Tags the run with how many of its hours are published: Dagster's backfill page counts all hours of a failed run
    as failed."""
    context.instance.add_run_tags(context.run.run_id, {HOURS_TAG: f"{hours} of {len(context.partition_keys)}"})


def failure(failed: Mapping[Any, str], step: str = PAGES_OP, *, went_through: int = 0) -> Failure:
    """A Failure with one line that says which hours or fetches failed, in which step and why.

    `went_through` is the number of the run's hours that did not fail, so that nobody launches them again.
    `step` is the step that fetches; hours that could not be loaded failed in `cdr`. Dagster does not retry the step:
    the gap sensor or the operator starts a new run.
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
    others = f"the other hours of this run ({went_through}) went through" if went_through else ""
    # For the alerts, which name the hours: if no hour could be read, they are not in the published copy.
    starts = {reason: [str(name) for name in names] for reason, names in names_of_reason.items()}
    return Failure(
        "; ".join(filter(None, (f"{count}: {told}", others))),
        metadata={FAILED_HOURS: MetadataValue.json(starts)} if what == "hour" else None,
        allow_retries=False,
    )


def _listed(names: Sequence[Any]) -> str:
    if len(names) <= 3:
        return ", ".join(str(name) for name in names)
    return f"{names[0]} to {names[-1]} ({len(names)} in all)"
