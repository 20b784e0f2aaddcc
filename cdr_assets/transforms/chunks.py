"""Splits a frame into chunks for DuckDB, whose threads work on them in parallel. One thread reads an unsplit frame."""

import polars as pl
import pyarrow as pa


def in_chunks(frame: pl.DataFrame, rows: int = 2048) -> pa.Table:
    """The frame in chunks of at most `rows` rows, by default as many as DuckDB works on at a time.

    A query without joins or grouping returns the rows in order, whichever thread finishes first, because DuckDB's
    setting `preserve_insertion_order` is on by default. Callers need this order to put results next to their rows.
    """
    whole = frame.to_arrow()
    return pa.Table.from_batches(whole.to_batches(max_chunksize=rows), schema=whole.schema)
