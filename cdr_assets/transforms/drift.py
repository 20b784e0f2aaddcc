"""Fields that the vendor sends and the project does not know: names and JSON types, never a value."""

import duckdb
import polars as pl

from cdr_assets.schema import CALLS, CHILDREN, VENDOR_COLUMNS
from cdr_assets.transforms.pages import Tables

UNKNOWN_FIELDS_SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "name": pl.String(),
        "first_partition_hour": pl.Datetime("us"),
        "count": pl.Int64(),
        "type": pl.String(),
    }
)


def unknown_fields(tables: Tables) -> pl.DataFrame:
    """Fields of records and of items that no column is read from; one row per table and name, in that order.

    Columns: table, name, first_partition_hour (the first that has it), count (of records or items with it), type (JSON's
    name of the type that it has the first time: string, number, boolean, object, array or null).
    """
    known = {CALLS.name: [column.name for column in VENDOR_COLUMNS]}
    sent = {CALLS.name: tables.calls.select("partition_hour", "key", json="extra")}
    for name, table in CHILDREN.items():
        known[name] = sorted({field for column in table.columns for field in column.names})
        rows: pl.DataFrame = getattr(tables, name)
        sent[name] = rows.select("partition_hour", "key", json="item").filter(pl.col("json").str.starts_with("{"))
    with duckdb.connect() as connection:
        return pl.concat(_unknown(connection, name, known[name], frame) for name, frame in sent.items())
