"""Deletes old hours: calls and facts earlier than the figures that were made of them (CDR_CALLS_DAYS, CDR_MARTS_DAYS).

Figures must not be made again of calls that are half deleted. So a margin of hours after the deleted ones is frozen:
no load changes their calls, and no build their figures. If the marts are built from scratch, the figures of frozen and
deleted hours are put aside before and put back after it.

Whether and when hours are deleted is in `ingest/retention.py`.
"""

import datetime as dt
from dataclasses import dataclass

import duckdb

from cdr_assets.domain.lateness import FIGURES_FROZEN, LOADS_FROZEN
from cdr_assets.domain.schema import CALLS, CDR_PAGES, CHILDREN, REJECTED_RECORDS, Table
from cdr_assets.warehouse.built import note_built

_BY_HOUR: tuple[Table, ...] = (CALLS, *CHILDREN.values(), REJECTED_RECORDS, CDR_PAGES)

# The column by which the rows of a mart are deleted: the first that it has. Facts, which are made of single calls, have
# the partition's hour.
_COLUMNS = ("partition_hour", "local_hour", "local_date", "week_start")

# The schema of figures that were put aside.
_ASIDE = "kept"


@dataclass(frozen=True)
class _Mart:
    schema: str
    name: str
    column: str

    @property
    def full_name(self) -> str:
        return f'{self.schema}."{self.name}"'

    @property
    def aside(self) -> str:
        return f'{_ASIDE}."{self.schema} {self.name}"'

    def before(self, hour: str) -> str:
        """A condition: rows of hours, of whole days, or of weeks that begin, before this one (SQL)."""
        return (
            f"{self.column} < {hour}"
            if self.column in ("partition_hour", "local_hour")
            else f"{self.column} < {hour}::DATE"
        )


def calls_kept_from(connection: duckdb.DuckDBPyConnection) -> dt.datetime | None:
    """The first hour whose calls were not deleted (wall clock); None if no calls were."""
    row = connection.execute("SELECT calls_from FROM raw.kept_from").fetchone()
    kept_from: dt.datetime | None = row[0] if row else None
    return kept_from


def loadable_from(connection: duckdb.DuckDBPyConnection) -> dt.datetime | None:
    """The first hour that may be loaded; None if every hour may."""
    kept_from = calls_kept_from(connection)
    return kept_from + LOADS_FROZEN if kept_from else None


def delete_before(
    connection: duckdb.DuckDBPyConnection, calls_from: dt.datetime | None, marts_from: dt.datetime | None
) -> tuple[int, int]:
    """Deletes calls and facts before `calls_from`, and figures and loads before `marts_from` (hours of the wall clock).

    Returns how many calls and rows of figures were deleted. The caller opens the transaction.
    """
    row = connection.execute("SELECT calls_from, marts_from FROM raw.kept_from").fetchone() or (None, None)
    # Once deleted, hours stay so, also if the settings grow.
    calls_from, marts_from = (
        max((each for each in pair if each), default=None) for pair in zip(row, (calls_from, marts_from), strict=True)
    )
    connection.execute("DELETE FROM raw.kept_from")
    connection.execute("INSERT INTO raw.kept_from VALUES (?, ?)", [calls_from, marts_from])
    marts = _marts(connection)
    calls = figures = 0
    if calls_from:
        connection.execute(
            """INSERT INTO cdr.unpublished_hours
               SELECT DISTINCT 'calls', partition_hour FROM cdr.calls WHERE partition_hour < ?
               EXCEPT FROM cdr.unpublished_hours""",
            [calls_from],
        )
        for table in _BY_HOUR:
            deleted = _delete(connection, table.full_name, "partition_hour < ?", calls_from)
            calls += deleted if table is CALLS else 0
        # Pages of calls whose date cannot be read.
        connection.execute(
            "DELETE FROM raw.cdr_pages WHERE partition_hour IS NULL AND fetched_at < ?::TIMESTAMP", [calls_from]
        )
        for name in ("cdr.hours_without_pages", "raw.hours_to_retype", "raw.typed_hours"):
            _delete(connection, name, "partition_hour < ?", calls_from)
        for mart in marts:
            if mart.column == "partition_hour":
                _delete_noted(connection, mart, calls_from)
    if marts_from:
        _delete(connection, "cdr.loads", "partition_hour < ?", marts_from)
        _delete(connection, "cdr.restatements", "local_hour < ?", marts_from)
        for mart in marts:
            if mart.column == "local_hour":
                figures += _delete_noted(connection, mart, marts_from)
            elif mart.column != "partition_hour":
                figures += _delete(connection, mart.full_name, mart.before("?"), marts_from)
    if calls or figures:
        # The next build drops the deleted hours from the dimensions.
        note_built(connection, None)
    return calls, figures


def keep_frozen_figures(connection: duckdb.DuckDBPyConnection) -> None:
    """Drops the notes that frozen hours are stale: a build would make their figures of half of their calls."""
    if kept_from := calls_kept_from(connection):
        connection.execute("DELETE FROM cdr.stale_hours WHERE hour < ?", [kept_from + FIGURES_FROZEN])


def put_figures_aside(connection: duckdb.DuckDBPyConnection) -> None:
    """Copies the figures of frozen and deleted hours, before the marts are dropped."""
    known = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'raw' AND table_name = 'kept_from'"
    if not connection.execute(known).fetchone() or not (kept_from := calls_kept_from(connection)):
        return
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_ASIDE}")
    for mart in _marts(connection):
        if mart.column != "partition_hour":
            # What was put aside before and not put back yet is what counts: the marts are not whole then.
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {mart.aside} AS FROM {mart.full_name} WHERE {mart.before('?')}",
                [kept_from + FIGURES_FROZEN],
            )


def put_figures_back(connection: duckdb.DuckDBPyConnection) -> dt.datetime | None:
    """Replaces the figures of frozen hours by those that were put aside. The caller opens the transaction.

    Returns the first hour that is not frozen, and None if no figures were put aside. A column that is new since then is
    NULL, and a mart that is new has no rows of these hours.
    """
    aside = connection.execute("SELECT 1 FROM duckdb_schemas() WHERE schema_name = ?", [_ASIDE]).fetchone()
    kept_from = calls_kept_from(connection)
    if not aside or not kept_from:
        return None
    frozen_until = kept_from + FIGURES_FROZEN
    rows = connection.execute(
        """SELECT table_name, list(column_name) FROM duckdb_columns()
           WHERE database_name = current_database() AND schema_name = ? GROUP BY ALL""",
        [_ASIDE],
    ).fetchall()
    columns_aside = {f'{_ASIDE}."{name}"': columns for name, columns in rows}
    for mart in _marts(connection):
        if mart.column == "partition_hour":
            continue
        # Also of a mart that is new: the build has made them of the calls that are left.
        _delete(connection, mart.full_name, mart.before("?"), frozen_until)
        if mart.aside in columns_aside:
            known = connection.execute(f"DESCRIBE {mart.full_name}").fetchall()
            common = ", ".join(f'"{name}"' for name, *_ in known if name in columns_aside[mart.aside])
            connection.execute(f"INSERT INTO {mart.full_name} BY NAME SELECT {common} FROM {mart.aside}")
    connection.execute(f"DROP SCHEMA {_ASIDE} CASCADE")
    return frozen_until


def _marts(connection: duckdb.DuckDBPyConnection) -> list[_Mart]:
    """The tables of marts that have rows of hours or days; the dimensions are built whole from them."""
    rows = connection.execute(
        """SELECT schema_name, table_name, list(column_name)
           FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)
           WHERE database_name = current_database() AND schema_name IN ('marts', 'intermediate')
             AND NOT starts_with(table_name, 'dim_')
           GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    return [
        _Mart(schema, name, column)
        for schema, name, columns in rows
        if (column := next((column for column in _COLUMNS if column in columns), None))
    ]


def _delete_noted(connection: duckdb.DuckDBPyConnection, mart: _Mart, hour: dt.datetime) -> int:
    """Deletes the rows of a mart before an hour, and notes their hours for the published copy."""
    connection.execute(
        f"""INSERT INTO cdr.unpublished_hours
            SELECT DISTINCT '{mart.name}', {mart.column} FROM {mart.full_name} WHERE {mart.before("?")}
            EXCEPT FROM cdr.unpublished_hours""",
        [hour],
    )
    return _delete(connection, mart.full_name, mart.before("?"), hour)


def _delete(connection: duckdb.DuckDBPyConnection, table: str, condition: str, hour: dt.datetime) -> int:
    (count,) = connection.execute(f"DELETE FROM {table} WHERE {condition}", [hour]).fetchone() or (0,)
    return int(count)
