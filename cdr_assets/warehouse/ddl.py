"""How tables are made in DuckDB: types and compression. What the tables hold is `domain/schema.py`."""

from cdr_assets.domain.schema import VOLATILE_FIELDS, Kind, Table


def create_statement(table: Table) -> str:
    # No primary keys: they make writes four times slower, and DuckLake has none. Uniqueness is a check.
    columns = ", ".join(declaration(column.name, column.kind) for column in table.columns)
    return f"CREATE TABLE IF NOT EXISTS {table.full_name} ({columns})"


def declaration(name: str, type_of_column: str) -> str:
    """A column of a table that is made, and how DuckDB is to compress it where its own choice is a bad one."""
    if type_of_column == Kind.JSON or name in VOLATILE_FIELDS:
        # Long texts, no two alike: DuckDB's dictionaries take three times as long, and twice the room.
        how = " USING COMPRESSION zstd"
    elif type_of_column == Kind.BYTES:
        # Compressed already: whatever DuckDB tries is in vain, and was two thirds of the time of storing pages.
        how = " USING COMPRESSION uncompressed"
    else:
        how = ""
    return f'"{name}" {type_of_column}{how}'
