"""A hash of each table of a DuckDB file, by which tests find two of them equal."""

import hashlib
from pathlib import Path

from cdr_assets.warehouse import open_as


def digests(path: Path, *without: str) -> dict[str, tuple[int, str]]:
    """By table: how many rows, and a hash of them in sorted order. `without` names columns and tables left out."""
    with open_as("hashed", path, "READ_ONLY") as connection:
        tables = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'hashed' ORDER BY ALL"
        ).fetchall()
        found = {}
        for (table,) in tables:
            if table not in without:
                rows = connection.execute(
                    f"SELECT COLUMNS(c -> NOT list_contains(?, c)) FROM {table} ORDER BY ALL", [list(without)]
                ).fetchall()
                found[table] = len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()
    return found
