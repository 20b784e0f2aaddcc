"""The assets `cdr/calls` and its three child tables: reads the stored pages and replaces each hour in one transaction.

How pages become typed rows is in `ingest.loading` and `transforms`; the SQL is in `warehouse`.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import polars as pl
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    HourlyPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
    multi_asset,
)

from cdr_assets.domain.hours import Hour, ends_at
from cdr_assets.domain.schema import CALLS, CHILDREN
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.loading import NOT_LOADED, merge_calls, read_batches, rules_of
from cdr_assets.orchestration.assets.config import pages_config
from cdr_assets.orchestration.keys import CDR_KEYS, OWNERS, PAGES_KEY, table_metadata
from cdr_assets.orchestration.steps import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    report_hours,
    split,
)
from cdr_assets.warehouse import (
    Warehouse,
    add_failed_fetches,
    items_in,
    load_hours,
    load_same_hours,
    page_sizes,
)


def build_cdr(partitions: HourlyPartitionsDefinition, settings: Settings) -> AssetsDefinition:
    calls_key = AssetKey(CALLS.asset_key)
    tables = (CALLS, *CHILDREN.values())

    @multi_asset(
        name="cdr",
        specs=[
            AssetSpec(
                table.asset_key,
                deps=[PAGES_KEY if table is CALLS else calls_key],
                description=table.description,
                metadata=table_metadata(table),
                group_name="cdr",
                kinds={"polars", "duckdb"},
                owners=OWNERS,
            )
            for table in tables
        ],
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
    )
    @in_operators_words
    def cdr(context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]) -> Iterator[MaterializeResult[None]]:
        if pages_config(context.run).narrowed_by():
            merge_calls(warehouse, holder(context), context.run.run_id, settings, context.log.info, context.log.warning)
        else:
            fail_for(context, _replace(context, warehouse, settings, hours_in(context)), "cdr")
        for key in CDR_KEYS:
            yield ended(key)

    return cdr


def _replace(
    context: AssetExecutionContext, warehouse: Warehouse, settings: Settings, hours: Sequence[Hour]
) -> dict[Hour, str]:
    """Replaces the calls of the hours with those of their stored pages.

    Returns each failed hour with its reason; raises Failure if all hours failed.
    """
    with warehouse.connect(holder(context)) as connection:
        # If this run could not fetch an hour, do not load the pages of an earlier run in its place.
        fetched, failed = split(context, connection, hours)
        sizes = page_sizes(connection, [hour.start for hour in fetched])
        good = [hour for hour in fetched if hour.start in sizes]
        no_pages = f"{NOT_LOADED}it has no pages; materialize raw/cdr_pages too"
        failed |= _note_failed(context, connection, {hour: no_pages for hour in fetched if hour not in good})
        if not good:
            raise failure(failed)
        ends = {hour.start: ends_at(hour.start, settings.zone) for hour in good}
        loads = load_same_hours(connection, ends, rules_of(settings), context.run.run_id)
        same = set(loads["partition_hour"])
        items = items_in(connection, list(same))
    _report(context, [hour for hour in good if hour.start in same], items, loads)
    good = [hour for hour in good if hour.start not in same]
    if not good:
        return failed
    # Load the latest hours first: a call whose date was corrected must leave its old hour before an earlier hour
    # adds it.
    for batch, load, unread in read_batches(warehouse, holder(context), settings, good[::-1], sizes):
        with warehouse.connect(holder(context)) as connection:
            failed |= _note_failed(context, connection, unread)
            loads = load_hours(connection, load, context.run.run_id)
        rows = {name: dict(load.children[name].group_by("partition_hour").len().iter_rows()) for name in CHILDREN}
        _report(context, batch, rows, loads)
        # Free this batch before waiting for the next one.
        del load
    if len(failed) == len(hours):
        raise failure(failed)
    return failed


def _note_failed(
    context: AssetExecutionContext, connection: duckdb.DuckDBPyConnection, failed: dict[Hour, str]
) -> dict[Hour, str]:
    """Writes the failed hours and their reasons to the run's log and to cdr.loads; returns `failed`."""
    for hour, reason in failed.items():
        context.log.error(f"{hour} failed: {reason}")
    errors = {hour.start: reason for hour, reason in failed.items()}
    add_failed_fetches(connection, errors, context.run.run_id, None)
    return failed


def _report(
    context: AssetExecutionContext,
    hours: Sequence[Hour],
    items: Mapping[str, Mapping[dt.datetime, int]],
    loads: pl.DataFrame,
) -> None:
    """Reports the hours to Dagster. `items` has the number of items of each child table's hours."""
    figures = {row["partition_hour"]: row for row in loads.drop("fetched_at", "loaded_at").iter_rows(named=True)}
    versions = {hour: figures[hour.start]["content_hash"] for hour in hours}
    calls = {
        hour: {"dagster/partition_row_count": figures[hour.start]["loaded"]} | _plain(figures[hour.start])
        for hour in hours
    }
    report_hours(context, AssetKey(CALLS.asset_key), hours, calls, versions)
    for name, table in CHILDREN.items():
        counts = {hour: {"dagster/partition_row_count": items[name].get(hour.start, 0)} for hour in hours}
        report_hours(context, AssetKey(table.asset_key), hours, counts, versions)


def _plain(figures: dict[str, object]) -> dict[str, object]:
    """The figures of an hour, those first that an operator looks for."""
    first = {name: figures[name] for name in ("loaded", "new", "changed", "vanished", "rejected")}
    return first | {name: value for name, value in figures.items() if name not in ("partition_hour", "run_id")}
