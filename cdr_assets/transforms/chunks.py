"""Frames as DuckDB takes them: in chunks, which it hands out to its threads; a frame in one piece is read by one."""

import polars as pl
import pyarrow as pa


def in_chunks(frame: pl.DataFrame, rows: int) -> pa.Table:
    """The frame in chunks of at most so many rows."""
    whole = frame.to_arrow()
    return pa.Table.from_batches(whole.to_batches(max_chunksize=rows), schema=whole.schema)
