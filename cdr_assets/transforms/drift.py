"""What the vendor sends and no column is read from: names and JSON types, never a value."""

from collections.abc import Mapping

import duckdb
import polars as pl

from cdr_assets.domain.schema import CALLS, CHILDREN, MORE, UNKNOWN_FIELDS, Table

_COLUMNS = ("table_name", "name", "type", "partition_hour")
_SCHEMA = pl.Schema({name: UNKNOWN_FIELDS.polars_schema[name] for name in _COLUMNS})

# What JSON calls the types that DuckDB names in its own way; all others are numbers.
_TYPES = {"VARCHAR": "string", "BOOLEAN": "boolean", "OBJECT": "object", "ARRAY": "array", "NULL": "null"}

# Names that are told of a table: a server that makes them up would otherwise fill memory, warehouse and warnings.
_MOST_NAMES = 200


def unknown_fields(
    connection: duckdb.DuckDBPyConnection, calls: pl.DataFrame, children: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Fields of records and of items that no column is read from; one row per table, name and type, in that order.

    Columns: table_name, name, type (what JSON calls the value: string, number, boolean, object, array or null),
    partition_hour (the first that has it). A field of the vendor's page is there where its value could not be read, and
    an item that is neither object nor text nor number under the name `(item)`. Of more names than `_MOST_NAMES` of a
    table, those that most records have are told, and `MORE` of the type `any` for the others.
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
    """The unknown fields among `objects`: partition_hour, json."""
    if not objects.height:
        return _SCHEMA.to_frame()
    connection.register("objects", objects)
    return connection.execute(
        """
        WITH fields AS (
            -- Each object is taken apart once: to ask it for one name after the other takes the square of their number.
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
    """The kinds of `items`: partition_hour, json."""
    if not items.height:
        return _SCHEMA.to_frame()
    connection.register("items", items)
    return connection.execute(
        """SELECT $table AS table_name, '(item)' AS name, json_type(json) AS type, min(partition_hour) AS partition_hour
           FROM items GROUP BY ALL""",
        {"table": table.name},
    ).pl()
