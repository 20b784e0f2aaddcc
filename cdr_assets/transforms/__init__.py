"""Turns raw pages into typed tables: polars frames in, polars frames out.

DuckDB is used in memory only. Fetching pages is `alotech` and `ingest/fetching.py`; writing tables is `warehouse`.
"""

from cdr_assets.transforms.blanking import (
    Members,
    Number,
    blank_bodies,
    blank_json,
    blank_record,
    blank_text,
    dump,
    members,
    records_of,
)
from cdr_assets.transforms.bodies import compress, decompress
from cdr_assets.transforms.comparison import DIFFERENCES, differences
from cdr_assets.transforms.forgotten import (
    Entry,
    Forgotten,
    digits_of,
    forgotten_of,
    keyed,
    pattern_in_python,
    pattern_of,
    unescaped,
)
from cdr_assets.transforms.items import ITEM
from cdr_assets.transforms.pages import Tables, read_hours, read_pages
from cdr_assets.transforms.phone_numbers import e164, e164_of
from cdr_assets.transforms.plausibility import set_aside_in
from cdr_assets.transforms.records import PageError
from cdr_assets.transforms.rejected import rejected_told

__all__ = [
    "DIFFERENCES",
    "ITEM",
    "Entry",
    "Forgotten",
    "Members",
    "Number",
    "PageError",
    "Tables",
    "blank_bodies",
    "blank_json",
    "blank_record",
    "blank_text",
    "compress",
    "decompress",
    "differences",
    "digits_of",
    "dump",
    "e164",
    "e164_of",
    "forgotten_of",
    "keyed",
    "members",
    "pattern_in_python",
    "pattern_of",
    "read_hours",
    "read_pages",
    "records_of",
    "rejected_told",
    "set_aside_in",
    "unescaped",
]
