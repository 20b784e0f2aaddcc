"""What brings a warehouse of an older version forward, a step at a time; each runs in a transaction of its own."""

from collections.abc import Callable

import duckdb
import polars as pl
import pyarrow as pa

# Version of the tables below `raw` and `cdr`, and of the marts' columns. A change of theirs adds one, and a migration
# from the version before.
SCHEMA_VERSION = 6

# Pages of 130 kB, uncompressed in memory: a year of them is many gigabytes.
_PAGES_AT_ONCE = 512


def _filters(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE raw.cdr_pages ADD COLUMN filters VARCHAR")
    connection.execute("ALTER TABLE raw.cdr_pages ADD COLUMN arrays VARCHAR")
    connection.execute("UPDATE raw.cdr_pages SET arrays = 'call_history,csat_answers,call_tags'")
    connection.execute("ALTER TABLE cdr.loads ADD COLUMN filters VARCHAR")
    # The content hash has another form from then on, so that each call is written once more when it is read again.
    connection.execute("ALTER TABLE cdr.calls RENAME COLUMN loaded_at TO fetched_at")


def _compressed_bodies(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """CREATE TABLE raw.compressed_pages AS
           SELECT * REPLACE (NULL::BLOB AS body), 0::BIGINT AS body_size FROM raw.cdr_pages LIMIT 0"""
    )
    (last,) = connection.execute("SELECT coalesce(max(rowid), -1) FROM raw.cdr_pages").fetchone() or (-1,)
    for first in range(0, last + 1, _PAGES_AT_ONCE):
        pages = connection.execute(
            "SELECT * FROM raw.cdr_pages WHERE rowid BETWEEN ? AND ?", [first, first + _PAGES_AT_ONCE - 1]
        ).pl()
        bodies = [body.encode() for body in pages["body"]]
        compressed = [pa.compress(body, codec="zstd", asbytes=True) for body in bodies]
        pages = pages.with_columns(
            body=pl.Series(compressed, dtype=pl.Binary), body_size=pl.Series(map(len, bodies), dtype=pl.Int64)
        )
        connection.register("pages", pages)
        connection.execute("INSERT INTO raw.compressed_pages BY NAME FROM pages")
        connection.unregister("pages")
    connection.execute("DROP TABLE raw.cdr_pages")
    connection.execute("ALTER TABLE raw.compressed_pages RENAME TO cdr_pages")


def _new_tables(_: duckdb.DuckDBPyConnection) -> None:
    """Nothing: tables that are not there are made after the last step."""


def _set_aside(connection: duckdb.DuckDBPyConnection) -> None:
    """Has all hours typed again, and the marts made from nothing."""
    connection.execute("ALTER TABLE cdr.calls ADD COLUMN set_aside JSON")
    connection.execute("ALTER TABLE cdr.loads ADD COLUMN elsewhere BIGINT")
    connection.execute("CREATE TABLE raw.hours_to_retype (partition_hour TIMESTAMP)")
    connection.execute(
        """INSERT INTO raw.hours_to_retype
           SELECT partition_hour FROM cdr.calls UNION SELECT partition_hour FROM cdr.rejected_records"""
    )
    _new_marts(connection)


def _new_marts(connection: duckdb.DuckDBPyConnection) -> None:
    """Has the marts, which have other columns now, made from nothing."""
    for schema in ("marts", "intermediate", "staging"):
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    # One hour is enough for whoever publishes next to build the marts first.
    connection.execute("CREATE TABLE IF NOT EXISTS cdr.stale_hours (hour TIMESTAMP, reason VARCHAR)")
    connection.execute(
        "INSERT INTO cdr.stale_hours SELECT max(partition_hour), 'partition' FROM cdr.loads HAVING count(*) > 0"
    )


def _compared_copy(connection: duckdb.DuckDBPyConnection) -> None:
    """New marts, which have the copy written anew: what is noted of it has another column, and is made again empty."""
    _new_marts(connection)
    connection.execute("DROP TABLE IF EXISTS raw.published_copy")


# By the version that they start from.
MIGRATIONS: dict[int, Callable[[duckdb.DuckDBPyConnection], None]] = {
    1: _filters,
    2: _compressed_bodies,
    3: _new_tables,
    4: _set_aside,
    5: _compared_copy,
}
