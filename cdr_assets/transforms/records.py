"""Splits the JSON of any page into records (`Records`). Nothing is typed here: see `values` and `calls`.

DuckDB parses the pages in bulk. Each record becomes a map of field names to JSON texts, so that fields of any name,
order and type can be read. Most pages need less work: see `uniform_pages`.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import polars as pl

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.schema import ARRAYS, DURATIONS, VENDOR_COLUMNS
from cdr_assets.transforms.chunks import in_chunks
from cdr_assets.transforms.items import ItemsSent, take_apart_items
from cdr_assets.transforms.values import Sent, clock_as_seconds, sent_values, unknown_entries

_PAGES_AT_A_TIME = 16

# Any escape in a JSON text. Whole surrogate pairs come before halves, so that only a single half matches `half`.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)

# A JSON string, and the characters that must be escaped in it.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")

_NAMES = [*(column.name for column in VENDOR_COLUMNS), *ARRAYS]

_RECORDS = pl.Schema({"page": pl.UInt32(), "fields": pl.Map(pl.String(), pl.String()), "position": pl.Int32()})


class PageError(OperatorError):
    """A page cannot be split into records."""

    def __init__(self, partition_hour: dt.datetime | None, page_number: int, reason: str) -> None:
        self.partition_hour = partition_hour
        self.page_number = page_number
        hour = "a single call" if partition_hour is None else f"{partition_hour:%Y-%m-%d %H:%M}"
        super().__init__(f"page {page_number} of {hour} cannot be read, fetch it again: {reason}")


@dataclass(frozen=True)
class Records:
    """The records of some pages, a row each.

    `places`: page (the column of that name of the pages), position (in the page, from 0), is_object. `sent` has the
    documented fields, durations in seconds; `unknown` the other fields that are not null: row, name, value (JSON
    text). `has_array` has a column for each array: whether one was sent. `items` returns the items of the array of a
    name, in the records for which a series of booleans is true.
    """

    places: pl.DataFrame
    sent: Sent
    unknown: pl.DataFrame
    has_array: pl.DataFrame
    items: Callable[[str, pl.Series], ItemsSent]


def take_apart(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> tuple[pl.DataFrame, Records]:
    """Returns the pages, repaired where necessary, and their records.

    `pages` has page (a number), partition_hour, page_number, body, and record_count (the client's count). If a name
    comes twice in a record, its first value counts. Raises PageError if a body is not a JSON object, its CallList is
    not an array, or the client counted another number of records: calls would be lost if client and this function read
    a page differently.
    """
    pages, records = _records(connection, pages)
    fields = records.select(pl.col("fields").map.get(name).alias(name) for name in _NAMES)
    fields = fields.with_columns(clock_as_seconds(fields[name]) for name in DURATIONS)
    sent = sent_values(fields, is_plain=False)

    def items(name: str, rows: pl.Series) -> ItemsSent:
        return take_apart_items(connection, name, sent.values[name], rows)

    return pages, Records(
        places=records.select("page", "position", is_object=pl.col("fields").is_not_null()),
        sent=sent,
        unknown=unknown_entries(records["fields"], _NAMES),
        has_array=sent.values.select(pl.col(ARRAYS).is_not_null()),
        items=items,
    )


def _records(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pages, repaired where necessary, and their records: page, fields (NULL if it is not an object), position."""
    if not pages.height:
        return pages, _RECORDS.to_frame()
    try:
        lists = _lists(connection, pages)
    except duckdb.InvalidInputException:
        # At least one page is not valid JSON for DuckDB. Repair only such pages.
        pages = pl.concat(_readable(connection, page) for page in pages.iter_slices(1))
        lists = _lists(connection, pages)
    read = pl.col("fields").list.len().fill_null(0)
    differs = pl.format("it was fetched as a page of {} records, and {} are read in it", "counted", read)
    lists = lists.with_columns(
        counted=pages["record_count"], hour=pages["partition_hour"], number=pages["page_number"]
    ).with_columns(pl.coalesce("refusal", pl.when(read != pl.col("counted")).then(differs)))
    refused = lists.filter(pl.col("refusal").is_not_null())
    if refused.height:
        raise PageError(*refused.select("hour", "number", "refusal").row(0))
    records = lists.select("page", "fields", position=pl.int_ranges(pl.col("fields").list.len(), dtype=pl.Int32))
    return pages, records.explode("fields", "position", empty_as_null=False, keep_nulls=False)


def verbatim(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame, wanted: pl.DataFrame) -> pl.Series:
    """The JSON texts of the records at `wanted` (page, position); `pages` has page and body."""
    if not wanted.height:
        return pl.Series(dtype=pl.String)
    connection.register("bodies", pages.select("page", "body").join(wanted, on="page", how="semi"))
    lists = connection.execute(
        """SELECT page, from_json(body, '{"CallList": ["JSON"]}').CallList AS records FROM bodies"""
    ).pl()
    return (
        lists.with_columns(position=pl.int_ranges(pl.col("records").list.len(), dtype=pl.Int32))
        .explode("records", "position", empty_as_null=False, keep_nulls=False)
        .join(wanted, on=["page", "position"], how="right", maintain_order="right")
        .get_column("records")
        .fill_null("null")
    )


def _lists(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> pl.DataFrame:
    # In small chunks that fit the cache: by default DuckDB works on 2,048 rows at a time, which are 200 MB of pages.
    bodies = in_chunks(pages.select("page", "body"), _PAGES_AT_A_TIME)
    connection.register("bodies", bodies)
    lists = connection.execute(
        """
        SELECT page, fields, CASE
            WHEN fields IS NOT NULL THEN NULL
            WHEN body IS NULL THEN 'it has no body'
            WHEN json_type(body) <> 'OBJECT' THEN 'it is no JSON object'
            WHEN json_type(body, '$.CallList') <> 'NULL' THEN 'its CallList is no array'
        END AS refusal
        FROM (
            SELECT page, body, from_json(body, '{"CallList": ["MAP(VARCHAR, JSON)"]}').CallList AS fields FROM bodies
        )
        """
    ).pl()
    # DuckDB keeps registered frames, and this one is a copy of the pages.
    connection.unregister("bodies")
    return lists


def _readable(connection: duckdb.DuckDBPyConnection, page: pl.DataFrame) -> pl.DataFrame:
    """One page, repaired if it has half a surrogate pair, or a control character in a string.

    JSON's grammar allows half a pair, but DuckDB does not: it becomes U+FFFD. A control character, such as a line
    break, should have been escaped; its meaning is clear and the client accepts it too, so that it is escaped here.
    """
    try:
        _lists(connection, page)
    except duckdb.InvalidInputException:
        hour, number, body = page.select("partition_hour", "page_number", "body").row(0)
        mended = _ESCAPE.sub(lambda escape: "\\ufffd" if escape["half"] else escape[0], body)
        mended = _STRING.sub(lambda text: _CONTROL.sub(_escaped, text[0]), mended)
        page = page.with_columns(body=pl.lit(mended))
        try:
            _lists(connection, page)
        except duckdb.InvalidInputException as error:
            # The rest of the message is the body, which must not be logged.
            reason = str(error).removeprefix("Invalid Input Error: ").partition(" Input:")[0].strip()
            raise PageError(hour, number, f"it is no JSON: {reason}") from None
    return page


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
