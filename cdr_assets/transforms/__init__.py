"""Turns raw pages into typed tables: polars frames in, polars frames out.

DuckDB is used in memory only. Fetching pages is `alotech` and `ingest/fetching.py`; writing tables is `warehouse`.
"""

from cdr_assets.transforms.bodies import compress
from cdr_assets.transforms.comparison import DIFFERENCES, differences
from cdr_assets.transforms.pages import Tables, read_hours, read_pages
from cdr_assets.transforms.phone_numbers import e164, e164_of
from cdr_assets.transforms.plausibility import set_aside_in
from cdr_assets.transforms.records import PageError
from cdr_assets.transforms.rejected import rejected_told

__all__ = [
    "DIFFERENCES",
    "PageError",
    "Tables",
    "compress",
    "differences",
    "e164",
    "e164_of",
    "read_hours",
    "read_pages",
    "rejected_told",
    "set_aside_in",
]
