"""The answers' JSON taken apart into records, before anything is typed.

DuckDB does it, in bulk and without a schema: each record becomes a map of field names to JSON texts, which copes with
any field, any order and any type.
"""

import datetime as dt
import re

import duckdb
import polars as pl

from cdr_assets.domain.errors import OperatorError
from cdr_assets.transforms.chunks import in_chunks

_PAGES_AT_A_TIME = 16

# Any escape in a JSON text; of \u escapes for surrogates, whole pairs before halves.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)

# A string of a JSON text, and what must not stand in one as it is.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")

_RECORDS = pl.Schema({"page": pl.UInt32(), "fields": pl.Map(pl.String(), pl.String()), "position": pl.Int32()})


class PageError(OperatorError):
    """A page that cannot be taken apart into records."""

    def __init__(self, partition_hour: dt.datetime | None, page_number: int, reason: str) -> None:
        self.partition_hour = partition_hour
        self.page_number = page_number
        hour = "a single call" if partition_hour is None else f"{partition_hour:%Y-%m-%d %H:%M}"
        super().__init__(f"page {page_number} of {hour} cannot be read, fetch it again: {reason}")


def take_apart(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records of some pages, and the pages as they were read.

    `pages` has partition_hour, page_number, body, and record_count as the client counted them. Records: page (row of
    the pages), position in it from 0, fields: a map of names to JSON texts (NULL for null), which is NULL itself where
    the record is no object; of a name that comes twice the first value counts. Raises PageError where a body is no JSON
    object or its CallList no array, or where the client counted other records than are read: two readers that
    understand a page differently would lose calls between them.
    """
    if not pages.height:
        return pages, _RECORDS.to_frame()
    try:
        lists = _lists(connection, pages)
    except duckdb.InvalidInputException:
        # One page is enough for the exception: the others are left as they are.
        pages = pl.concat(_readable(connection, page) for page in pages.iter_slices(1))
        lists = _lists(connection, pages)
    read = pl.col("fields").list.len().fill_null(0)
    differs = pl.format("it was fetched as a page of {} records, and {} are read in it", "counted", read)
    lists = lists.with_columns(counted=pages["record_count"].gather(lists["page"])).with_columns(
        pl.coalesce("refusal", pl.when(read != pl.col("counted")).then(differs))
    )
    refused = lists.filter(pl.col("refusal").is_not_null())
    if refused.height:
        page, refusal = refused.select("page", "refusal").row(0)
        hour, number = pages.select("partition_hour", "page_number").row(page)
        raise PageError(hour, number, refusal)
    records = lists.select("page", "fields", position=pl.int_ranges(pl.col("fields").list.len(), dtype=pl.Int32))
    return pages, records.explode("fields", "position", empty_as_null=False, keep_nulls=False)


def verbatim(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame, wanted: pl.DataFrame) -> pl.Series:
    """The records at `wanted` (page, position), as JSON texts. `pages` as `take_apart` returned them."""
    if not wanted.height:
        return pl.Series(dtype=pl.String)
    connection.register("bodies", pages.with_row_index("page").join(wanted, on="page", how="semi"))
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
    # DuckDB takes up to 2,048 rows at a time: that many pages are 200 MB of JSON, where a few stay in the cache.
    bodies = in_chunks(pages.with_row_index("page").select("page", "body"), _PAGES_AT_A_TIME)
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
    # What is registered is kept, and this is a copy of the pages.
    connection.unregister("bodies")
    return lists


def _readable(connection: duckdb.DuckDBPyConnection, page: pl.DataFrame) -> pl.DataFrame:
    """One page, mended where it holds half of a surrogate pair, or a control character within a text.

    JSON's grammar allows the first and DuckDB does not: it is no character, and becomes U+FFFD. The second, a line
    break say, should have been escaped; what was meant is plain, and the client takes it too.
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
            # What follows in the message is the body, which is no business of a log.
            reason = str(error).removeprefix("Invalid Input Error: ").partition(" Input:")[0].strip()
            raise PageError(hour, number, f"it is no JSON: {reason}") from None
    return page


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
