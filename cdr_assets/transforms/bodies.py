"""Page bodies as the warehouse keeps them: compressed, each by itself.

DuckDB's own compression is as good but for 2,048 rows at a time: to read one page of 130 kB it unpacks 250 MB.
"""

import polars as pl
import pyarrow as pa

_CODEC = "zstd"


def compress(body: bytes) -> bytes:
    compressed: bytes = pa.compress(body, codec=_CODEC, asbytes=True)
    return compressed


def texts(pages: pl.DataFrame) -> pl.Series:
    """The bodies of pages (columns body and body_size of raw.cdr_pages), as texts; NULL for NULL."""
    unpacked = [
        # Arrow cannot unpack what holds nothing.
        (pa.decompress(body, size, codec=_CODEC).to_pybytes() if size else b"") if body is not None else None
        for body, size in pages.select("body", "body_size").iter_rows()
    ]
    # Through Arrow, which takes as much memory as they are long: polars takes twice as much, and Python's texts time.
    return pl.Series("body", pa.array(unpacked, pa.large_binary())).cast(pl.String)
