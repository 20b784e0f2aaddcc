"""Explodes the vendor's arrays to the rows of the child tables. The calls themselves are typed in `calls`."""

from dataclasses import dataclass

import duckdb
import polars as pl

from cdr_assets.domain.schema import CHILDREN, EXTRA, Column, Kind, polars_type
from cdr_assets.transforms.chunks import in_chunks
from cdr_assets.transforms.plausibility import plausible_items
from cdr_assets.transforms.values import Sent, content_of, objects, read_values, scalar_text, unknown_entries

#: The name of an item that is no object, where a field's name is expected.
ITEM = "(item)"

# If an item is a plain text or number instead of an object, these columns are read from it.
_SCALARS = {"call_history": ("event",), "csat_answers": ("answer", "score"), "call_tags": ("tag",)}


@dataclass(frozen=True)
class ItemsSent:
    """The items of an array, a row each, also for null.

    `places`: record (row of the record), position (in the array, from 0). `sent` has the fields that columns are read
    from, and `ITEM` if the item is no object; `unknown` the other fields that are not null: row, name, value (JSON
    text).
    """

    places: pl.DataFrame
    sent: Sent
    unknown: pl.DataFrame


@dataclass(frozen=True)
class Items:
    """The rows of a child table, with the column `record`; and the fields that no column tells: row, name, value."""

    rows: pl.DataFrame
    untold: pl.DataFrame


def fields_of(name: str) -> list[str]:
    """The fields that the columns of the child table `name` are read from."""
    return list(dict.fromkeys(field for column in CHILDREN[name].columns for field in column.names))


def take_apart_items(connection: duckdb.DuckDBPyConnection, name: str, sent: pl.Series, wanted: pl.Series) -> ItemsSent:
    """The items of the arrays in `sent` (JSON texts), in the records for which `wanted` is true."""
    records = wanted.arg_true()
    arrays = pl.DataFrame({"record": records, "array": _as_arrays(connection, sent.gather(records))})
    arrays = arrays.filter(pl.col("array") != "[]")
    connection.register("arrays", in_chunks(arrays.select("array")))
    lists = connection.execute(
        """SELECT from_json("array", '["JSON"]') AS item, from_json("array", '["MAP(VARCHAR, JSON)"]') AS fields
           FROM arrays"""
    ).pl()
    rows = (
        arrays.select("record")
        .hstack(lists)
        .with_columns(position=pl.int_ranges(pl.col("item").list.len(), dtype=pl.Int32))
        .explode("item", "fields", "position", empty_as_null=False, keep_nulls=False)
    )
    known = fields_of(name)
    sent_fields = rows.select(
        *(pl.col("fields").map.get(field).alias(field) for field in known),
        pl.when(~pl.col("item").str.starts_with("{")).then("item").alias(ITEM),
    )
    unknown = unknown_entries(rows["fields"], known)
    return ItemsSent(rows.select("record", "position"), Sent(sent_fields, is_plain=False), unknown)


def _as_arrays(connection: duckdb.DuckDBPyConnection, sent: pl.Series) -> pl.Series:
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


def read_items(name: str, items: ItemsSent, calls: pl.DataFrame, time_zone: str) -> Items:
    """The rows of the child table `name`, one per item.

    `calls` has a row for each record: key, partition_hour, calldate and fetched_at of the call. A null in the array
    gets a row too, so that there are as many rows as items.
    """
    table = CHILDREN[name]
    columns = [column for column in table.columns if column.names]
    values = items.sent.values
    # Read each column from every field that it may come from, and from the item itself if that is not an object.
    filled = {field for field in values.columns if values[field].null_count() < values.height}
    alternatives = {
        column: [field for field in (*column.names, *([ITEM] * (column.name in _SCALARS[name]))) if field in filled]
        for column in columns
    }
    places = {
        _place(column, field): (field, column.kind) for column, fields in alternatives.items() for field in fields
    }
    typed = read_values(items.sent, places, time_zone).typed
    of_calls = calls.select("key", "partition_hour", "calldate", "fetched_at")[items.places["record"]]
    read = plausible_items(
        items.places.hstack(of_calls)
        .hstack(typed)
        .with_columns(
            pl.coalesce(*(_place(column, field) for field in fields), pl.lit(None, polars_type(column.kind))).alias(
                column.name
            )
            for column, fields in alternatives.items()
        )
    )
    untold = pl.concat([items.unknown, *_untold(items.sent, read, alternatives)])
    read = read.with_columns(objects(read.height, untold).alias(EXTRA.name))
    return Items(read.select("record", *table.polars_schema.names()), untold)


def _place(column: Column, field: str) -> str:
    return f"{column.name} of {field}"


def _untold(sent: Sent, read: pl.DataFrame, alternatives: dict[Column, list[str]]) -> list[pl.DataFrame]:
    """The fields that no column was read from, or whose value cannot be true: row, name, value.

    `read` has the columns, and the value that each would have from each of its fields (`_place`).
    """
    # For each field, whether a column was read from it.
    told: dict[str, list[pl.Expr]] = {}
    for column, fields in alternatives.items():
        is_left = pl.col(column.name).is_not_null()
        for field in fields:
            is_here = pl.col(_place(column, field)).is_not_null()
            told.setdefault(field, []).append(is_left & is_here)
            is_left = is_left & ~is_here
    found = []
    for field, places in told.items():
        rows = (~read.select(pl.any_horizontal(places)).to_series() & sent.is_filled(field)).arg_true()
        found.append(pl.DataFrame({"row": rows, "value": sent.json(field, rows)}).with_columns(name=pl.lit(field)))
    return [entries.select("row", "name", "value") for entries in found if entries.height]


def contents(name: str, items: Items, has_array: pl.Series) -> pl.DataFrame:
    """For each record: `count`, the number of its items; `content`, a text of all that they say, for the content hash.

    Both are NULL for records without the array (`has_array` is false).
    """
    columns = [column for column in CHILDREN[name].columns if column.names]
    texts = [pl.col(column.name) for column in columns if column.kind is Kind.TEXT]
    # A score may have a fraction, a date has none.
    others = [pl.col(column.name).to_physical() for column in columns if column.kind is not Kind.TEXT]
    of_records = (
        items.rows.select(
            pl.col("record").set_sorted(), content=content_of(texts, pl.col(EXTRA.name).fill_null(""), others)
        )
        .group_by("record", maintain_order=True)
        .agg("content")
        .select(
            "record",
            pl.col("content").list.len().cast(pl.Int32).alias("count"),
            # Joining lists takes a fifth of the time of joining within the groups.
            pl.col("content").list.join("\x1e"),
        )
    )
    all_of_them = (
        has_array.alias("has")
        .to_frame()
        .select(
            pl.when("has").then(pl.lit(0, pl.Int32)).alias("count"), pl.when("has").then(pl.lit("")).alias("content")
        )
    )
    rows = of_records["record"]
    return all_of_them.with_columns(
        all_of_them[column].scatter(rows, of_records[column]) for column in ("count", "content")
    )
