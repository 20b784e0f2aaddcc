"""DuckDB: opening the warehouse alone, replacing hours whole, publishing a copy. Knows no Dagster and no AloTech."""

from cdr_assets.warehouse.hours import (
    Loaded,
    add_failed_fetches,
    clear_stale_hours,
    count_records,
    errors_of,
    load_hours,
    loaded_by,
    mark_stale,
    read_pages_of,
    replace_pages,
)
from cdr_assets.warehouse.publish import publish, read_or_make_secret_key
from cdr_assets.warehouse.warehouse import Warehouse, WarehouseError, claim, open_published

__all__ = [
    "Loaded",
    "Warehouse",
    "WarehouseError",
    "add_failed_fetches",
    "claim",
    "clear_stale_hours",
    "count_records",
    "errors_of",
    "load_hours",
    "loaded_by",
    "mark_stale",
    "open_published",
    "publish",
    "read_or_make_secret_key",
    "read_pages_of",
    "replace_pages",
]
