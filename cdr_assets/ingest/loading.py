"""Loading: stored pages, typed and made ready for the warehouse: whole hours, narrowed fetches, hours typed before.

How a record becomes a call is `transforms`; how hours are replaced is `warehouse`; fetching pages is `fetching`.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb
import polars as pl

from cdr_assets.domain.hours import Hour
from cdr_assets.domain.schema import CHILDREN
from cdr_assets.transforms import Tables, read_hours, read_pages, set_aside_in
from cdr_assets.warehouse import (
    Load,
    Warehouse,
    hours_to_retype,
    load_hours,
    read_narrowed_pages,
    read_pages_of,
    read_pages_to_retype,
    retype_hours,
)

# Records turned into calls at once: enough to keep both polars and DuckDB busy, little enough for a small machine.
_BATCH_RECORDS = 32_000

# Why an hour fails when it is loaded; whatever else an hour fails for, its fetch did.
NOT_LOADED = "it could not be loaded: "


def read_batches(
    warehouse: Warehouse, holder: str, time_zone: str, hours: Sequence[Hour], records: Mapping[dt.datetime, int]
) -> Iterator[tuple[list[Hour], Load, dict[Hour, str]]]:
    """The hours in batches: those that could be read, what their pages brought, and why the others could not be read.

    `records` counts the records of each hour. Each batch is read while the one before is written, since neither reading
    nor writing keeps two cores busy.
    """
    with ThreadPoolExecutor(max_workers=1) as reader:
        begun: deque[tuple[list[Hour], pl.DataFrame, Future[tuple[Tables, dict[dt.datetime, str]]]]] = deque()

        def finished() -> tuple[list[Hour], Load, dict[Hour, str]]:
            # Popped before it is handed out: otherwise three batches would stay in memory, and not two.
            batch, pages, reading = begun.popleft()
            tables, reasons = reading.result()
            unread = {hour: f"{NOT_LOADED}{reasons[hour.start]}" for hour in batch if hour.start in reasons}
            read = [hour for hour in batch if hour not in unread]
            return read, load_of_hours(pages, tables, read), unread

        for batch in _batches(hours, records):
            with warehouse.connect(holder) as connection:
                pages = read_pages_of(connection, [hour.start for hour in batch])
            begun.append((batch, pages, reader.submit(read_hours, pages, time_zone)))
            if len(begun) > 1:
                yield finished()
        yield finished()


def _batches(hours: Iterable[Hour], records: Mapping[dt.datetime, int]) -> Iterator[list[Hour]]:
    batch: list[Hour] = []
    size = 0
    for hour in hours:
        if batch and size + records[hour.start] > _BATCH_RECORDS:
            yield batch
            batch, size = [], 0
        batch.append(hour)
        size += records[hour.start]
    yield batch


def merge_calls(
    warehouse: Warehouse,
    holder: str,
    run_id: str,
    time_zone: str,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Merges the run's narrowed fetches by key: an hour may hold more calls than those that were asked for."""
    with warehouse.connect(holder) as connection:
        pages = read_narrowed_pages(connection, run_id)
    read = read_narrowed(pages, time_zone)
    for record in read.rejected_records.iter_rows(named=True):
        warn(f"a record could not become a call: {record['reason']}")
    load = load_of_calls(pages, read)
    with warehouse.connect(holder) as connection:
        loads = load_hours(connection, load, run_id)
    log(
        f"merged by key: {read.calls.height} calls, {loads['new'].sum()} of them new, {loads['changed'].sum()} "
        "changed; the hours are not marked as materialized, since they were not read whole"
    )


def read_narrowed(pages: pl.DataFrame, time_zone: str) -> Tables:
    """What narrowed pages hold. A call belongs to the hour of its date; if it came twice, the last fetch counts."""
    in_order = pages.sort("fetched_at", maintain_order=True).with_columns(
        partition_hour=pl.lit(None, pl.Datetime("us")), page_number=pl.int_range(pl.len())
    )
    return read_pages(in_order, time_zone)


def load_of_calls(pages: pl.DataFrame, read: Tables) -> Load:
    """What narrowed pages brought, to be merged by key into the calls' hours."""
    loads = (
        read.calls.group_by("partition_hour")
        .agg(loaded=pl.len().cast(pl.Int64))
        .with_columns(
            pl.lit(pages["filters"].first(), pl.String).alias("filters"),
            pl.lit(pages["fetched_at"].max(), pl.Datetime("us", "UTC")).alias("fetched_at"),
            pl.lit(None, pl.Datetime("us", "UTC")).alias("ends_at"),
            *(pl.lit(None, pl.Int64).alias(name) for name in ("requests", "retries", "pages")),
            *(pl.lit(0, pl.Int64).alias(name) for name in ("repeated", "outside_window", "elsewhere", "rejected")),
            served="loaded",
        )
    )
    return _with_loads(read, loads)


def load_of_hours(pages: pl.DataFrame, read: Tables, hours: Sequence[Hour]) -> Load:
    """What the pages of whole hours brought, to replace these hours."""
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
    return _with_loads(read, fetches.join(read.counts, on="partition_hour").join(ends, on="partition_hour", how="left"))


def retype(connection: duckdb.DuckDBPyConnection, time_zone: str, log: Callable[[str], object]) -> None:
    """Types the hours that an older version of this code typed, from their stored pages, a portion at a time.

    Each portion is a transaction: after a kill, the next run goes on with the rest. Where the pages of calls are gone,
    or cannot be read, the values that cannot be true are set aside, and cdr.hours_without_pages names the hours.
    """
    while True:
        hours, left = hours_to_retype(connection)
        if not hours:
            return
        log(f"typing {len(hours)} hours by the rules of this version of cdr_assets; {left} more to do")
        whole, narrowed = read_pages_to_retype(connection, hours)
        read, unread = read_hours(whole, time_zone)
        for reason in unread.values():
            log(reason)
        parts = [
            load_of_hours(whole, read, ()),
            *(
                load_of_calls(pages, read_narrowed(pages, time_zone))
                for pages in narrowed.partition_by("filters", "run_id", maintain_order=True)
            ),
        ]
        if without_pages := retype_hours(connection, parts, hours, set_aside_in):
            log(f"{without_pages} of these hours have calls whose pages are gone; see cdr.hours_without_pages")


def _with_loads(read: Tables, loads: pl.DataFrame) -> Load:
    return Load(
        calls=read.calls,
        children={name: getattr(read, name) for name in CHILDREN},
        rejected_records=read.rejected_records,
        unknown_fields=read.unknown_fields,
        loads=loads,
    )
