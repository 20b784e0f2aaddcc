"""Compares every table of two warehouses or two published copies, row by row.

    python -m benchmarks.equal BEFORE AFTER [--ignore COLUMN ...]

It shows that a faster way makes the same rows: load the same calls with the code before and after, then compare. Exits
with 1 if a table is not equal. Two runs of the same code differ in the run's id, in when things happened, in the
signatures of links, and therefore in the pages' bodies. Those are not compared; of a column like `loaded_at`, only
whether it is NULL. Published copies can be equal only if both were made with the same file `secret_key`.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from cdr_assets.warehouse.place import open_as

_NOT_COMPARED = {
    "run_id",
    "raw.warehouse.source",
    *(f"raw.cdr_pages.{column}" for column in ("body", "body_size", "content_hash")),
    *(f"raw.published_copy.{column}" for column in ("inode", "size", "modified", "made_of")),
}
# Shown in an example of a row, besides the columns that differ.
_KEYS = ("key", "call_key", "first_call_key", "position", "partition_hour", "local_hour", "local_date")

console = Console(width=None if Console().is_terminal else 160)


def opened(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection in which the file has the name that its views know it by."""
    connection = open_as("warehouse", path, "READ_ONLY")
    if connection.execute("SELECT 1 FROM duckdb_tables() WHERE schema_name = 'raw'").fetchone():
        return connection
    connection.close()
    return open_as("published", path, "READ_ONLY")


def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns of each table and view: {table: {column: type}}."""
    found: dict[str, dict[str, str]] = {}
    rows = connection.execute(
        """SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns()
           WHERE database_name = current_database() AND NOT internal ORDER BY ALL"""
    )
    for table, column, kind in rows.fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def compared(table: str, kinds: dict[str, str], not_compared: set[str]) -> dict[str, str]:
    """An expression for each column that is compared."""
    expressions = {}
    for name, kind in kinds.items():
        if name in not_compared or f"{table}.{name}" in not_compared:
            continue
        if kind == "TIMESTAMP WITH TIME ZONE" and name.endswith("_at"):
            expressions[name] = f'"{name}" IS NULL'
        elif name in ("recordingurl", "record"):
            expressions[name] = f"regexp_replace(\"{name}\", 'signature=[0-9a-f]+', '')"
        else:
            expressions[name] = f'"{name}"'
    return expressions


def main(
    before: Path,
    after: Path,
    ignore: Annotated[list[str] | None, typer.Option(help="A column, as `column` or `schema.table.column`.")] = None,
) -> None:
    shown = Table()
    shown.add_column("table", overflow="fold")
    for column in ("rows before", "rows after"):
        shown.add_column(column, justify="right")
    shown.add_column("equal")
    left_out = _NOT_COMPARED | set(ignore or ())
    examples: list[str] = []
    equal = True
    with opened(before) as first, opened(after) as second:
        sides = (first, second)
        tables = [columns(connection) for connection in sides]
        for table in sorted(tables[0].keys() | tables[1].keys()):
            before_kinds, after_kinds = (side.get(table, {}) for side in tables)
            expressions, other_expressions = (compared(table, kinds, left_out) for kinds in (before_kinds, after_kinds))
            kinds_differ = [
                name
                for name in sorted(expressions.keys() | other_expressions.keys())
                if before_kinds.get(name) != after_kinds.get(name)
            ]
            for name in kinds_differ:
                expressions.pop(name, None)
            note = f"no: other columns or types: {', '.join(kinds_differ)}; " if kinds_differ else ""
            if note:
                equal = False
            if not expressions:
                shown.add_row(table, "", "", note or "nothing to compare")
                continue
            named = ", ".join(f'{value} AS "{name}"' for name, value in expressions.items())
            rows = f"(SELECT {named} FROM {table})"
            # Equal sums of 64-bit hashes mean equal rows in any order, and need no sorting of a large table.
            sums = [
                connection.execute(f"SELECT count(*), sum(hash(row)::HUGEINT) FROM {rows} AS row").fetchone() or (0, 0)
                for connection in sides
            ]
            counts = [f"{count:,}" for count, _ in sums]
            if sums[0] == sums[1]:
                shown.add_row(table, *counts, f"{note}all other columns equal" if note else "yes")
                continue
            equal = False
            by_column = ", ".join(f'sum(hash("{name}")::HUGEINT)' for name in expressions)
            values = [connection.execute(f"SELECT {by_column} FROM {rows}").fetchone() or () for connection in sides]
            differing = [name for name, one, other in zip(expressions, *values, strict=True) if one != other]
            hashes = [
                Counter(connection.execute(f"SELECT hash(row) FROM {rows} AS row").fetchall()) for connection in sides
            ]
            only = [hashes[0] - hashes[1], hashes[1] - hashes[0]]
            what = f"{only[0].total():,} rows only before, {only[1].total():,} only after"
            where = ", ".join(differing) or "how the columns are combined"
            shown.add_row(table, *counts, f"{note or 'no: '}{what}, in {where}")
            shown_columns = ", ".join(f'"{name}": "{name}"' for name in expressions if name in {*_KEYS, *differing})
            for side, connection, hashes_of_side in zip(("before", "after"), sides, only, strict=True):
                example = connection.execute(
                    f"SELECT {{{shown_columns}}}::VARCHAR FROM {rows} AS row "
                    "WHERE hash(row) IN (SELECT unnest(?::UBIGINT[])) ORDER BY ALL LIMIT 1",
                    [[value for (value,) in hashes_of_side]],
                )
                examples += [f"{table}, {side}: {row}" for (row,) in example.fetchall()]
    console.print(shown)
    for example in examples:
        console.print(example, style="dim", highlight=False, markup=False)
    raise typer.Exit(not equal)


if __name__ == "__main__":
    typer.run(main)
