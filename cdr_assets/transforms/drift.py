"""Finds fields that the vendor sends and that have no column: their names and JSON types, never their values.

The warning about new fields is in `ingest/balance.py`.
"""

from collections.abc import Mapping

import duckdb
import polars as pl

from cdr_assets.domain.schema import CALLS, CHILDREN, MORE, UNKNOWN_FIELDS, Table

_COLUMNS = ("table_name", "name", "type", "partition_hour")
_SCHEMA = pl.Schema({name: UNKNOWN_FIELDS.polars_schema[name] for name in _COLUMNS})

# JSON's names for DuckDB's types; all other types are numbers.
_TYPES = {"VARCHAR": "string", "BOOLEAN": "boolean", "OBJECT": "object", "ARRAY": "array", "NULL": "null"}

# Names listed per table: a server that makes up names would otherwise fill memory, warehouse and warnings.
_MOST_NAMES = 200


def unknown_fields(
    connection: duckdb.DuckDBPyConnection, calls: pl.DataFrame, children: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Fields of records and items that have no column; one row per table, name and type, sorted by these.

    Columns: table_name, name, type (JSON type: string, number, boolean, object, array or null), partition_hour (first
    hour with the field). A documented field is included if a value of it could not be read. The name `(item)` stands
    for items that are neither object nor text nor number. If a table has more than `_MOST_NAMES` names, the most
    frequent ones are listed, and one row with the name `MORE` and the type `any` stands for the others.
    """
    records = calls.select("partition_hour", json="extra").drop_nulls("json")
    found = [_SCHEMA.to_frame(), _fields(connection, CALLS, set(), records)]
    for name, table in CHILDREN.items():
        rows = children[name].select("partition_hour", json="item").drop_nulls("json")
        is_object = rows["json"].str.starts_with("{")
        known = {field for column in table.columns for field in column.names}
        found.append(_fields(connection, table, known, rows.filter(is_object)))
        found.append(_items(connection, table, rows.filter(~is_object & ~rows["json"].str.contains('^["0-9-]'))))
    rows = pl.concat(found).with_columns(pl.col("type").replace_strict(_TYPES | {"any": "any"}, default="number"))
    return rows.group_by(_COLUMNS[:-1]).agg(pl.col("partition_hour").min()).sort(_COLUMNS[:-1])


def _fields(
    connection: duckdb.DuckDBPyConnection, table: Table, known: set[str], objects: pl.DataFrame
) -> pl.DataFrame:
    """The unknown fields of `objects` (columns partition_hour and json)."""
    if not objects.height:
        return _SCHEMA.to_frame()
    connection.register("objects", objects)
    return connection.execute(
        """
        WITH fields AS (
            -- Parse each object once: extracting one name after the other takes time quadratic in their number.
            SELECT partition_hour, unnest(map_entries(from_json(json, '"MAP(VARCHAR, JSON)"')), recursive := true)
            FROM objects WHERE NOT list_has_all($known, json_keys(json))
        ),
        named AS (
            SELECT key AS name, coalesce(json_type(value), 'NULL') AS type, min(partition_hour) AS partition_hour,
                   row_number() OVER (ORDER BY count(*) DESC, name, type) > $most AS is_more
            FROM fields WHERE NOT list_contains($known, key) GROUP BY name, type
        )
        SELECT $table AS table_name, if(is_more, $more, name) AS name, if(is_more, 'any', type) AS type,
               min(partition_hour) AS partition_hour
        FROM named GROUP BY ALL
        """,
        {"table": table.name, "known": sorted(known), "most": _MOST_NAMES, "more": MORE},
    ).pl()


def _items(connection: duckdb.DuckDBPyConnection, table: Table, items: pl.DataFrame) -> pl.DataFrame:
    """The JSON types of `items` (columns partition_hour and json), none of which is an object."""
    if not items.height:
        return _SCHEMA.to_frame()
    connection.register("items", items)
    return connection.execute(
        """SELECT $table AS table_name, '(item)' AS name, json_type(json) AS type, min(partition_hour) AS partition_hour
           FROM items GROUP BY ALL""",
        {"table": table.name},
    ).pl()
