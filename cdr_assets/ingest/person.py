"""Finds a person by number in the warehouse: the calls, and every other place that holds the number.

`cdr forget` (`forgetting`) and `cdr export` (`export`) use it. How fetched pages are searched, for which only keyed
hashes of the numbers are known, is in `transforms/forgotten.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import duckdb
import polars as pl

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.schema import CALLS, CHILDREN, Class, Column, Kind, Table
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.shown import decoded
from cdr_assets.transforms import decompress, digits_of, e164_of, pattern_of, unescaped
from cdr_assets.warehouse.place import quoted

_FEWEST_DIGITS = 7

# Pages that are searched in one portion.
_PAGES_AT_ONCE = 128

# What can hold a number. Hashes and the pipeline's own words cannot.
_CLASSES = (
    Class.IDENTIFIER,
    Class.REFERENCE,
    Class.NAME,
    Class.NUMBER,
    Class.FREE_TEXT,
    Class.LINK,
    Class.MEASURE,
)
_KINDS = (Kind.TEXT, Kind.JSON, Kind.NUMBER)


def number_of(text: str, settings: Settings) -> str:
    """The number in its E.164 form. Raises OperatorError if the text is no phone number."""
    number = e164_of(text, settings.cdr_country) or ""
    if not number.removeprefix("+").isdecimal() or len(number.removeprefix("+")) < _FEWEST_DIGITS:
        raise OperatorError(
            f"this is no phone number: it has fewer than {_FEWEST_DIGITS} digits or has letters; write it as it is "
            f"dialled, or with its country code (without one it is read as a number of {settings.cdr_country})"
        )
    return number


class Person:
    """The number of a person, in its E.164 form, and the SQL that finds it.

    `is_line`: calls came in on this number as on one of the centre's own lines. An own line is left alone where it is
    one: in `called_num` of inbound calls and `callerid` of outbound ones.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, number: str) -> None:
        self.number = number
        self.pattern = pattern_of(digits_of(number))
        self.is_line = bool(
            connection.execute("FROM cdr.calls WHERE called_num_e164 = ? AND inbound LIMIT 1", [number]).fetchone()
        )

    def holds(self, text: str) -> str:
        """A condition: the text (SQL) holds the number, in any spelling."""
        return f"coalesce(regexp_matches({text}, {quoted(self.pattern)}), false)"

    def in_row(self, table: Table, *columns: Column) -> str:
        """A condition on a row: one of its columns holds the number; with `columns`, one of these."""
        texts = ((column.name, column.kind.value) for column in columns or searched(table))
        return self.holds(self._joined(texts, "inbound" if table is CALLS else None))

    def keys(self, connection: duckdb.DuckDBPyConnection) -> pl.Series:
        """The keys of the calls that hold the number, in their own row or in that of an event, an answer or a tag."""
        places = " UNION ".join(f"SELECT key FROM {t.full_name} WHERE {self.in_row(t)}" for t in CHILDREN.values())
        return connection.execute(
            f"""SELECT key FROM cdr.calls WHERE {self.is_theirs} OR {self.in_row(CALLS)} UNION {places} ORDER BY key""",
        ).pl()["key"]

    def pages(self, connection: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
        """The stored pages that hold the number: rowid, partition_hour, page_number, and the body unpacked.

        All pages are searched: they have records of other hours too, and hours that could not be loaded.
        """
        (last,) = connection.execute("SELECT max(rowid) FROM raw.cdr_pages").fetchone() or (None,)
        for first in range(0, (-1 if last is None else last) + 1, _PAGES_AT_ONCE):
            pages = connection.execute(
                """SELECT rowid, partition_hour, page_number, body, body_size FROM raw.cdr_pages
                   WHERE rowid BETWEEN ? AND ? AND body IS NOT NULL""",
                [first, first + _PAGES_AT_ONCE - 1],
            ).fetchall()
            bodies = [decompress(body, size) for *_, body, size in pages]
            texts = pl.Series([unescaped(body.decode()) for body in bodies], dtype=pl.String)
            for place in texts.str.contains(self.pattern).arg_true():
                rowid, hour, number, *_ = pages[place]
                yield {"rowid": rowid, "partition_hour": hour, "page_number": number, "body": bodies[place]}

    @property
    def is_theirs(self) -> str:
        """A condition on a row of cdr.calls: the person called, or was called."""
        number = quoted(self.number)
        return (
            f"(callerid_e164 = {number} AND inbound IS DISTINCT FROM false "
            f"OR called_num_e164 = {number} AND inbound IS DISTINCT FROM true)"
        )

    def tables_that_hold(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """The tables of the warehouse, marts included, in which a text holds the number."""
        rows = connection.execute(
            """SELECT schema_name || '."' || table_name || '"', list((column_name, data_type))
               FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)
               WHERE database_name = current_database() AND NOT contains(column_name, 'hash')
               GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        found = []
        for table, columns in rows:
            inbound = next((name for name, _ in columns if name in ("inbound", "is_inbound")), None)
            texts = [(name, kind) for name, kind in columns if "VARCHAR" in kind or kind in _KINDS]
            condition = self.holds(self._joined(texts, inbound))
            if texts and connection.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone():
                found.append(table.replace('"', ""))
        return found

    def _joined(self, columns: Iterable[tuple[str, str]], inbound: str | None) -> str:
        """The texts of a row as one text, without the centre's own lines."""
        texts = []
        for name, kind in columns:
            text = decoded(f'"{name}"') if kind == Kind.JSON else f'"{name}"::VARCHAR'
            if name.startswith("called_num") and inbound:
                text = f"CASE WHEN NOT coalesce({inbound}, false) THEN {text} END"
            if name.startswith("callerid") and inbound and self.is_line:
                text = f"CASE WHEN coalesce({inbound}, true) THEN {text} END"
            texts.append(text)
        return f"concat_ws(chr(31), {', '.join(texts)})"


def searched(table: Table) -> list[Column]:
    """The columns of a table that can hold a number."""
    return [column for column in table.columns if column.kind in _KINDS and column.holds in _CLASSES]
