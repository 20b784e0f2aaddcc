"""Finds fields that the vendor sends and that have no column: their names and JSON types, never their values.

The warning about new fields is in `ingest/balance.py`.
"""

import polars as pl

from cdr_assets.domain.schema import MORE, UNKNOWN_FIELDS, Table

_COLUMNS = ("table_name", "name", "type", "partition_hour")
_SCHEMA = pl.Schema({name: UNKNOWN_FIELDS.polars_schema[name] for name in _COLUMNS})

# The JSON type by the first character of a value; all others begin a number.
_TYPES = {'"': "string", "t": "boolean", "f": "boolean", "{": "object", "[": "array"}

# Names listed per table: a server that makes up names would otherwise fill memory, warehouse and warnings.
_MOST_NAMES = 200


def names_of(table: Table, hours: pl.Series, untold: pl.DataFrame) -> pl.DataFrame:
    """The names and types of fields that no column of the table tells: table_name, name, type, partition_hour, count.

    `untold` has row, name and value (JSON text); `hours` is the partition_hour of each row. One row per name and type,
    with the first of their hours.
    """
    types = pl.col("value").str.slice(0, 1).replace_strict(_TYPES, default="number", return_dtype=pl.String)
    return (
        untold.select("name", type=types, partition_hour=hours.gather(untold["row"]))
        .group_by("name", "type")
        .agg(pl.col("partition_hour").min(), count=pl.len())
        .select(pl.lit(table.name).alias("table_name"), pl.all())
    )


def unknown_fields(names: pl.DataFrame) -> pl.DataFrame:
    """Fields of records and items that no column tells; one row per table, name and type, sorted by these.

    `names` are frames of `names_of`. Columns: table_name, name, type (JSON type: string, number, boolean, object or
    array), partition_hour (first hour with the field). A documented field is included if a value of it could not be
    read. The name `(item)` stands for items that no column tells. If a table has more than `_MOST_NAMES` names, the
    most frequent ones are listed, and one row with the name `MORE` and the type `any` stands for the others.
    """
    return (
        names.group_by("table_name", "name", "type")
        .agg(pl.col("partition_hour").min(), pl.col("count").sum())
        .sort("table_name", "count", "name", "type", descending=[False, True, False, False])
        .with_columns(is_more=pl.int_range(pl.len()).over("table_name") >= _MOST_NAMES)
        .with_columns(
            name=pl.when("is_more").then(pl.lit(MORE)).otherwise("name"),
            type=pl.when("is_more").then(pl.lit("any")).otherwise("type"),
        )
        .group_by(_COLUMNS[:-1])
        .agg(pl.col("partition_hour").min())
        .sort(_COLUMNS[:-1])
        .match_to_schema(_SCHEMA)
    )
