"""The vendor's arrays, exploded to the rows of the child tables."""

import json

import duckdb
import polars as pl

from cdr_assets.schema import CHILDREN, POLARS, Column
from cdr_assets.transforms import values

# What an item that is a plain text or number says.
_SCALARS = {"call_history": ("event",), "csat_answers": ("answer", "score"), "call_tags": ("tag",)}


def as_arrays(connection: duckdb.DuckDBPyConnection, sent: pl.Series) -> pl.Series:
    """What the vendor sent in place of an array, as the JSON text of one.

    Null and blank are the empty array, a text that itself holds an array is that array, and anything else that is no
    array becomes its only item.
    """
    arrays = sent.fill_null("[]")
    other = ~arrays.str.starts_with("[")
    if not other.any():
        return arrays
    items = arrays.filter(other)
    connection.register("sent", pl.DataFrame({"item": items, "content": values.text(items).str.strip_chars()}))
    single = connection.execute(
        """
        SELECT CASE
            WHEN item LIKE '"%' AND content IS NULL THEN '[]'
            WHEN content LIKE '[%' AND json_valid(content) THEN json(content)::VARCHAR
            ELSE '[' || item || ']'
        END AS arrays
        FROM sent
        """
    ).pl()
    return arrays.scatter(other.arg_true(), single["arrays"])


def explode(connection: duckdb.DuckDBPyConnection, name: str, calls: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """The rows of the child table `name`, with `record`.

    `calls` has `record`, `key`, `partition_hour` and the array as JSON text in the column `name`. `position` counts
    from 0 as in the vendor's array; a null in it has a row too, so that rows and items are as many.
    """
    table = CHILDREN[name]
    full = calls.select("record", "key", "partition_hour", name).filter(pl.col(name) != "[]")
    rows = (
        full.drop(name)
        .hstack(_items(connection, name, full.select(array=name)))
        .with_columns(position=pl.int_ranges(pl.col("item").list.len()))
        .explode("item", "fields", "position", empty_as_null=False, keep_nulls=False)
    )
    fields = rows["fields"].struct.unnest()
    # Where every item is an object, none needs to be read as a scalar.
    has_scalars = not rows["item"].str.starts_with("{").all()

    def first_read(column: Column) -> pl.Expr:
        sent = [fields[field] for field in column.names]
        if has_scalars and column.name in _SCALARS[name]:
            sent.append(rows["item"])
        read = [values.read(column.kind, json, time_zone) for json in sent if json.null_count() < len(json)]
        return pl.coalesce(*read, pl.lit(None, POLARS[column.kind])).alias(column.name)

    return rows.select(
        "record",
        "key",
        "partition_hour",
        pl.col("position").cast(pl.Int32),
        *(first_read(column) for column in table.columns if column.names),
        pl.col("item").fill_null("null"),
    )


def _items(connection: duckdb.DuckDBPyConnection, name: str, arrays: pl.DataFrame) -> pl.DataFrame:
    """Of every array, its items as JSON texts (`item`) and the fields that the table knows of them (`fields`)."""
    names = dict.fromkeys(name for column in CHILDREN[name].columns for name in column.names)
    fields = json.dumps([dict.fromkeys(names, "JSON")])
    connection.register("arrays", arrays)
    return connection.execute(
        f"""SELECT from_json("array", '["JSON"]') AS item, from_json("array", '{fields}') AS fields FROM arrays"""
    ).pl()
