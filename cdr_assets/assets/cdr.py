"""`cdr/calls` and its children: the stored pages, typed and exploded, each hour replaced in one transaction."""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

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
from cdr_assets.partitions import Hour
from cdr_assets.schema import CALLS, CHILDREN
from cdr_assets.transforms import Tables, read_pages, unknown_fields
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
        empty = {hour: "it has no pages; materialize raw/cdr_pages too" for hour in fetched if hour not in good}
        if empty:
            errors = {hour.start: reason for hour, reason in empty.items()}
            add_failed_fetches(connection, errors, context.run.run_id, None)
    failed |= empty
    if not good:
        raise failure(failed)
    # The last hours first: a call whose date was corrected leaves a later hour before an earlier one takes it.
    for batch, ready in _read(context, warehouse, time_zone, _batches(good[::-1], records)):
        with warehouse.connect(holder(context)) as connection:
            loads = load_hours(connection, ready, context.run.run_id)
        _report(context, batch, ready, loads)
        # Let go before the next one is waited for.
        del ready
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
) -> Iterator[tuple[list[Hour], Loaded]]:
    """The batches, and what their pages brought; each is read while the one before is written."""
    # Neither reading nor writing keeps two cores busy.
    with ThreadPoolExecutor(max_workers=1) as reader:
        # What is handed out must not be kept here: two batches are in memory at a time, and no third.
        begun: deque[tuple[list[Hour], pl.DataFrame, Future[Tables]]] = deque()

        def finished() -> tuple[list[Hour], Loaded]:
            batch, pages, tables = begun.popleft()
            return batch, loaded(pages, tables.result(), batch)

        for batch in batches:
            with warehouse.connect(holder(context)) as connection:
                pages = read_pages_of(connection, [hour.start for hour in batch])
            begun.append((batch, pages, reader.submit(read_pages, pages, time_zone)))
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


def merging(pages: pl.DataFrame) -> pl.DataFrame:
    """Narrowed pages as `read_pages` takes them: calls are of the hours of their dates, and the last fetched counts."""
    return pages.sort("fetched_at", maintain_order=True).with_columns(
        partition_hour=pl.lit(None, pl.Datetime("us")), page_number=pl.int_range(pl.len())
    )


def merged(pages: pl.DataFrame, read: Tables) -> Loaded:
    """What narrowed pages brought: of each hour the calls that were asked for."""
    loads = (
        read.calls.group_by("partition_hour")
        .agg(loaded=pl.len().cast(pl.Int64))
        .with_columns(
            pl.lit(pages["filters"].first(), pl.String).alias("filters"),
            pl.lit(pages["fetched_at"].max(), pl.Datetime("us", "UTC")).alias("fetched_at"),
            pl.lit(None, pl.Datetime("us", "UTC")).alias("ends_at"),
            *(pl.lit(None, pl.Int64).alias(name) for name in ("requests", "retries", "pages")),
            *(pl.lit(0, pl.Int64).alias(name) for name in ("repeated", "outside_window", "rejected")),
            served="loaded",
        )
    )
    return _with_loads(read, loads)


def loaded(pages: pl.DataFrame, read: Tables, hours: Sequence[Hour]) -> Loaded:
    """What the pages of whole hours brought."""
    fetches = pages.group_by("partition_hour").agg(
        pl.col("filters").first(),
        pl.col("fetched_at").max(),
        pl.col("requests").sum().cast(pl.Int64),
        (pl.col("requests").sum() - pl.len()).cast(pl.Int64).alias("retries"),
        pl.len().cast(pl.Int64).alias("pages"),
    )
    ends = pl.DataFrame(
        {"partition_hour": [hour.start for hour in hours], "ends_at": [hour.ends_at for hour in hours]},
        schema={"partition_hour": pl.Datetime("us"), "ends_at": pl.Datetime("us", "UTC")},
    ).unique("partition_hour", keep="last", maintain_order=True)
    return _with_loads(read, fetches.join(read.counts, on="partition_hour").join(ends, on="partition_hour"))


def _with_loads(read: Tables, loads: pl.DataFrame) -> Loaded:
    return Loaded(
        calls=read.calls,
        children={name: getattr(read, name) for name in CHILDREN},
        rejected_records=read.rejected_records,
        unknown_fields=unknown_fields(read),
        loads=loads,
    )


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
