"""A hash of each table of a DuckDB file, by which tests find two of them equal."""

import hashlib
from pathlib import Path

from cdr_assets.warehouse import open_as


def digests(path: Path, *without: str) -> dict[str, tuple[int, str]]:
    """By table: how many rows, and a hash of them in sorted order.

    `without` names what is left out: columns, tables, or a column of one table.
    """
    with open_as("hashed", path, "READ_ONLY") as connection:
        # An upgraded table has its newest columns at its end.
        tables = connection.execute(
            """SELECT schema_name || '.' || table_name AS name,
                      list('"' || column_name || '"' ORDER BY column_name)
                          FILTER (NOT list_has_any(
                              $without, [column_name, schema_name || '.' || table_name || '.' || column_name]
                          ))
               FROM duckdb_columns() SEMI JOIN duckdb_tables() USING (database_name, schema_name, table_name)
               WHERE database_name = 'hashed' GROUP BY ALL HAVING NOT list_contains($without, name) ORDER BY ALL""",
            {"without": without},
        ).fetchall()
        found = {}
        for table, columns in tables:
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL").fetchall()
            found[table] = len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()
    return found
