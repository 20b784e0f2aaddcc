"""Explodes the vendor's arrays to the rows of the child tables. The calls themselves are typed in `calls`."""

import json

import duckdb
import polars as pl

from cdr_assets.domain.schema import CHILDREN, polars_type
from cdr_assets.transforms.chunks import in_chunks
from cdr_assets.transforms.plausibility import plausible_items
from cdr_assets.transforms.values import read_values, scalar_text

# If an item is a plain text or number instead of an object, these columns are read from it.
_SCALARS = {"call_history": ("event",), "csat_answers": ("answer", "score"), "call_tags": ("tag",)}


def as_arrays(connection: duckdb.DuckDBPyConnection, sent: pl.Series) -> pl.Series:
    """The JSON text of an array, whatever the vendor sent in its place.

    Null and blank texts become an empty array. A text that contains a JSON array becomes that array. Any other value
    that is not an array becomes an array with this one item.
    """
    arrays = sent.fill_null("[]")
    other = (~arrays.str.starts_with("[")).arg_true()
    if not len(other):
        return arrays
    items = arrays.gather(other)
    connection.register("sent", pl.DataFrame({"item": items, "content": scalar_text(items).str.strip_chars()}))
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
    return arrays.scatter(other, single["arrays"])


def explode(connection: duckdb.DuckDBPyConnection, name: str, calls: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """The rows of the child table `name`, one per item of the array, with the column `record` of the call.

    `calls` has `record`, `key`, `partition_hour`, `calldate`, `fetched_at`, and the array as JSON text in the column
    `name`. `position` counts from 0. A null in the array gets a row too, so that there are as many rows as items.
    """
    table = CHILDREN[name]
    full = calls.select("record", "key", "partition_hour", "calldate", "fetched_at", name).filter(pl.col(name) != "[]")
    if not full.height:
        return full.select("record").hstack(table.polars_schema.to_frame())
    rows = (
        full.drop(name)
        .hstack(_items(connection, name, full.select(array=name)))
        .with_columns(position=pl.int_ranges(pl.col("item").list.len(), dtype=pl.Int32))
        .explode("item", "fields", "position", empty_as_null=False, keep_nulls=False)
    )
    # Read each column from every field that it may come from, and from the item itself if that is not an object.
    alternatives = {
        column.name: [pl.col("fields").struct.field(field) for field in column.names]
        + [pl.when(~pl.col("item").str.starts_with("{")).then("item")] * (column.name in _SCALARS[name])
        for column in table.columns
        if column.names
    }
    sent = rows.select(
        expression.alias(f"{column} {number}")
        for column, expressions in alternatives.items()
        for number, expression in enumerate(expressions)
    )
    kinds = {column.name: column.kind for column in table.columns}
    filled = [place.name for place in sent if place.null_count() < sent.height]
    typed = read_values(sent, {place: kinds[place.split()[0]] for place in filled}, time_zone).typed
    read = rows.hstack(typed).select(
        "record",
        "key",
        "partition_hour",
        "position",
        "calldate",
        "fetched_at",
        *(
            pl.coalesce(
                *(place for place in filled if place.split()[0] == column), pl.lit(None, polars_type(kinds[column]))
            ).alias(column)
            for column in alternatives
        ),
        pl.col("item").fill_null("null"),
    )
    return plausible_items(read).drop("calldate", "fetched_at")


def _items(connection: duckdb.DuckDBPyConnection, name: str, arrays: pl.DataFrame) -> pl.DataFrame:
    """Two lists for each array: its items as JSON texts (`item`), and the fields that the columns need (`fields`)."""
    names = dict.fromkeys(name for column in CHILDREN[name].columns for name in column.names)
    fields = json.dumps([dict.fromkeys(names, "JSON")])
    connection.register("arrays", in_chunks(arrays))
    return connection.execute(
        f"""SELECT from_json("array", '["JSON"]') AS item, from_json("array", '{fields}') AS fields FROM arrays"""
    ).pl()
