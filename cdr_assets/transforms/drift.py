"""Fields that the vendor sends and no column is read from: their names and JSON types, never a value."""

import duckdb
import polars as pl

from cdr_assets.schema import CALLS, CHILDREN, VENDOR_COLUMNS, Table
from cdr_assets.transforms.pages import Tables

_SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "name": pl.String(),
        "first_partition_hour": pl.Datetime("us"),
        "count": pl.Int64(),
        "type": pl.String(),
    }
)


# What JSON calls the types that DuckDB names in its own way; all others are numbers.
_TYPES = {"VARCHAR": "string", "BOOLEAN": "boolean", "OBJECT": "object", "ARRAY": "array", "NULL": "null"}


def unknown_fields(tables: Tables) -> pl.DataFrame:
    """The fields of records and of items that no column is read from; one row per table and name, in that order.

    Columns: table, name, first_partition_hour (the first that has the field), count (of records or items with it), type
    (what JSON calls its value there: string, number, boolean, object, array or null).
    """
    records = tables.calls.select("partition_hour", "key", json="extra", position=pl.lit(0)).drop_nulls("json")
    found = [_unknown(CALLS, {column.name for column in VENDOR_COLUMNS}, records)]
    for name, table in CHILDREN.items():
        rows: pl.DataFrame = getattr(tables, name)
        items = rows.select("partition_hour", "key", "position", json="item").filter(
            pl.col("json").str.starts_with("{")
        )
        found.append(_unknown(table, {field for column in table.columns for field in column.names}, items))
    return pl.concat(found)


def _unknown(table: Table, known: set[str], objects: pl.DataFrame) -> pl.DataFrame:
    """The unknown fields among `objects`: partition_hour, key, position, json."""
    if not objects.height:
        return _SCHEMA.to_frame()
    with duckdb.connect() as connection:
        connection.register("objects", objects)
        found = connection.execute(
            """
            WITH names AS (
                SELECT partition_hour, key, position, json, unnest(list_distinct(json_keys(json))) AS name FROM objects
            )
            SELECT
                $table AS "table",
                name,
                min(partition_hour) AS first_partition_hour,
                count(*) AS "count",
                -- As a JSON pointer, in which ~ and / are escaped: a path has no way to write every name.
                arg_min(
                    json_type(json, '/' || replace(replace(name, '~', '~0'), '/', '~1')),
                    (partition_hour, key, position)
                ) AS "type"
            FROM names
            WHERE NOT list_contains($known, name)
            GROUP BY name
            ORDER BY name
            """,
            {"table": table.name, "known": sorted(known)},
        ).pl()
    return found.with_columns(pl.col("type").replace_strict(_TYPES, default="number")).cast(_SCHEMA)
