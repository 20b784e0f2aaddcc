"""CREATE statements for DuckDB: types and compression. Which tables and columns there are is in `domain/schema.py`."""

from cdr_assets.domain.schema import VOLATILE_FIELDS, Kind, Table


def create_statement(table: Table) -> str:
    # No primary keys: they make writes four times slower, and DuckLake has none. A check tests that keys are unique.
    columns = ", ".join(declaration(column.name, column.kind) for column in table.columns)
    return f"CREATE TABLE IF NOT EXISTS {table.full_name} ({columns})"


def declaration(name: str, type_of_column: str) -> str:
    """A column for a CREATE statement, with its compression where DuckDB's own choice is bad."""
    if type_of_column == Kind.JSON or name in VOLATILE_FIELDS:
        # Long texts that are all different: DuckDB's dictionaries take three times as long and twice the space.
        how = " USING COMPRESSION zstd"
    elif type_of_column == Kind.BYTES:
        # Already compressed: DuckDB's attempts gain nothing, and took two thirds of the time of storing pages.
        how = " USING COMPRESSION uncompressed"
    else:
        how = ""
    return f'"{name}" {type_of_column}{how}'
