"""What stored pages hold, made ready for the warehouse: of whole hours, of narrowed fetches, and of hours typed before.

Knows the transforms and the warehouse, and no Dagster. Fetching pages is `fetching`.
"""

from collections.abc import Callable, Sequence

import duckdb
import polars as pl

from cdr_assets.partitions import Hour
from cdr_assets.schema import CHILDREN
from cdr_assets.transforms import Tables, read_hours, read_pages, set_aside_in
from cdr_assets.warehouse import Loaded, hours_to_retype, read_pages_to_retype, retype_hours


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
            *(pl.lit(0, pl.Int64).alias(name) for name in ("repeated", "outside_window", "elsewhere", "rejected")),
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
            loaded(whole, read, ()),
            *(
                merged(pages, read_pages(merging(pages), time_zone))
                for pages in narrowed.partition_by("filters", "run_id", maintain_order=True)
            ),
        ]
        if without_pages := retype_hours(connection, parts, hours, set_aside_in):
            log(f"{without_pages} of these hours have calls whose pages are gone; see cdr.hours_without_pages")


def _with_loads(read: Tables, loads: pl.DataFrame) -> Loaded:
    return Loaded(
        calls=read.calls,
        children={name: getattr(read, name) for name in CHILDREN},
        rejected_records=read.rejected_records,
        unknown_fields=read.unknown_fields,
        loads=loads,
    )
