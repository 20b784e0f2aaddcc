"""Types stored pages and prepares them for the warehouse: whole hours, narrowed fetches, and hours to be typed again.

How a record becomes a call is in `transforms`; how hours are replaced, in `warehouse`; how pages come, in `fetching`.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import duckdb
import polars as pl

from cdr_assets.domain.hours import Hour, ends_at
from cdr_assets.domain.schema import CHILDREN
from cdr_assets.domain.settings import Settings
from cdr_assets.transforms import Tables, read_hours, read_pages, set_aside_in
from cdr_assets.transforms.rules import rules
from cdr_assets.warehouse import (
    Load,
    Warehouse,
    hashes_of_pages,
    hours_to_retype,
    last_erasure,
    load_hours,
    read_narrowed_pages,
    read_pages_of,
    read_pages_to_retype,
    retype_hours,
)
from cdr_assets.warehouse.retention import loadable_from

# Bytes of JSON of a batch: enough to keep polars and DuckDB busy, few enough for the memory of a small machine.
_BATCH_BYTES = 32 << 20

# Starts the reason of an hour whose load failed. All other reasons come from its fetch.
NOT_LOADED = "it could not be loaded: "


def read_batches(
    warehouse: Warehouse, holder: str, settings: Settings, hours: Sequence[Hour], sizes: Mapping[dt.datetime, int]
) -> Iterator[tuple[list[Hour], Load, dict[Hour, str]]]:
    """Yields the hours in batches: the hours that could be read, their content, and why the other hours failed.

    `sizes` has the bytes of each hour's pages. Each batch is read while the caller writes the previous one,
    because neither reading nor writing keeps two cores busy.
    """
    with ThreadPoolExecutor(max_workers=1) as reader:
        begun: deque[
            tuple[
                list[Hour],
                pl.DataFrame,
                dt.datetime | None,
                dict[dt.datetime, str],
                Future[tuple[Tables, dict[dt.datetime, str]]],
            ]
        ] = deque()

        def finished() -> tuple[list[Hour], Load, dict[Hour, str]]:
            # Pop before yielding; otherwise three batches stay in memory instead of two.
            batch, pages, erased_at, typed_of, reading = begun.popleft()
            tables, reasons = reading.result()
            unread = {hour: f"{NOT_LOADED}{reasons[hour.start]}" for hour in batch if hour.start in reasons}
            read = [hour for hour in batch if hour not in unread]
            load = load_of_hours(pages, tables, read, settings.zone)
            return read, replace(load, erased_at=erased_at, typed_of=typed_of), unread

        for batch in _batches(hours, sizes):
            with warehouse.connect(holder) as connection:
                pages = read_pages_of(connection, [hour.start for hour in batch])
                erased_at = last_erasure(connection)
                typed_of = hashes_of_pages(connection, [hour.start for hour in batch], rules_of(settings))
            begun.append(
                (
                    batch,
                    pages,
                    erased_at,
                    typed_of,
                    reader.submit(read_hours, pages, settings.alotech_timezone, settings.cdr_country),
                )
            )
            if len(begun) > 1:
                yield finished()
        yield finished()


def rules_of(settings: Settings) -> str:
    """A hash of the rules by which pages are typed today."""
    return rules(settings.alotech_timezone, settings.cdr_country)


def _batches(hours: Iterable[Hour], sizes: Mapping[dt.datetime, int]) -> Iterator[list[Hour]]:
    batch: list[Hour] = []
    size = 0
    for hour in hours:
        if batch and size + sizes[hour.start] > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(hour)
        size += sizes[hour.start]
    yield batch


def merge_calls(
    warehouse: Warehouse,
    holder: str,
    run_id: str,
    settings: Settings,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Merges the calls of the run's narrowed fetches by key, because their hours have other calls too."""
    with warehouse.connect(holder) as connection:
        pages = read_narrowed_pages(connection, run_id)
        erased_at = last_erasure(connection)
    read = read_narrowed(pages, settings)
    for record in read.rejected_records.iter_rows(named=True):
        warn(f"a record could not become a call: {record['reason']}")
    load = replace(load_of_calls(pages, read), erased_at=erased_at)
    with warehouse.connect(holder) as connection:
        first = loadable_from(connection)
        if first:
            load = _from(load, first)
        loads = load_hours(connection, load, run_id)
    log(
        f"merged by key: {read.calls.height} calls, {loads['new'].sum()} of them new, {loads['changed'].sum()} "
        "changed; the hours are not marked as materialized, since they were not read whole"
    )


def _from(load: Load, hour: dt.datetime) -> Load:
    """Without the calls of earlier hours, which would be deleted again (CDR_CALLS_DAYS)."""
    is_kept = pl.col("partition_hour") >= hour
    return replace(
        load,
        calls=load.calls.filter(is_kept),
        children={name: rows.filter(is_kept) for name, rows in load.children.items()},
        loads=load.loads.filter(is_kept),
    )


def read_narrowed(pages: pl.DataFrame, settings: Settings) -> Tables:
    """The tables of narrowed pages. Calls belong to the hour of their calldate; the last fetch of a call counts."""
    in_order = pages.sort("fetched_at", maintain_order=True).with_columns(
        partition_hour=pl.lit(None, pl.Datetime("us")), page_number=pl.int_range(pl.len())
    )
    return read_pages(in_order, settings.alotech_timezone, settings.cdr_country)


def load_of_calls(pages: pl.DataFrame, read: Tables) -> Load:
    """The content of narrowed pages, to be merged by key into the hours of the calls."""
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


def load_of_hours(pages: pl.DataFrame, read: Tables, hours: Sequence[Hour], zone: dt.tzinfo) -> Load:
    """The content of the pages of whole hours, which replaces these hours."""
    fetches = pages.group_by("partition_hour").agg(
        pl.col("filters").first(),
        pl.col("fetched_at").max(),
        pl.col("requests").sum().cast(pl.Int64),
        (pl.col("requests").sum() - pl.len()).cast(pl.Int64).alias("retries"),
        pl.len().cast(pl.Int64).alias("pages"),
    )
    ends = pl.DataFrame(
        # Not the ends of the partitions: of a repeated hour, either pass may be run alone.
        {"partition_hour": [hour.start for hour in hours], "ends_at": [ends_at(hour.start, zone) for hour in hours]},
        schema={"partition_hour": pl.Datetime("us"), "ends_at": pl.Datetime("us", "UTC")},
    ).unique("partition_hour", keep="last", maintain_order=True)
    return _with_loads(read, fetches.join(read.counts, on="partition_hour").join(ends, on="partition_hour", how="left"))


def retype(connection: duckdb.DuckDBPyConnection, settings: Settings, log: Callable[[str], object]) -> None:
    """Types the hours again that an older version of this code typed, from their stored pages, in portions.

    Each portion is one transaction, so that the next run continues after a kill. If the pages of calls were deleted or
    cannot be read, values that cannot be true are set aside, and the hours are added to cdr.hours_without_pages.
    """
    while True:
        hours, left = hours_to_retype(connection)
        if not hours:
            return
        log(f"typing {len(hours)} hours by the rules of this version of cdr_assets; {left} more to do")
        whole, narrowed = read_pages_to_retype(connection, hours)
        read, unread = read_hours(whole, settings.alotech_timezone, settings.cdr_country)
        for reason in unread.values():
            log(reason)
        parts = [
            load_of_hours(whole, read, (), settings.zone),
            *(
                load_of_calls(pages, read_narrowed(pages, settings))
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
