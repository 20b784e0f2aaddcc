"""The steps of runs that fetch single calls instead of hours: one call, calls with survey answers, open calls.

They merge the fetched calls by key, build the marts of the changed hours and publish the copy, with the same functions
of `ingest` as the assets. They are ops and not assets, because they fill no partition.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from dagster import Config, In, Nothing, OpDefinition, OpExecutionContext, Output, ResourceParam, op
from pydantic import Field

from cdr_assets.alotech import PAGE_SIZE, Filters
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.lateness import HISTORY_KEPT_FOR
from cdr_assets.domain.schema import CHILDREN
from cdr_assets.domain.settings import Settings, SettingsError, local_hour
from cdr_assets.ingest.balance import find_wrong, find_wrong_children
from cdr_assets.ingest.building import build_stale_marts, publish_copy
from cdr_assets.ingest.fetching import Alotech, Fetch, fetch_and_store, fetch_from
from cdr_assets.ingest.loading import merge_calls
from cdr_assets.ingest.retention import delete_old
from cdr_assets.orchestration.assets.config import as_json
from cdr_assets.orchestration.event_log import EventLog
from cdr_assets.orchestration.steps import failure, holder, in_operators_words
from cdr_assets.warehouse import (
    Warehouse,
    WarehouseError,
    count_records,
    errors_of,
    hours_loaded_by,
    open_calls,
)

_Done = Iterator[Output[None]]


class Call(Config):
    """One call, named by exactly one of its keys."""

    callkey: str | None = Field(None, description="The call's key.")
    activecallkey: str | None = Field(None, description="The key that the call had while it was active.")
    uniqueid: str | None = Field(None, description="The transaction's ID: that of a CRM action or a contact.")


class Days(Config):
    """Days in the tenant's time zone."""

    since: str = Field(description="First day, for instance 2026-03-02.")
    until: str = Field(description="The day after the last one.")


class OpenSince(Config):
    since: str = Field(description='Calls that began in this local hour or later, for instance "2026-03-02 05:00".')


def config_of(op: str, **config: object) -> dict[str, object]:
    """The run configuration that gives `config` to the op."""
    return {"ops": {op: {"config": config}}}


@op(description="Fetches one call by its key and merges it.")
@in_operators_words
def ask_for_call(
    context: OpExecutionContext, config: Call, alotech: ResourceParam[Alotech], warehouse: ResourceParam[Warehouse]
) -> _Done:
    given = {name: key for name, key in vars(config).items() if key}
    if len(given) != 1:
        raise SettingsError("name the call by exactly one of callkey, activecallkey and uniqueid")
    _fetch_and_merge(context, alotech, warehouse, [Fetch(None, key=next(iter(given.items())))], Filters(), given)
    yield Output(None)


@op(description="Fetches the calls with survey answers, day by day, and merges them.")
@in_operators_words
def ask_for_csat(
    context: OpExecutionContext, config: Days, alotech: ResourceParam[Alotech], warehouse: ResourceParam[Warehouse]
) -> _Done:
    first, last = _hour(config.since), _hour(config.until)
    days = [first + dt.timedelta(days=n) for n in range((last - first).days)]
    fetches = [fetch_from(day, dt.timedelta(days=1), alotech.settings.zone) for day in days]
    filters = Filters(csat_only=True)
    _fetch_and_merge(context, alotech, warehouse, fetches, filters, filters.narrowing())
    yield Output(None)


@op(description="Fetches again the stored calls that had not ended, by key or by hour, and merges them.")
@in_operators_words
def ask_for_open_calls(
    context: OpExecutionContext, config: OpenSince, alotech: ResourceParam[Alotech], warehouse: ResourceParam[Warehouse]
) -> _Done:
    with warehouse.connect(holder(context)) as connection:
        keys_of_hour: dict[dt.datetime, list[str]] = {}
        for key, hour in open_calls(connection, _hour(config.since)).items():
            keys_of_hour.setdefault(hour, []).append(key)
        records = count_records(connection, list(keys_of_hour))
    fetches = []
    for hour, keys in keys_of_hour.items():
        if len(keys) > records.get(hour, 0) // PAGE_SIZE + 1:
            # Fetching the whole hour takes fewer requests than fetching each open call: some tenants have hundreds of
            # open calls, or calls that never end.
            fetches.append(fetch_from(hour, HOUR, alotech.settings.zone))
        else:
            fetches += [Fetch(hour, key=("callkey", key)) for key in keys]
    _fetch_and_merge(context, alotech, warehouse, fetches, Filters(), {"open_since": config.since})
    yield Output(None)


def build_publish_merged(settings: Settings) -> tuple[OpDefinition, OpDefinition]:
    """The two steps after the merge: build the marts of the changed hours, then publish the copy."""

    @op(ins={"merged": In(Nothing)}, description="Checks the merged calls and builds the marts of their hours.")
    @in_operators_words
    def marts_of_merged(context: OpExecutionContext, warehouse: ResourceParam[Warehouse]) -> _Done:
        with warehouse.connect(holder(context)) as connection:
            hours = sorted(hours_loaded_by(connection, context.run.run_id))
            found = [*find_wrong(connection, hours)]
            found += [find_wrong_children(connection, name, hours) for name in CHILDREN]
        wrong = [each for rows in found for each in rows]
        if wrong:
            raise WarehouseError(f"row counts do not balance, so nothing was published: {wrong[0]}")
        with warehouse.held(holder(context)):
            results = build_stale_marts(warehouse, settings)
        for result in results:
            told = f"{result.unique_id.split('.')[2]}: {result.message}"
            if result.status == "warn":
                context.log.warning(told)
            elif result.status == "fail":
                raise WarehouseError(f"a test of the marts failed, so nothing was published: {told}")
        yield Output(None)

    @op(ins={"marts": In(Nothing)}, description="Publishes the analysts' copy, then fails if any fetch failed.")
    @in_operators_words
    def publish_merged(context: OpExecutionContext, warehouse: ResourceParam[Warehouse]) -> _Done:
        published = publish_copy(warehouse, settings, holder(context))
        context.log.info(published.told)
        for failed_mart in published.own_failed:
            context.log.warning(f"own mart {failed_mart}")
        with warehouse.connect(holder(context)) as connection:
            failed = errors_of(connection, context.run.run_id)
        if failed:
            asked_in = context.job_def.nodes_in_topological_order[0]
            raise failure(failed, asked_in.name)
        yield Output(None)

    return marts_of_merged, publish_merged


def build_delete_old(settings: Settings) -> OpDefinition:
    """The step that deletes old logs of runs, and old calls and figures, and publishes the copy without them."""

    @op(
        description=f"Deletes logs of runs that are older than {HISTORY_KEPT_FOR.days} days; and calls, pages and "
        "figures that are older than the settings keep, and then publishes the copy."
    )
    @in_operators_words
    def delete_old_hours(context: OpExecutionContext, warehouse: ResourceParam[Warehouse]) -> _Done:
        now = dt.datetime.now(dt.UTC)
        log = context.instance.event_log_storage
        if isinstance(log, EventLog):
            context.log.info(f"deleted the logs of {log.prune(now - HISTORY_KEPT_FOR)} runs")
        if not settings.deletes_calls:
            yield Output(None)
            return
        context.log.info(delete_old(settings, warehouse, holder(context), now))
        context.log.info(publish_copy(warehouse, settings, holder(context)).told)
        yield Output(None)

    return delete_old_hours


def _fetch_and_merge(
    context: OpExecutionContext,
    alotech: Alotech,
    warehouse: Warehouse,
    fetches: Sequence[Fetch],
    filters: Filters,
    narrowed_by: Mapping[str, object],
) -> None:
    """Merges the calls of the fetches that succeed and records why the others failed. Raises Failure if all failed."""
    run_id, failed = context.run.run_id, dict[Fetch, str]()
    for _ in fetch_and_store(
        alotech,
        warehouse,
        holder(context),
        run_id,
        fetches,
        filters,
        as_json(narrowed_by),
        failed,
        context.log.error,
    ):
        pass
    if failed and len(failed) == len(fetches):
        raise failure(failed, context.op.name)
    merge_calls(warehouse, holder(context), run_id, alotech.settings, context.log.info, context.log.warning)


def _hour(text: str) -> dt.datetime:
    try:
        return local_hour(text)
    except ValueError as error:
        raise SettingsError(str(error)) from None
