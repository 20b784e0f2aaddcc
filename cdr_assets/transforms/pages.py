"""Reads pages into tables: calls the steps of this package in order, and handles repeated keys and counts of an hour.

Pages are read in batches, so that only the tables need more memory if there are more pages. A step's own rules are in
its module: `records`, `values`, `clock`, `plausibility`, `calls`, `items`, `drift`.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from cdr_assets.domain.schema import ARRAYS, CALL_NUMBERS, CALLS, CHILDREN, VENDOR_COLUMNS
from cdr_assets.transforms import calls as call
from cdr_assets.transforms import items
from cdr_assets.transforms.bodies import texts
from cdr_assets.transforms.clock import hour_of_partition, instants
from cdr_assets.transforms.drift import names_of, unknown_fields
from cdr_assets.transforms.long_texts import put_back
from cdr_assets.transforms.phone_numbers import e164
from cdr_assets.transforms.plausibility import plausible, plausible_ends
from cdr_assets.transforms.records import PageError, Records, take_apart, verbatim
from cdr_assets.transforms.uniform_pages import UniformPages
from cdr_assets.transforms.values import KEPT, Sent, read_values

# Many, because each batch takes a tenth of a second whatever its size; but few enough that the intermediate frames
# take only tens of megabytes.
_BATCH_PAGES = 170
_BATCH_BYTES = 32 << 20

# Columns that the warehouse adds to a call.
_ADDED = ("fetched_at", "vanished_at")
_CALLS_SCHEMA = pl.Schema({name: dtype for name, dtype in CALLS.polars_schema.items() if name not in _ADDED})

# More than a page has records.
_MOST_POSITIONS = 1 << 32

_COUNTS = ("served", "outside_window", "elsewhere", "repeated", "rejected", "loaded")


@dataclass(frozen=True)
class Tables:
    """The typed content of pages, in the columns of `domain/schema.py`; `calls` lacks fetched_at and vanished_at.

    `counts` has one row per partition_hour of the pages, even without records: partition_hour, served, outside_window,
    elsewhere, repeated, rejected, loaded. served = outside_window + repeated + rejected + loaded; elsewhere is a part
    of outside_window. `unknown_fields` is the frame that `drift.unknown_fields` returns.
    """

    calls: pl.DataFrame
    call_history: pl.DataFrame
    csat_answers: pl.DataFrame
    call_tags: pl.DataFrame
    rejected_records: pl.DataFrame
    unknown_fields: pl.DataFrame
    counts: pl.DataFrame


def read_pages(pages: pl.DataFrame, time_zone: str, country: str | None = None) -> Tables:
    """The tables of the pages of one or many hours.

    `pages`: partition_hour, page_number, window_start and window_finish (naive wall clock of `time_zone`, NULL for no
    bound), fetched_at, arrays (names of the requested arrays), record_count, body and body_size; other columns are
    ignored. A record belongs to its page's hour if window_start <= calldate < window_finish. If a key comes several
    times in the pages of one partition_hour, the last record counts; a key in two hours gives two calls. If
    partition_hour is NULL, each call belongs to the hour of its calldate.

    `country` (`TR`) is that of phone numbers without a country code; without it, they keep their digits.

    An array that was requested but not sent counts as empty; one that was not requested is NULL.

    A record is rejected if it is not an object, or has no key or no usable calldate. Every other record becomes a call.
    A value that cannot be read as its column's kind or cannot be true (`plausibility`) is NULL there, kept in `extra`,
    and named in `set_aside`. Raises PageError if a body is not a JSON object, its CallList is not an array, or it has
    another number of records than record_count. No other content raises.
    """
    pages = pages.select(
        pl.col("partition_hour", "window_start", "window_finish").cast(pl.Datetime("us")),
        pl.col("page_number").cast(pl.Int32),
        pl.col("arrays").cast(pl.String),
        pl.col("fetched_at").cast(pl.Datetime("us", "UTC")),
        pl.col("record_count", "body", "body_size"),
    ).sort("partition_hour", "page_number", maintain_order=True)
    # An hour may have been fetched in slices, each with its own window.
    pages = pages.with_columns(
        hour_start=pl.col("window_start").min().over("partition_hour"),
        hour_finish=pl.col("window_finish").max().over("partition_hour"),
    )
    pages = pages.with_row_index("page")
    with duckdb.connect() as connection:
        batches: list[_Batch] = []
        long_texts: dict[bytes, memoryview] = {}
        uniform_pages = UniformPages()
        for some in _portions(pages):
            some = some.with_columns(texts(some, long_texts)).drop("body_size")
            uniform, others = uniform_pages.take_apart(some)
            for records in uniform:
                batches.append(_read_batch(connection, some, records, time_zone, country))
            if others.height or not uniform:
                batches.append(_read_batch(connection, *take_apart(connection, others), time_zone, country))
        return _put_together(pages["partition_hour"], batches, long_texts)


def _portions(pages: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The pages in portions of limited size: at least one portion, and at least one page in each if there are any."""
    first = size = 0
    for page, length in enumerate(pages["body_size"].fill_null(0)):
        if page > first and (page == first + _BATCH_PAGES or size + length > _BATCH_BYTES):
            yield pages.slice(first, page - first)
            first, size = page, 0
        size += length
    yield pages.slice(first)


def read_hours(
    pages: pl.DataFrame, time_zone: str, country: str | None = None
) -> tuple[Tables, dict[dt.datetime, str]]:
    """The tables of the hours whose pages can all be read, and for each other hour the reason why not."""
    unread: dict[dt.datetime, str] = {}
    while True:
        try:
            return read_pages(pages, time_zone, country), unread
        except PageError as error:
            if error.partition_hour is None:
                raise
            unread[error.partition_hour] = str(error)
            pages = pages.filter(pl.col("partition_hour") != error.partition_hour)


@dataclass(frozen=True)
class _Batch:
    """Records of some pages, typed. Their number `record` is made of the page and the position in it.

    `records`: page_hour (partition_hour of its page), is_outside, is_elsewhere, reason (why it is rejected). `unknown`
    is what `drift.names_of` returns.
    """

    records: pl.DataFrame
    calls: pl.DataFrame
    children: dict[str, pl.DataFrame]
    rejected: pl.DataFrame
    unknown: list[pl.DataFrame]


def _read_batch(
    connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame, taken: Records, time_zone: str, country: str | None
) -> _Batch:
    sent = taken.sent
    read = read_values(sent, {column.name: (column.name, column.kind) for column in VENDOR_COLUMNS}, time_zone)
    typed, aside = plausible(call.typed_fields(read))
    of_pages = pages.drop("body", "record_count").rename({"partition_hour": "page_hour"})
    records = (
        taken.places.join(of_pages, on="page", how="left", maintain_order="left")
        .with_columns(record=pl.col("page").cast(pl.Int64) * _MOST_POSITIONS + pl.col("position"))
        .hstack(typed)
        .hstack(instants(typed, time_zone))
        .with_columns(call.status(sent.is_filled("calldate"), time_zone))
    )
    records, aside_ends = plausible_ends(records)
    kept = pl.concat([read.kept, *(_sent_values(sent, rows) for rows in (aside, aside_ends))])
    records = records.hstack(call.extra(records.height, taken.unknown, kept)).with_columns(
        partition_hour=pl.coalesce("page_hour", hour_of_partition(pl.col("calldate"), time_zone))
    )
    is_call = records.select(~pl.col("is_outside") & pl.col("reason").is_null()).to_series()
    calls = records.filter(is_call)
    untold = pl.concat([taken.unknown, kept.select("row", "name", "value")])
    untold = untold.filter(is_call.gather(untold["row"]))
    unknown = [names_of(CALLS, records["partition_hour"], untold)]
    children, contents = {}, {}
    for name, table in CHILDREN.items():
        has_array = taken.has_array[name] | records["arrays"].str.contains(name, literal=True)
        exploded = items.read_items(name, taken.items(name, is_call), records, time_zone)
        told = items.contents(name, exploded, has_array).filter(is_call)
        calls = calls.with_columns(told["count"].alias(f"{name}_count"))
        contents[name] = told["content"]
        unknown.append(names_of(table, exploded.rows["partition_hour"], exploded.untold))
        children[name] = exploded.rows.with_columns(records["record"].gather(exploded.rows["record"]))
    calls = calls.with_columns(
        *(e164(calls[name], country).alias(f"{name}_e164") for name in CALL_NUMBERS),
        content_hash=call.content_hashes(connection, calls, contents),
    )
    rejected = records.filter(pl.col("reason").is_not_null())
    return _Batch(
        records=records.select("record", "page_hour", "is_outside", "is_elsewhere", "reason"),
        calls=calls.select("record", "page_hour", *_CALLS_SCHEMA),
        children=children,
        rejected=rejected.select(
            pl.col("record").alias("place"),
            pl.col("page_hour").alias("partition_hour"),
            "page_number",
            "position",
            "reason",
            verbatim(connection, pages, rejected.select("page", "position")).alias("record"),
        ),
        unknown=unknown,
    )


def _sent_values(sent: Sent, aside: pl.DataFrame) -> pl.DataFrame:
    """Adds the original value to the values that were set aside (row, name, reason); columns as in `Values.kept`."""
    values = [
        rows.with_columns(value=sent.json(name, rows["row"])).select(KEPT.names())
        for (name,), rows in aside.group_by("name", maintain_order=True)
        if isinstance(name, str)
    ]
    return pl.concat([KEPT.to_frame(), *values])


def _put_together(hours: pl.Series, batches: list[_Batch], long_texts: Mapping[bytes, memoryview]) -> Tables:
    """Joins the batches, drops calls whose key comes again later in their hour, and counts."""
    records = pl.concat([batch.records for batch in batches])
    came = pl.concat([batch.calls for batch in batches])
    children = {name: pl.concat([batch.children[name] for batch in batches]) for name in ARRAYS}
    rejected = pl.concat([batch.rejected for batch in batches])
    if not records["record"].is_sorted():
        # Some of the pages were not uniform: put all records back into the order in which they came.
        came = came.sort("record")
        children = {name: rows.sort("record", maintain_order=True) for name, rows in children.items()}
        rejected = rejected.sort("place")
    calls = came.unique(["page_hour", "key"], keep="last", maintain_order=True)
    if calls.height < came.height:
        children = {
            name: rows.join(calls, on="record", how="semi", maintain_order="left") for name, rows in children.items()
        }
    by_hour = records.group_by("page_hour").agg(
        served=pl.len(),
        outside_window=pl.col("is_outside").sum(),
        elsewhere=pl.col("is_elsewhere").sum(),
        rejected=pl.col("reason").count(),
    )
    by_hour_loaded = calls.group_by("page_hour").agg(loaded=pl.len())
    counts = (
        hours.alias("page_hour")
        .to_frame()
        .unique(maintain_order=True)
        .join(by_hour, on="page_hour", how="left", nulls_equal=True, maintain_order="left")
        .join(by_hour_loaded, on="page_hour", how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.col("served", "outside_window", "elsewhere", "rejected", "loaded").fill_null(0).cast(pl.Int64))
        .with_columns(repeated=pl.col("served") - pl.col("outside_window") - pl.col("rejected") - pl.col("loaded"))
    )
    calls = calls.select(_CALLS_SCHEMA.names())
    children = {name: rows.select(CHILDREN[name].polars_schema.names()) for name, rows in children.items()}
    return Tables(
        unknown_fields=unknown_fields(pl.concat([names for batch in batches for names in batch.unknown])),
        counts=counts.select(pl.col("page_hour").alias("partition_hour"), *_COUNTS),
        # Put the long texts back last, because polars copies them at every step, in a table of one row three times.
        calls=put_back(calls, long_texts),
        rejected_records=put_back(rejected.drop("place"), long_texts),
        **{name: put_back(rows, long_texts) for name, rows in children.items()},
    )
