"""`cdr/calls` and its children: the stored pages, typed and exploded, each hour replaced in one transaction."""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb
import polars as pl
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    HourlyPartitionsDefinition,
    MaterializeResult,
    OpExecutionContext,
    ResourceParam,
    multi_asset,
)

from cdr_assets.assets.asked import asked_by
from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    NOT_LOADED,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    report,
    split,
)
from cdr_assets.assets.keys import CDR_KEYS, PAGES_KEY, table_metadata
from cdr_assets.loading import loaded, merged, merging
from cdr_assets.partitions import Hour
from cdr_assets.schema import CALLS, CHILDREN
from cdr_assets.transforms import Tables, read_hours, read_pages
from cdr_assets.warehouse import (
    Loaded,
    Warehouse,
    add_failed_fetches,
    count_records,
    load_hours,
    read_narrowed_pages,
    read_pages_of,
)

# Records turned into calls at once: enough to keep both polars and DuckDB busy, little enough for a small machine.
_BATCH_RECORDS = 32_000


def build_cdr(partitions: HourlyPartitionsDefinition, time_zone: str) -> AssetsDefinition:
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
            )
            for table in tables
        ],
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
    )
    @in_operators_words
    def cdr(context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]) -> Iterator[MaterializeResult[None]]:
        if asked_by(context.run).narrowed_by():
            merge(context, warehouse, time_zone)
        else:
            fail_for(context, _replace(context, warehouse, time_zone, hours_in(context)), "cdr")
        for key in CDR_KEYS:
            yield ended(key)

    return cdr


def _replace(
    context: AssetExecutionContext, warehouse: Warehouse, time_zone: str, hours: Sequence[Hour]
) -> dict[Hour, str]:
    """Replaces the hours by their stored pages, and returns why some could not be."""
    with warehouse.connect(holder(context)) as connection:
        # Pages of an earlier run are no answer where this run's fetch of the hour failed.
        fetched, failed = split(context, connection, hours)
        records = count_records(connection, [hour.start for hour in fetched])
        good = [hour for hour in fetched if hour.start in records]
        no_pages = f"{NOT_LOADED}it has no pages; materialize raw/cdr_pages too"
        failed |= _note_failed(context, connection, {hour: no_pages for hour in fetched if hour not in good})
    if not good:
        raise failure(failed)
    # The last hours first: a call whose date was corrected leaves a later hour before an earlier one takes it.
    for batch, ready, unread in _read(context, warehouse, time_zone, _batches(good[::-1], records)):
        with warehouse.connect(holder(context)) as connection:
            failed |= _note_failed(context, connection, unread)
            loads = load_hours(connection, ready, context.run.run_id)
        _report(context, batch, ready, loads)
        # Let go before the next one is waited for.
        del ready
    if len(failed) == len(hours):
        raise failure(failed)
    return failed


def _note_failed(
    context: AssetExecutionContext, connection: duckdb.DuckDBPyConnection, failed: dict[Hour, str]
) -> dict[Hour, str]:
    """Tells of hours that could not be loaded, in the run's log and in cdr.loads; returns them."""
    for hour, reason in failed.items():
        context.log.error(f"{hour} failed: {reason}")
    errors = {hour.start: reason for hour, reason in failed.items()}
    add_failed_fetches(connection, errors, context.run.run_id, None)
    return failed


def merge(context: AssetExecutionContext | OpExecutionContext, warehouse: Warehouse, time_zone: str) -> None:
    """Merges the run's narrowed fetches by key: an hour may hold more calls than those that were asked for."""
    with warehouse.connect(holder(context)) as connection:
        pages = read_narrowed_pages(connection, context.run.run_id)
    read = read_pages(merging(pages), time_zone)
    for record in read.rejected_records.iter_rows(named=True):
        context.log.warning(f"a record could not become a call: {record['reason']}")
    ready = merged(pages, read)
    with warehouse.connect(holder(context)) as connection:
        loads = load_hours(connection, ready, context.run.run_id)
    context.log.info(
        f"merged by key: {read.calls.height} calls, {loads['new'].sum()} of them new, {loads['changed'].sum()} "
        "changed; the hours are not marked as materialized, since they were not read whole"
    )


def _read(
    context: AssetExecutionContext, warehouse: Warehouse, time_zone: str, batches: Iterable[list[Hour]]
) -> Iterator[tuple[list[Hour], Loaded, dict[Hour, str]]]:
    """The hours of each batch that could be read, what their pages brought, and why the others could not be read.

    Each batch is read while the one before is written.
    """
    # Neither reading nor writing keeps two cores busy.
    with ThreadPoolExecutor(max_workers=1) as reader:
        # What is handed out must not be kept here: two batches are in memory at a time, and no third.
        begun: deque[tuple[list[Hour], pl.DataFrame, Future[tuple[Tables, dict[dt.datetime, str]]]]] = deque()

        def finished() -> tuple[list[Hour], Loaded, dict[Hour, str]]:
            batch, pages, reading = begun.popleft()
            tables, reasons = reading.result()
            unread = {hour: f"{NOT_LOADED}{reasons[hour.start]}" for hour in batch if hour.start in reasons}
            read = [hour for hour in batch if hour not in unread]
            return read, loaded(pages, tables, read), unread

        for batch in batches:
            with warehouse.connect(holder(context)) as connection:
                pages = read_pages_of(connection, [hour.start for hour in batch])
            begun.append((batch, pages, reader.submit(read_hours, pages, time_zone)))
            if len(begun) > 1:
                yield finished()
        yield finished()


def _batches(hours: Sequence[Hour], records: dict[dt.datetime, int]) -> Iterator[list[Hour]]:
    batch: list[Hour] = []
    size = 0
    for hour in hours:
        if batch and size + records[hour.start] > _BATCH_RECORDS:
            yield batch
            batch, size = [], 0
        batch.append(hour)
        size += records[hour.start]
    yield batch


def _report(context: AssetExecutionContext, hours: Sequence[Hour], load: Loaded, loads: pl.DataFrame) -> None:
    figures = {row["partition_hour"]: row for row in loads.drop("fetched_at", "loaded_at").iter_rows(named=True)}
    versions = {hour: figures[hour.start]["content_hash"] for hour in hours}
    calls = {
        hour: {"dagster/partition_row_count": figures[hour.start]["loaded"]} | _plain(figures[hour.start])
        for hour in hours
    }
    report(context, AssetKey(CALLS.asset_key), hours, calls, versions)
    for name, table in CHILDREN.items():
        rows = dict(load.children[name].group_by("partition_hour").len().iter_rows())
        counts = {hour: {"dagster/partition_row_count": rows.get(hour.start, 0)} for hour in hours}
        report(context, AssetKey(table.asset_key), hours, counts, versions)


def _plain(figures: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in figures.items() if name not in ("partition_hour", "run_id")}
