"""Frames as DuckDB takes them: in chunks, which it hands out to its threads; a frame in one piece is read by one."""

import polars as pl
import pyarrow as pa


def in_chunks(frame: pl.DataFrame, rows: int = 2048) -> pa.Table:
    """The frame in chunks of at most so many rows, by default as many as DuckDB works on at a time.

    What a query without a join or a grouping makes of them comes back in their order, whichever thread is done first:
    DuckDB's `preserve_insertion_order`, on unless it is told otherwise. Callers put results beside rows by it.
    """
    whole = frame.to_arrow()
    return pa.Table.from_batches(whole.to_batches(max_chunksize=rows), schema=whole.schema)
