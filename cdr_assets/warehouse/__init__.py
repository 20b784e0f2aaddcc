"""DuckDB: opening the warehouse alone, replacing hours whole, publishing a copy. Knows no Dagster and no AloTech."""

from cdr_assets.warehouse.hours import (
    LATE,
    Loaded,
    add_failed_fetches,
    clear_stale_hours,
    count_records,
    errors_of,
    hours_loaded_by,
    hours_never_loaded,
    load_hours,
    mark_stale,
    open_calls,
    read_narrowed_pages,
    read_pages_of,
    refreshed_calls,
    replace_pages,
    stored_calls,
)
from cdr_assets.warehouse.publish import publish, read_or_make_secret_key
from cdr_assets.warehouse.warehouse import Warehouse, WarehouseError, claim, open_published, source_of

__all__ = [
    "LATE",
    "Loaded",
    "Warehouse",
    "WarehouseError",
    "add_failed_fetches",
    "claim",
    "clear_stale_hours",
    "count_records",
    "errors_of",
    "hours_loaded_by",
    "hours_never_loaded",
    "load_hours",
    "mark_stale",
    "open_calls",
    "open_published",
    "publish",
    "read_narrowed_pages",
    "read_or_make_secret_key",
    "read_pages_of",
    "refreshed_calls",
    "replace_pages",
    "source_of",
    "stored_calls",
]
