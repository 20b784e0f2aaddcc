"""Upgrades a warehouse of an older version step by step. `place` runs each step in its own transaction.

New tables need no migration: `place` creates missing tables after the last step.
"""

from collections.abc import Callable

import duckdb

from cdr_assets.warehouse.built import note_built
from cdr_assets.warehouse.restatements import note_figures
from cdr_assets.warehouse.retention import put_figures_aside

# Version of the tables in `raw` and `cdr` and of the marts' columns. When they change, add one here, and a migration
# from the previous version.
SCHEMA_VERSION = 11

# Uncompressed pages have 130 kB each: those of a year would take many gigabytes of memory.
_PAGES_AT_ONCE = 512


def _filters(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE raw.cdr_pages ADD COLUMN filters VARCHAR")
    connection.execute("ALTER TABLE raw.cdr_pages ADD COLUMN arrays VARCHAR")
    connection.execute("UPDATE raw.cdr_pages SET arrays = 'call_history,csat_answers,call_tags'")
    connection.execute("ALTER TABLE cdr.loads ADD COLUMN filters VARCHAR")
    # The content hash also has a new form, so that each call is written once more when its hour is read again.
    connection.execute("ALTER TABLE cdr.calls RENAME COLUMN loaded_at TO fetched_at")


def _compressed_bodies(connection: duckdb.DuckDBPyConnection) -> None:
    import polars as pl
    import pyarrow as pa

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
    """Does nothing: missing tables are created after the last step."""


def _set_aside(connection: duckdb.DuckDBPyConnection) -> None:
    """Marks all hours to be typed again, and the marts to be built from scratch."""
    connection.execute("ALTER TABLE cdr.calls ADD COLUMN set_aside JSON")
    connection.execute("ALTER TABLE cdr.loads ADD COLUMN elsewhere BIGINT")
    connection.execute("CREATE TABLE raw.hours_to_retype (partition_hour TIMESTAMP)")
    connection.execute(
        """INSERT INTO raw.hours_to_retype
           SELECT partition_hour FROM cdr.calls UNION SELECT partition_hour FROM cdr.rejected_records"""
    )
    rebuild_marts(connection)


def rebuild_marts(connection: duckdb.DuckDBPyConnection) -> None:
    """Drops the marts, whose columns or rules have changed, so that they are built from scratch.

    Figures of hours whose calls were deleted are put aside (see `retention`).
    """
    note_figures(connection, of_all_hours=True)
    put_figures_aside(connection)
    for schema in ("bi", "marts", "intermediate", "staging"):
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    note_built(connection, None)
    # One stale hour is enough: the next publishing then builds the marts first.
    connection.execute("CREATE TABLE IF NOT EXISTS cdr.stale_hours (hour TIMESTAMP, reason VARCHAR)")
    connection.execute(
        "INSERT INTO cdr.stale_hours SELECT max(partition_hour), 'partition' FROM cdr.loads HAVING count(*) > 0"
    )


def _compared_copy(connection: duckdb.DuckDBPyConnection) -> None:
    """Drops the marts, and raw.published_copy, which has a new column and is made again, empty."""
    rebuild_marts(connection)
    connection.execute("DROP TABLE IF EXISTS raw.published_copy")


def _e164(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds the columns for one spelling of each number, which `ingest/spelling.py` fills."""
    for name in ("callerid", "called_num"):
        connection.execute(f"ALTER TABLE cdr.calls ADD COLUMN {name}_e164 VARCHAR")
    connection.execute("ALTER TABLE raw.warehouse ADD COLUMN country VARCHAR")
    rebuild_marts(connection)


def _as_long(connection: duckdb.DuckDBPyConnection) -> None:
    """Has all numbers spelled again: unknown ranges have one spelling too now (`transforms/phone_numbers.py`)."""
    connection.execute("UPDATE raw.warehouse SET country = NULL")


# The columns of the child tables in version 9, and the fields that they were read from.
_ITEM_COLUMNS: dict[str, dict[str, list[str]]] = {
    "call_history": {
        "event": ["event", "type", "action", "name"],
        "date": ["date", "eventdate", "time"],
        "agent": ["agent", "agent_username", "username"],
        "queue": ["queue", "queue_name"],
    },
    "csat_answers": {
        "survey": ["survey", "survey_name"],
        "question": ["question", "question_text"],
        "answer": ["answer", "value", "score"],
        "score": ["score", "answer", "value"],
        "scale": ["scale", "max_score", "max"],
        "date": ["date", "answerdate"],
    },
    "call_tags": {"tag": ["tag", "name", "label"]},
}


def _extra_of_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Has the hours whose pages are stored typed again: `extra` of an item is what no column tells.

    In all other hours, the fields that the columns were read from are taken out of the stored items. The calls of these
    hours count as changed if they are read again, because the hashes of their arrays are those of the whole items.
    """
    for name, columns in _ITEM_COLUMNS.items():
        connection.execute(f"ALTER TABLE cdr.{name} RENAME COLUMN item TO extra")
        filled = "nullif(trim(extra ->> field), '') IS NOT NULL"
        told = ", ".join(
            f"if({column} IS NULL, NULL, list_filter({fields}, lambda field: {filled})[1])"
            for column, fields in columns.items()
        )
        known = [field for fields in columns.values() for field in fields]
        nothing = " AND ".join(f"{column} IS NULL" for column in columns)
        connection.execute(
            f"""
            CREATE TEMP TABLE untold AS
            WITH items AS (
                SELECT rowid AS item, extra, json_type(extra) AS type, [{told}] AS told, {nothing} AS tells_nothing
                FROM cdr.{name}
                WHERE partition_hour NOT IN (SELECT partition_hour FROM raw.cdr_pages WHERE filters IS NULL)
            ),
            fields AS (
                SELECT item, told, unnest(map_entries(from_json(extra, '"MAP(VARCHAR, JSON)"')), recursive := true)
                FROM items WHERE type = 'OBJECT'
            ),
            objects AS (
                SELECT item, '{{' || string_agg(to_json(key) || ':' || value, ',' ORDER BY key) || '}}' AS object
                FROM fields
                WHERE value IS NOT NULL AND NOT list_contains(told, key)
                  AND NOT (list_contains({known}, key) AND regexp_full_match(value::VARCHAR, '"\\s*"'))
                GROUP BY item
            )
            SELECT item, CASE
                WHEN type = 'OBJECT' THEN object
                WHEN type <> 'NULL' AND tells_nothing THEN json_object('(item)', extra)
            END AS extra
            FROM items LEFT JOIN objects USING (item)
            """
        )
        connection.execute(f"UPDATE cdr.{name} SET extra = untold.extra FROM untold WHERE {name}.rowid = item")
        connection.execute("DROP TABLE untold")
    connection.execute("CREATE TABLE IF NOT EXISTS raw.hours_to_retype (partition_hour TIMESTAMP)")
    connection.execute(
        """INSERT INTO raw.hours_to_retype
           SELECT partition_hour FROM raw.cdr_pages WHERE filters IS NULL EXCEPT FROM raw.hours_to_retype"""
    )
    rebuild_marts(connection)


# The key is the version that the migration starts from.
MIGRATIONS: dict[int, Callable[[duckdb.DuckDBPyConnection], None]] = {
    1: _filters,
    2: _compressed_bodies,
    3: _new_tables,
    4: _set_aside,
    5: _compared_copy,
    6: _e164,
    7: _new_tables,
    8: _as_long,
    9: _extra_of_items,
    10: rebuild_marts,
}
