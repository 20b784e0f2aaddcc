"""Compresses the bodies of pages for the warehouse, and unpacks them again. Parsing their JSON is `records`.

Each body is compressed by itself. DuckDB's compression is as good, but works on 2,048 rows at a time: to read one page
of 130 kB, it unpacks 250 MB.
"""

import polars as pl
import pyarrow as pa

from cdr_assets.transforms.long_texts import buffers, joined, take_out

_CODEC = "zstd"

#: Bytes. Long texts are replaced only in larger pages: the search takes time, and small pages need little memory.
LARGE = 8 << 20


def compress(body: bytes) -> bytes:
    compressed: bytes = pa.compress(body, codec=_CODEC, asbytes=True)
    return compressed


def decompress(body: bytes, size: int) -> bytes:
    unpacked: bytes = pa.decompress(body, size, codec=_CODEC, asbytes=True) if size else b""
    return unpacked


def texts(pages: pl.DataFrame, long_texts: dict[bytes, memoryview]) -> pl.Series:
    """The bodies of pages (columns body and body_size of raw.cdr_pages) as texts; NULL for NULL.

    In large pages, names replace the long texts, which are added to `long_texts` (see the module of that name).
    """
    unpacked = [
        None if body is None else _unpacked(body, size, long_texts)
        for body, size in zip(buffers(pages["body"]), pages["body_size"], strict=True)
    ]
    return joined([None if body is None else [body] for body in unpacked]).alias("body")


def _unpacked(body: pa.Buffer, size: int, long_texts: dict[bytes, memoryview]) -> memoryview:
    # Arrow cannot decompress an empty body.
    unpacked = pa.decompress(body, size, codec=_CODEC) if size else pa.py_buffer(b"")
    return memoryview(take_out(unpacked, long_texts) if size > LARGE else unpacked)
