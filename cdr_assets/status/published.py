"""The figures of the published copy that Dagster shows, and plots, at each materialization of `published/cdr`."""

import datetime as dt
from dataclasses import dataclass

from cdr_assets.domain.lateness import LAST_READ_WITHIN
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.reading import open_published
from cdr_assets.status.hours import hours_status
from cdr_assets.status.map import markdown

# The map shows a week: the days in which hours become final, and some more.
_DAYS = LAST_READ_WITHIN.days + 4


@dataclass(frozen=True)
class CopyFigures:
    """`hours` are loaded, `final_hours` of them final; `rows` are those of all tables; `size` is in bytes.

    `newest_call` is when the newest call started (an aware time), None if there is no call. `map` is the map of the
    last hours in Markdown.
    """

    hours: int
    final_hours: int
    rows: int
    newest_call: dt.datetime | None
    size: int
    map: str


def read_copy(settings: Settings, now: dt.datetime) -> CopyFigures:
    """`now` is an aware time."""
    path = settings.published_path
    with open_published(path) as connection:
        hours, final_hours = connection.execute(
            "SELECT count(*) FILTER (WHERE is_loaded), count(*) FILTER (WHERE is_final) FROM marts.dim_hours"
        ).fetchall()[0]
        newest_call = connection.execute(
            "SELECT max(calldate_utc) FROM cdr.calls WHERE vanished_at IS NULL"
        ).fetchall()[0][0]
        tables = connection.execute(
            """SELECT schema_name || '."' || table_name || '"' FROM duckdb_tables()
               WHERE database_name = 'published'"""
        ).fetchall()
        rows = sum(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for (table,) in tables)
        return CopyFigures(
            hours=hours,
            final_hours=final_hours,
            rows=rows,
            newest_call=newest_call,
            size=path.stat().st_size,
            map=markdown(hours_status(connection, settings, now, _DAYS)),
        )
