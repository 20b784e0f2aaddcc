"""Turns records into calls: one typed column for each field that the vendor documents, all other fields in `extra`.

How single values are read is `values` and `clock`; which values cannot be true is `plausibility`; the rows of the
arrays are `items`; `pages` calls all of these in order.
"""

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

# Parts of a call's content hash for an empty array, and for an array that was not requested.
NO_ITEMS = "0"
NOT_ASKED_FOR = "-"

# Hexadecimal digits of each part: one change in 2 ** 64 goes unnoticed.
_HASH_LENGTH = 16

_NAMES = [*(column.name for column in VENDOR_COLUMNS), *ARRAYS]

# Texts that programs write for "no value". As values, they would make one agent or one contact of unrelated calls.
_NOTHING = [
    f'"{before}{spelled}{after}"'
    for word in ("none", "null", "undefined")
    for spelled in (word, word.capitalize(), word.upper())
    for before in ("", " ")
    for after in ("", " ")
]


def sent_fields(records: pl.DataFrame) -> pl.DataFrame:
    """One column of JSON texts for each documented field; NULL if the field is absent, null, or a text like "null".

    Durations that were sent as a clock (00:02:30) are converted to seconds.
    """
    sent = records.select(pl.col("fields").map.get(name).alias(name) for name in _NAMES)
    sent = sent.with_columns(pl.when(~pl.col(name).is_in(_NOTHING)).then(name).alias(name) for name in _NAMES)
    return sent.with_columns(clock_as_seconds(sent[name]) for name in DURATIONS)


def typed_fields(values: Values) -> pl.DataFrame:
    """The vendor's columns, typed. For each date, a column like `calldate_exact` has the instant if one was sent."""
    exact = {date: values.instants.filter(pl.col("name") == date) for date in CALL_DATES}
    nothing = pl.Series([None], dtype=values.instants.schema["instant"]).new_from_index(0, values.typed.height)
    return values.typed.with_columns(
        # Keys are compared in joins: with blanks around it, a key would be another call's.
        pl.col("key").str.strip_chars(BLANKS),
        *(nothing.clone().scatter(sent["row"], sent["instant"]).alias(f"{date}_exact") for date, sent in exact.items()),
    )


def status(calldate: pl.Series, time_zone: str) -> list[pl.Expr]:
    """Three columns for each record: is_outside, is_elsewhere, and reason.

    `is_outside`: its calldate lies outside its page's window, so that it belongs to another hour. `is_elsewhere`: it
    also lies outside the requested time, which is the hour and the second before it. `reason`: why it cannot become a
    call, else NULL. A record without a key gets no reason if it is outside: its own hour rejects it.
    """
    can_be = ~is_no_call_date()
    before = (pl.col("calldate") < pl.col("window_start")).fill_null(False) & can_be
    after = (pl.col("calldate") >= pl.col("window_finish")).fill_null(False) & can_be
    second = pl.col("hour_start") - pl.duration(seconds=1)
    # After a skipped hour, the request starts before the skipped hour (see `Hour.asked_from`).
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
    """The columns `extra`, `lasting_extra` (`extra` without volatile fields) and `set_aside` of each record, as JSON.

    `extra` has the undocumented fields, and the original values in `kept` (columns of `values.KEPT`). They are sorted
    by name, so that the order in which they were sent does not matter. `set_aside` has the reasons in `kept`.
    """
    fields = records.select("record", pl.col("fields").map.entries()).explode(
        "fields", empty_as_null=False, keep_nulls=False
    )
    is_unknown = pl.col("key").cast(pl.Enum(_NAMES), strict=False).is_null()
    unknown = fields.unnest("fields").filter(is_unknown)
    unknown = unknown.select("record", name="key", value="value", reason=pl.lit(None, pl.String))
    entries = (
        pl.concat([unknown, kept.select(records["record"].gather(kept["row"]), "name", "value", "reason")])
        # A value that was rounded and then set aside comes twice in `kept`.
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
    # No joins here: on the way to DuckDB, each NULL from a join becomes a copy of the first joined text. One field of
    # 300 kB in one of 17,000 calls took 10 GB.
    return pl.DataFrame(
        {name: pa.array(map(of_record.get, records["record"]), pa.large_string()) for name, of_record in told.items()}
    )


def arrays(connection: duckdb.DuckDBPyConnection, records: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """One column of JSON texts for each array; NULL if the array was not requested and was not sent either.

    The column `arrays` of `records` has the names of the arrays that were requested, joined by commas.
    """
    return records.select(
        pl.when(pl.col("fields").map.contains_key(name) | pl.col("arrays").str.contains(name, literal=True))
        .then(as_arrays(connection, sent[name]))
        .alias(name)
        for name in ARRAYS
    )


def content_hashes(connection: duckdb.DuckDBPyConnection, calls: pl.DataFrame) -> pl.Series:
    """One text per call: a hash of its record (typed columns, instants, lasting_extra), and one of each array.

    It does not depend on how values are spelled, the order of fields, paging, the time of the fetch, or volatile
    fields. The part of an array that was not requested is `-`; all other parts can still be compared.
    """
    lasting = [column for column in VENDOR_COLUMNS if column.name not in VOLATILE_FIELDS]
    texts = [pl.col(column.name) for column in lasting if column.kind is Kind.TEXT]
    others = [pl.col(column.name) for column in lasting if column.kind is not Kind.TEXT]
    others += [pl.col(f"{date}_utc") for date in CALL_DATES]
    # The reasons belong to the content, so that a call is written again if new rules set other values aside. Without
    # reasons nothing is added: the hashes of most calls are then the same as before set_aside existed.
    reasons = pl.concat_str(pl.lit("\x1e"), "set_aside").fill_null("")
    told = pl.concat_str(pl.col("lasting_extra").fill_null(""), reasons)
    content = [
        # Only texts may contain the separator. With their lengths in front, different contents give different strings.
        pl.concat_str([text.str.len_bytes().fill_null(0) for text in texts], separator=","),
        # Stand-ins for NULL: no text or JSON is empty, no number is this high, and no instant is this late.
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
    """MD5 hashes: unlike polars' own hashes, they are the same on every machine and in every version."""
    connection.register("texts", in_chunks(texts.alias("text").to_frame()))
    hashes = connection.execute('SELECT md5("text") AS content_hash FROM texts').pl()["content_hash"]
    connection.unregister("texts")
    return hashes


def _objects(entries: pl.DataFrame) -> dict[int, str | None]:
    """The text of a JSON object for each record, from its entries (record, name, value)."""
    quoted = {name: json.dumps(name, ensure_ascii=False) for name in entries["name"].unique()}
    objects: dict[int, str | None] = {}
    for record, fields in groupby(entries.select("record", "name", "value").iter_rows(), itemgetter(0)):
        # This copies each value once, and a value may be as long as a page. Polars copies it at each step, at twice
        # its length.
        pieces = [piece for _, name, value in fields for piece in (",", quoted[name], ":", value or "null")]
        objects[record] = "".join(["{", *pieces[1:], "}"])
    return objects
