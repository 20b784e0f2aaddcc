"""`cdr/calls` and its children: the stored pages, typed and exploded, each hour replaced in one transaction."""

import datetime as dt
from collections.abc import Iterator, Sequence

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

from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    is_in_run,
    report,
)
from cdr_assets.assets.keys import CDR_KEYS, PAGES_KEY, table_metadata
from cdr_assets.partitions import Hour
from cdr_assets.schema import CALLS, CHILDREN
from cdr_assets.transforms import Tables, read_pages
from cdr_assets.warehouse import Loaded, Warehouse, count_records, errors_of, load_hours, read_pages_of

# Records turned into calls at once: enough to keep both polars and DuckDB busy, little enough for a small machine.
_BATCH_RECORDS = 50_000


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
        hours = hours_in(context)
        with warehouse.connect(holder(context)) as connection:
            # Pages of an earlier run, where this run was to fetch the hour, mean that the fetch failed.
            fetched_by = context.run.run_id if is_in_run(context, "raw") else None
            records = count_records(connection, [hour.start for hour in hours], fetched_by)
            errors = errors_of(connection, context.run.run_id)
        failed = {
            hour: errors.get(hour.start, "it has no pages; materialize raw/cdr_pages too")
            for hour in hours
            if hour.start not in records
        }
        good = [hour for hour in hours if hour not in failed]
        if not good:
            raise failure(failed)
        for batch in _batches(good, records):
            with warehouse.connect(holder(context)) as connection:
                pages = read_pages_of(connection, [hour.start for hour in batch])
            read = read_pages(pages, time_zone)
            with warehouse.connect(holder(context)) as connection:
                loads = load_hours(connection, _loaded(pages, read, batch), context.run.run_id)
            _report(context, batch, read, loads)
        fail_for(context, failed, "cdr")
        for key in CDR_KEYS:
            yield ended(key)

    return cdr


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


def _loaded(pages: pl.DataFrame, read: Tables, hours: Sequence[Hour]) -> Loaded:
    fetches = pages.group_by("partition_hour").agg(
        pl.col("fetched_at").max(),
        pl.col("requests").sum().cast(pl.Int64),
        (pl.col("requests").sum() - pl.len()).cast(pl.Int64).alias("retries"),
        pl.len().cast(pl.Int64).alias("pages"),
    )
    ends = pl.DataFrame(
        {"partition_hour": [hour.start for hour in hours], "ends_at": [hour.ends_at for hour in hours]},
        schema={"partition_hour": pl.Datetime("us"), "ends_at": pl.Datetime("us", "UTC")},
    ).unique("partition_hour", keep="last", maintain_order=True)
    return Loaded(
        calls=read.calls,
        children={name: getattr(read, name) for name in CHILDREN},
        rejected_records=read.rejected_records,
        loads=fetches.join(read.counts, on="partition_hour").join(ends, on="partition_hour"),
    )


def _report(context: AssetExecutionContext, hours: Sequence[Hour], read: Tables, loads: pl.DataFrame) -> None:
    figures = {row["partition_hour"]: row for row in loads.drop("fetched_at", "loaded_at").iter_rows(named=True)}
    versions = {hour: figures[hour.start]["content_hash"] for hour in hours}
    calls = {
        hour: {"dagster/partition_row_count": figures[hour.start]["loaded"]} | _plain(figures[hour.start])
        for hour in hours
    }
    report(context, AssetKey(CALLS.asset_key), hours, calls, versions)
    for name, table in CHILDREN.items():
        rows = dict(getattr(read, name).group_by("partition_hour").len().iter_rows())
        counts = {hour: {"dagster/partition_row_count": rows.get(hour.start, 0)} for hour in hours}
        report(context, AssetKey(table.asset_key), hours, counts, versions)


def _plain(figures: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in figures.items() if name not in ("partition_hour", "run_id")}
