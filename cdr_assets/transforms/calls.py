"""Turns records into calls: one typed column for each field that the vendor documents, all other fields in `extra`.

How single values are read is `values` and `clock`; which values cannot be true is `plausibility`; the rows of the
arrays are `items`; `pages` calls all of these in order.
"""

from collections.abc import Mapping

import duckdb
import polars as pl

from cdr_assets.domain.schema import ARRAYS, CALL_DATES, VENDOR_COLUMNS, VOLATILE_FIELDS, Kind
from cdr_assets.transforms.chunks import in_chunks
from cdr_assets.transforms.clock import hour_of_partition
from cdr_assets.transforms.plausibility import is_no_call_date
from cdr_assets.transforms.values import BLANKS, Values, content_of, objects

# Parts of a call's content hash for an empty array, and for an array that was not requested.
NO_ITEMS = "0"
NOT_ASKED_FOR = "-"

# Hexadecimal digits of each part: one change in 2 ** 64 goes unnoticed.
_HASH_LENGTH = 16


def typed_fields(values: Values) -> pl.DataFrame:
    """The vendor's columns, typed. For each date, a column like `calldate_exact` has the instant if one was sent."""
    exact = {date: values.instants.filter(pl.col("name") == date) for date in CALL_DATES}
    nothing = pl.Series([None], dtype=values.instants.schema["instant"]).new_from_index(0, values.typed.height)
    return values.typed.with_columns(
        # Keys are compared in joins: with blanks around it, a key would be another call's.
        pl.col("key").str.strip_chars(BLANKS),
        *(nothing.clone().scatter(sent["row"], sent["instant"]).alias(f"{date}_exact") for date, sent in exact.items()),
    )


def status(is_calldate_filled: pl.Series, time_zone: str) -> list[pl.Expr]:
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
        pl.when(~pl.col("is_object"))
        .then(pl.lit("not an object"))
        .when(pl.col("key").is_null() & ~before & ~after)
        .then(pl.lit("no key"))
        .when(pl.col("calldate").is_null() & is_calldate_filled)
        .then(pl.lit("calldate cannot be read"))
        .when(pl.col("calldate").is_null())
        .then(pl.lit("no calldate"))
        .when(~can_be)
        .then(pl.lit("calldate cannot be true"))
        .alias("reason"),
    ]


def extra(rows: int, unknown: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """The columns `extra`, `lasting_extra` (`extra` without volatile fields) and `set_aside` of the records, as JSON.

    `extra` has the undocumented fields in `unknown` (row, name, value), and the original values in `kept` (columns of
    `values.KEPT`). They are sorted by name, so that the order in which they were sent does not matter. `set_aside` has
    the reasons in `kept`.
    """
    # A value that was rounded and then set aside comes twice in `kept`.
    once = kept.sort("row", "name", "reason", nulls_last=True).unique(["row", "name"], keep="first")
    entries = pl.concat([unknown, once.select("row", "name", "value")])
    is_lasting = ~entries["name"].is_in(VOLATILE_FIELDS)
    reasons = kept.drop_nulls("reason").unique(["row", "name"])
    all_of_them = objects(rows, entries)
    return pl.DataFrame(
        {
            "extra": all_of_them,
            "lasting_extra": all_of_them if is_lasting.all() else objects(rows, entries.filter(is_lasting)),
            "set_aside": objects(rows, reasons.with_columns(value=pl.concat_str(pl.lit('"'), "reason", pl.lit('"')))),
        }
    )


def content_hashes(
    connection: duckdb.DuckDBPyConnection, calls: pl.DataFrame, items: Mapping[str, pl.Series]
) -> pl.Series:
    """One text per call: a hash of its record (typed columns, instants, lasting_extra), and one of each array.

    `items` has the content of each array (`items.contents`), an empty text for an empty array, NULL for one that was
    not requested.

    It does not depend on how values are spelled, the order of fields, paging, the time of the fetch, or volatile
    fields. The part of an array that was not requested is `-`; all other parts can still be compared.
    """
    lasting = [column for column in VENDOR_COLUMNS if column.name not in VOLATILE_FIELDS]
    texts = [pl.col(column.name) for column in lasting if column.kind is Kind.TEXT]
    others = [column.name for column in lasting if column.kind is not Kind.TEXT]
    others += [f"{date}_utc" for date in CALL_DATES]
    # The reasons belong to the content, so that a call is written again if new rules set other values aside. Without
    # reasons nothing is added: the hashes of most calls are then the same as before set_aside existed.
    reasons = pl.concat_str(pl.lit("\x1e"), "set_aside").fill_null("")
    told = pl.concat_str(pl.col("lasting_extra").fill_null(""), reasons)
    numbers = [pl.col(other).to_physical().cast(pl.Int64) for other in others]
    record = md5(connection, calls.select(content_of(texts, told, numbers)).to_series())
    parts = [record.str.head(_HASH_LENGTH), *(_array_hashes(connection, items[name].alias(name)) for name in ARRAYS)]
    return pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=".").alias("content_hash")).to_series()


def _array_hashes(connection: duckdb.DuckDBPyConnection, contents: pl.Series) -> pl.Series:
    hashes = contents.replace("", NO_ITEMS).fill_null(NOT_ASKED_FOR)
    rows = ((contents != "") & contents.is_not_null()).arg_true()
    return hashes.scatter(rows, md5(connection, contents.gather(rows)).str.head(_HASH_LENGTH))


def md5(connection: duckdb.DuckDBPyConnection, texts: pl.Series) -> pl.Series:
    """MD5 hashes: unlike polars' own hashes, they are the same on every machine and in every version."""
    connection.register("texts", in_chunks(texts.alias("text").to_frame()))
    hashes = connection.execute('SELECT md5("text") AS content_hash FROM texts').pl()["content_hash"]
    connection.unregister("texts")
    return hashes
