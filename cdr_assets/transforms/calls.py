"""Records to calls: every field of the vendor's page typed, and what has no column of its own kept in `extra`."""

import json
from itertools import groupby
from operator import itemgetter

import duckdb
import polars as pl
import pyarrow as pa

from cdr_assets.domain.schema import ARRAYS, CALL_DATES, DURATIONS, VENDOR_COLUMNS, VOLATILE_FIELDS, Kind
from cdr_assets.transforms.chunks import in_chunks
from cdr_assets.transforms.clock import hour_of_partition
from cdr_assets.transforms.items import as_arrays
from cdr_assets.transforms.plausibility import is_no_call_date
from cdr_assets.transforms.values import BLANKS, Values, clock_as_seconds, is_filled

# Parts of a call's content hash that are no hashes.
NO_ITEMS = "0"
NOT_ASKED_FOR = "-"

# Hexadecimal digits of a part: one change in 2 ** 64 would go unnoticed.
_HASH_LENGTH = 16

_NAMES = [*(column.name for column in VENDOR_COLUMNS), *ARRAYS]

# What programs write where they have nothing: an agent or a chain of calls of that name would be everybody's.
_NOTHING = [
    f'"{before}{spelled}{after}"'
    for word in ("none", "null", "undefined")
    for spelled in (word, word.capitalize(), word.upper())
    for before in ("", " ")
    for after in ("", " ")
]


def sent_fields(records: pl.DataFrame) -> pl.DataFrame:
    """The JSON text of each field of the vendor's page, a column each; NULL where null, spelled null or absent.

    Durations that came as a clock are in seconds.
    """
    sent = records.select(pl.col("fields").map.get(name).alias(name) for name in _NAMES)
    sent = sent.with_columns(pl.when(~pl.col(name).is_in(_NOTHING)).then(name).alias(name) for name in _NAMES)
    return sent.with_columns(clock_as_seconds(sent[name]) for name in DURATIONS)


def typed_fields(values: Values) -> pl.DataFrame:
    """The vendor's columns, and for each date a column `calldate_exact` and so on: the instant if one was sent."""
    exact = {date: values.instants.filter(pl.col("name") == date) for date in CALL_DATES}
    nothing = pl.Series([None], dtype=values.instants.schema["instant"]).new_from_index(0, values.typed.height)
    return values.typed.with_columns(
        # A key is looked up and joined on: blanks around it would make another call of it.
        pl.col("key").str.strip_chars(BLANKS),
        *(nothing.clone().scatter(sent["row"], sent["instant"]).alias(f"{date}_exact") for date, sent in exact.items()),
    )


def status(calldate: pl.Series, time_zone: str) -> list[pl.Expr]:
    """Whether a record lies outside of its page's window (`is_outside`), else why it is no call (`reason`, or NULL).

    A record without a key that lies outside is not rejected here: the hour that it belongs to does that.
    `is_elsewhere`: it lies outside of all that was asked for, which is the hour and a second before it.
    """
    can_be = ~is_no_call_date()
    before = (pl.col("calldate") < pl.col("window_start")).fill_null(False) & can_be
    after = (pl.col("calldate") >= pl.col("window_finish")).fill_null(False) & can_be
    second = pl.col("hour_start") - pl.duration(seconds=1)
    # After a skipped hour, it is asked for from before that one.
    is_shown = hour_of_partition(second, time_zone) == second.dt.truncate("1h")
    asked_from = pl.when(is_shown).then(second).otherwise(second - pl.duration(hours=2))
    is_asked_for = pl.col("calldate").is_between(asked_from, pl.col("hour_finish")).fill_null(True)
    return [
        (before | after).alias("is_outside"),
        ((before | after) & ~is_asked_for).alias("is_elsewhere"),
        pl.when(pl.col("fields").is_null())
        .then(pl.lit("not an object"))
        .when(pl.col("key").is_null() & ~before & ~after)
        .then(pl.lit("no key"))
        .when(pl.col("calldate").is_null() & is_filled(calldate))
        .then(pl.lit("calldate cannot be read"))
        .when(pl.col("calldate").is_null())
        .then(pl.lit("no calldate"))
        .when(~can_be)
        .then(pl.lit("calldate cannot be true"))
        .alias("reason"),
    ]


def extra(records: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """`extra`, `lasting_extra` (without volatile fields) and `set_aside` of each record.

    The fields that the vendor's page does not name, and what was `kept` of the others (`values.KEPT`); by name, so
    that the order in which they were sent does not matter. `set_aside` tells those that have a reason.
    """
    fields = records.select("record", pl.col("fields").map.entries()).explode(
        "fields", empty_as_null=False, keep_nulls=False
    )
    is_unknown = pl.col("key").cast(pl.Enum(_NAMES), strict=False).is_null()
    unknown = fields.unnest("fields").filter(is_unknown)
    unknown = unknown.select("record", name="key", value="value", reason=pl.lit(None, pl.String))
    entries = (
        pl.concat([unknown, kept.select(records["record"].gather(kept["row"]), "name", "value", "reason")])
        # A value that was rounded, and set aside then, is kept twice.
        .sort("record", "name", "reason", nulls_last=True)
        .unique(["record", "name"], keep="first", maintain_order=True)
    )
    all_of_them = _objects(entries)
    is_lasting = ~pl.col("name").is_in(VOLATILE_FIELDS)
    volatile = entries.filter(~is_lasting).select("record").unique()
    lasting = _objects(entries.join(volatile, on="record", how="semi").filter(is_lasting))
    reasons = entries.drop_nulls("reason").with_columns(value=pl.concat_str(pl.lit('"'), "reason", pl.lit('"')))
    told = {
        "extra": all_of_them,
        "lasting_extra": all_of_them | dict.fromkeys(volatile["record"]) | lasting,
        "set_aside": _objects(reasons),
    }
    # Not by joins: on the way to DuckDB, each NULL that a join leaves is a copy of the first text that it was joined
    # with. A field of 300 kB in one of 17,000 calls took 10 GB.
    return pl.DataFrame(
        {name: pa.array(map(of_record.get, records["record"]), pa.large_string()) for name, of_record in told.items()}
    )


def arrays(connection: duckdb.DuckDBPyConnection, records: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """The arrays as JSON texts, a column each; NULL where the array was not asked for, and is not there either.

    `records` has `arrays`, the names of those that its page was asked with.
    """
    return records.select(
        pl.when(pl.col("fields").map.contains_key(name) | pl.col("arrays").str.contains(name, literal=True))
        .then(as_arrays(connection, sent[name]))
        .alias(name)
        for name in ARRAYS
    )


def content_hashes(connection: duckdb.DuckDBPyConnection, calls: pl.DataFrame) -> pl.Series:
    """One hash a call: of its record (typed columns, instants, lasting extras) and of each array, joined by dots.

    Spelling, order of fields, paging and time of the fetch are not in it, nor what changes by itself. Of an array that
    was not asked for the part is `-`, so that it can be compared with one that was by all the others.
    """
    lasting = [column for column in VENDOR_COLUMNS if column.name not in VOLATILE_FIELDS]
    texts = [pl.col(column.name) for column in lasting if column.kind is Kind.TEXT]
    others = [pl.col(column.name) for column in lasting if column.kind is not Kind.TEXT]
    others += [pl.col(f"{date}_utc") for date in CALL_DATES]
    # Why values were set aside is content, so that calls that were typed by other rules are written again; of a call
    # without any, the hash is what it was before there were reasons.
    reasons = pl.concat_str(pl.lit("\x1e"), "set_aside").fill_null("")
    told = pl.concat_str(pl.col("lasting_extra").fill_null(""), reasons)
    content = [
        # A text may hold the separator, and nothing else does: with the lengths, no two contents read the same.
        pl.concat_str([text.str.len_bytes().fill_null(0) for text in texts], separator=","),
        # No text is empty and no JSON either: that says NULL. Nor is any number this high, or instant this late.
        *(text.fill_null("") for text in [*texts, told]),
        *(other.to_physical().cast(pl.Int64).fill_null(10**18).cast(pl.String) for other in others),
    ]
    record = md5(connection, calls.select(pl.concat_str(content, separator="\x1f")).to_series())
    parts = [record.str.head(_HASH_LENGTH), *(_array_hashes(connection, calls[name]) for name in ARRAYS)]
    return pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=".").alias("content_hash")).to_series()


def _array_hashes(connection: duckdb.DuckDBPyConnection, arrays: pl.Series) -> pl.Series:
    hashes = arrays.replace("[]", NO_ITEMS).fill_null(NOT_ASKED_FOR)
    rows = ((arrays != "[]") & arrays.is_not_null()).arg_true()
    return hashes.scatter(rows, md5(connection, arrays.gather(rows)).str.head(_HASH_LENGTH))


def md5(connection: duckdb.DuckDBPyConnection, texts: pl.Series) -> pl.Series:
    """Hashes that are the same on every machine and in every version, as polars' own are not."""
    connection.register("texts", in_chunks(texts.alias("text").to_frame()))
    hashes = connection.execute('SELECT md5("text") AS content_hash FROM texts').pl()["content_hash"]
    connection.unregister("texts")
    return hashes


def _objects(entries: pl.DataFrame) -> dict[int, str | None]:
    """The entries of each record (record, name, value) as the text of a JSON object."""
    quoted = {name: json.dumps(name, ensure_ascii=False) for name in entries["name"].unique()}
    objects: dict[int, str | None] = {}
    for record, fields in groupby(entries.select("record", "name", "value").iter_rows(), itemgetter(0)):
        # One copy of a value that may be as long as a page; polars takes one a step, of twice the length.
        pieces = [piece for _, name, value in fields for piece in (",", quoted[name], ":", value or "null")]
        objects[record] = "".join(["{", *pieces[1:], "}"])
    return objects
