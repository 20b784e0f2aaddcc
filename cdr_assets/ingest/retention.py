"""Deletes what is older than the settings keep: CDR_CALLS_DAYS, CDR_MARTS_DAYS and CDR_RAW_PAGES_DAYS.

Which tables that are, and why some hours are frozen, is in `warehouse/retention.py`.
"""

import datetime as dt

from cdr_assets.domain.settings import Settings
from cdr_assets.warehouse import Warehouse, drop_pages, transaction
from cdr_assets.warehouse.retention import delete_before


def delete_old(settings: Settings, warehouse: Warehouse, holder: str, now: dt.datetime) -> str:
    """Deletes old calls, figures and pages; returns what was deleted, in one line. `now` is aware."""
    today = now.astimezone(settings.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    calls_from, marts_from = (
        today - dt.timedelta(days=days) if days else None for days in (settings.cdr_calls_days, settings.cdr_marts_days)
    )
    with warehouse.connect(holder) as connection:
        with transaction(connection):
            calls, figures = delete_before(connection, calls_from, marts_from)
        if settings.cdr_raw_pages_days:
            drop_pages(connection, settings.cdr_raw_pages_days)
    told = [
        f"{count:,} {what} before {before:%Y-%m-%d}"
        for count, what, before in ((calls, "calls", calls_from), (figures, "rows of figures", marts_from))
        if before
    ]
    return f"deleted {' and '.join(told) or 'nothing'}"
