"""Checks on loaded hours: counts that do not balance, values set aside, rejected and misplaced records, silence.

Here are the queries, and the messages that tell an operator what they found. Which findings block a run is decided in
`orchestration/checks`; tests of the marts are in the dbt project.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.masking import mask
from cdr_assets.domain.schema import TABLES
from cdr_assets.transforms import read_pages, rejected_told
from cdr_assets.warehouse import read_pages_of
from cdr_assets.warehouse.expected import WORTH_NOTICING, expected_calls
from cdr_assets.warehouse.place import quoted

# Sample calls that a warning names for each reason.
_SAMPLES = 3

# How far a requested record may be from the middle of its hour. Requests start a second before the hour.
_OVERLAP = (-HOUR / 2 - dt.timedelta(seconds=2), HOUR / 2)

# Empty hours whose pages are read again.
_SAMPLED = 24

_NEWEST_LOADS = """
    SELECT * FROM cdr.loads WHERE error IS NULL AND filters IS NULL
    QUALIFY row_number() OVER (PARTITION BY partition_hour ORDER BY fetched_at DESC) = 1
"""

# New calls of each hour from narrowed fetches since the hour was last read whole.
_ADDED = """
    SELECT partition_hour, sum(loads.new)::BIGINT AS added
    FROM cdr.loads AS loads JOIN newest USING (partition_hour)
    WHERE loads.error IS NULL AND loads.filters IS NOT NULL AND loads.fetched_at > newest.fetched_at
    GROUP BY ALL
"""

# Each of these queries returns rows for problems only. `{hours}` stands for a condition on partition_hour.
ROW_COUNTS = f"""
    WITH newest AS ({_NEWEST_LOADS}),
    added AS ({_ADDED}),
    stored AS (SELECT partition_hour, count(*) FILTER (vanished_at IS NULL) AS calls FROM cdr.calls GROUP BY ALL)
    SELECT partition_hour, served, loaded, repeated, outside_window, rejected, moved, coalesce(added, 0) AS added,
           coalesce(calls, 0) AS calls
    FROM newest LEFT JOIN stored USING (partition_hour) LEFT JOIN added USING (partition_hour)
    WHERE {{hours}} AND (
        served <> loaded + repeated + outside_window + rejected
        OR coalesce(calls, 0) <> loaded - moved + coalesce(added, 0)
    )
    ORDER BY partition_hour
"""

CHILD_ROWS = """
    WITH items AS (SELECT partition_hour, count(*) AS items FROM cdr.{child} WHERE {hours} GROUP BY ALL),
    counted AS (SELECT partition_hour, sum({child}_count) AS counted FROM cdr.calls WHERE {hours} GROUP BY ALL)
    SELECT partition_hour, coalesce(items, 0) AS items, coalesce(counted, 0) AS counted
    FROM counted FULL JOIN items USING (partition_hour)
    WHERE coalesce(items, 0) <> coalesce(counted, 0) ORDER BY partition_hour
"""

REJECTED = "SELECT * EXCLUDE (record) FROM cdr.rejected_records WHERE {hours}"

# Hours that brought records of other hours, but no call of their own.
ALL_OUTSIDE = f"""
    WITH newest AS ({_NEWEST_LOADS})
    SELECT partition_hour FROM newest WHERE {{hours}} AND loaded = 0 AND outside_window > 0 ORDER BY partition_hour
"""

ELSEWHERE = f"""
    WITH newest AS ({_NEWEST_LOADS})
    SELECT count(*), sum(elsewhere)::BIGINT, min(partition_hour) FROM newest WHERE {{hours}} AND elsewhere > 0
"""

REPEATED_KEYS = """
    SELECT key, count(*) AS rows FROM cdr.calls
    WHERE key IN (SELECT key FROM cdr.calls WHERE {hours}) GROUP BY key HAVING count(*) > 1
"""

# One row per field and reason, the most frequent first. Without values, because these may be a caller's data.
SET_ASIDE = f"""
    WITH aside AS (
        SELECT key, partition_hour, unnest(json_keys(set_aside)) AS field, set_aside
        FROM cdr.calls WHERE set_aside IS NOT NULL AND vanished_at IS NULL AND {{hours}}
    )
    SELECT field, set_aside ->> ('$."' || field || '"') AS reason, count(*) AS calls,
           array_agg({{'key': key, 'hour': partition_hour}} ORDER BY partition_hour, key)[:{_SAMPLES}] AS samples
    FROM aside GROUP BY ALL ORDER BY calls DESC, field, reason
"""

# Flags that are true for some call in every busy hour, each with a condition on the calls to look at, because sl says
# something only about calls answered from a queue. Other flags are not checked: servers may leave out a false flag.
_FLAGS = dict.fromkeys(("inbound", "queued", "answered", "assigned"), "true") | {
    "sl": "inbound AND queued AND answered"
}

# For each flag, the hours in which it is NULL for all calls. Each hour is tested by itself, because a server may stop
# sending a flag in the middle of a run. Their calls are summed, because a few calls without a flag are no problem.
UNSENT = f"""
    WITH counted AS ({
    " UNION ALL ".join(
        f"SELECT partition_hour, '{flag}' AS flag, count(*) AS calls, count({flag}) AS known FROM cdr.calls "
        f"WHERE vanished_at IS NULL AND {among} AND {{hours}} GROUP BY partition_hour"
        for flag, among in _FLAGS.items()
    )
})
    SELECT flag, sum(calls)::BIGINT AS calls, count(*) AS hours, min(partition_hour) AS first
    FROM counted WHERE known = 0 GROUP BY flag HAVING sum(calls) >= {WORTH_NOTICING} ORDER BY flag
"""

OTHER_COLUMNS = """
    SELECT coalesce(declared.table_name, stored.table_name) AS table_name,
           coalesce(declared.column_name, stored.column_name) AS column_name, declared.kind, stored.kind
    FROM declared FULL JOIN (
        SELECT schema_name || '.' || table_name AS table_name, column_name,
               replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ') AS kind
        FROM duckdb_columns() WHERE database_name = current_database() AND schema_name IN ('raw', 'cdr')
          AND table_name <> 'warehouse'
    ) AS stored USING (table_name, column_name)
    WHERE declared.kind IS DISTINCT FROM stored.kind
"""


def find_wrong(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None
) -> tuple[list[dict[str, object]], list[dict[str, object]], list[dict[str, object]]]:
    """Hours that do not balance, keys with several rows, and columns that differ from the schema. None: all hours."""
    # As text in the query: DuckDB looks for pandas once for each value that it is given, which took 0.1 s.
    rows = ", ".join(
        f"({quoted(table.full_name)}, {quoted(column.name)}, {quoted(column.kind.value)})"
        for table in TABLES
        for column in table.columns
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE declared AS FROM (VALUES {rows}) AS columns (table_name, column_name, kind)"
    )
    return (
        _rows(connection, ROW_COUNTS, hours),
        _rows(connection, REPEATED_KEYS, hours),
        _rows(connection, OTHER_COLUMNS, None),
    )


def find_wrong_children(
    connection: duckdb.DuckDBPyConnection, child: str, hours: Sequence[dt.datetime] | None
) -> list[dict[str, object]]:
    """Hours in which the rows of a child table differ in number from the calls' counts of items."""
    return _rows(connection, CHILD_ROWS.replace("{child}", child), hours)


def find_set_aside(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> list[dict[str, Any]]:
    """Values set aside in the calls of the hours (None: all hours): field, reason, calls, samples (key and hour)."""
    return _rows(connection, SET_ASIDE, hours)


def find_unsent_flags(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> str | None:
    """The message about flags that are NULL for all calls of an hour; None if there are no such flags."""
    return _unsent_told(_rows(connection, UNSENT, hours))


def find_unknown_fields(connection: duckdb.DuckDBPyConnection, since: dt.datetime) -> list[dict[str, object]]:
    """Fields without a column (cdr.unknown_fields), newest first; `is_news` is true if noticed at `since` or later."""
    return (
        connection.execute(
            """SELECT *, noticed_at >= ? AS is_news FROM cdr.unknown_fields
               ORDER BY noticed_at DESC, table_name, name, type""",
            [since],
        )
        .pl()
        .to_dicts()
    )


def find_rejected(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> str | None:
    """The message about records that could not become calls; None if there are none."""
    rejected = connection.execute(_limited(REJECTED, hours)).pl()
    return rejected_told(rejected) if rejected.height else None


def find_of_other_hours(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None, time_zone: str
) -> str | None:
    """The message about records that belong to other hours than the requested ones; None if there are none."""
    displaced = find_displaced(connection, hours)
    strays = connection.execute(_limited(ELSEWHERE, hours)).fetchone() or (0, 0, None)
    return _displaced_told(displaced, time_zone) or _strays_told(*strays)


def find_hours_typed_by_older_rules(connection: duckdb.DuckDBPyConnection) -> int:
    """How many hours have calls that could not be typed by today's rules, because their pages were deleted."""
    (hours,) = connection.execute("SELECT count(*) FROM cdr.hours_without_pages").fetchone() or (0,)
    return int(hours)


def find_displaced(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> pl.DataFrame:
    """Records of hours that are empty because all their records belong to other hours: partition_hour and off.

    `off` is the time from the middle of the hour to the record. Records in the second before the hour are left out,
    because each request includes that second.
    """
    empty = [hour for (hour,) in connection.execute(_limited(ALL_OUTSIDE, hours)).fetchall()]
    # A sample of the hours is enough, because a wrong time zone affects all of them, and pages are large.
    pages = read_pages_of(connection, empty[:_SAMPLED]).with_columns(
        window_start=pl.lit(None), window_finish=pl.lit(None)
    )
    # Any time zone will do: both the records and the requests are in the same wall clock.
    calls = read_pages(pages, "UTC").calls
    off = pl.col("calldate") - pl.col("partition_hour") - HOUR / 2
    return calls.select("partition_hour", off=off).filter(~pl.col("off").is_between(*_OVERLAP))


def find_silence(connection: duckdb.DuckDBPyConnection, run_id: str) -> str | None:
    """The message about a run that brought no call at all although calls were expected; None otherwise."""
    loads = connection.execute(
        "SELECT partition_hour, loaded FROM cdr.loads WHERE run_id = ? AND error IS NULL AND filters IS NULL", [run_id]
    ).fetchall()
    if not loads or any(calls for _, calls in loads):
        return None
    expected = sum(calls or 0 for calls in expected_calls(connection, [hour for hour, _ in loads]).values())
    if expected >= WORTH_NOTICING:
        return (
            f"no call came in {len(loads)} h, where {expected:,.0f} were expected (median of the same weekday and hour "
            "in the weeks before); ask AloTech whether calls are missing in its reports too, then load the hours again"
        )
    if connection.execute("SELECT 1 FROM cdr.calls LIMIT 1").fetchone() is None:
        return (
            f"no call came in {len(loads)} h, and none ever has; if the centre had calls then, check the tenant, the "
            "rights of its token, and the dates"
        )
    return None


def _displaced_told(displaced: pl.DataFrame, time_zone: str) -> str | None:
    if displaced.is_empty():
        return None
    hours, off = displaced["partition_hour"].unique().sort(), sorted(displaced["off"])
    by = round(2 * (off[len(off) // 2] / HOUR)) / 2
    is_alike = off[-1] - off[0] <= HOUR * 1.5
    how_far = f"all about {abs(by):g} h {'later' if by > 0 else 'earlier'}" if is_alike else "of other hours"
    return (
        f"{len(hours)} hours are empty, though {displaced.height} records came for them, {how_far}; the first is "
        f"{hours[0]:%Y-%m-%d %H:%M}: the server reads what it is asked for in another time zone, such as UTC, or "
        f"ALOTECH_TIMEZONE ({time_zone}) is not the tenant's; correct it, or ask AloTech, and load the hours again"
    )


def _strays_told(hours: int, records: int, first: dt.datetime | None) -> str | None:
    """The message if misplaced records came together with the hours' own calls."""
    if not hours:
        return None
    return (
        f"{records} records in {hours} h belong to other hours than the requested ones, first in "
        f"{first:%Y-%m-%d %H:%M}; they are loaded only if their own hours list them: check ALOTECH_TIMEZONE, then "
        "report it to AloTech"
    )


def _unsent_told(unsent: list[dict[str, Any]]) -> str | None:
    if not unsent:
        return None
    told = [
        f"{flag} is known for none of {found['calls']} {'answered calls' if flag == 'sl' else 'calls'} in "
        f"{found['hours']} h, first in {found['first']:%Y-%m-%d %H:%M}: "
        + (
            "service levels leave these calls out, and are NULL if there are no others"
            if flag == "sl"
            else "it counts as no"
        )
        for found in unsent
        for flag in (found["flag"],)
    ]
    return f"{'; '.join(told)}; ask AloTech why it is not sent, and load the hours again once it is"


def _limited(query: str, hours: Sequence[dt.datetime] | None) -> str:
    # A list of literals, because with a parameter DuckDB could not skip the row groups of other hours.
    listed = ", ".join(f"TIMESTAMP '{hour}'" for hour in hours or ())
    return query.replace("{hours}", "true" if hours is None else f"partition_hour IN ({listed or 'NULL'})")


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, hours: Sequence[dt.datetime] | None
) -> list[dict[str, object]]:
    return connection.execute(_limited(query, hours)).pl().to_dicts()


def set_aside_told(aside: Sequence[dict[str, Any]]) -> str | None:
    """The message about the rows of `find_set_aside`, with sample keys and hours; None if there are no rows."""
    told = [
        f"{found['field']} {found['reason']}: {found['calls']} calls, for instance "
        + ", ".join(f"{sample['key']} of {sample['hour']:%Y-%m-%d %H:%M}" for sample in found["samples"])
        for found in aside
    ]
    return f"unknown, and in no measure: {'; '.join(told[:10])}" if told else None


def news_told(unknown: Sequence[dict[str, object]]) -> str | None:
    """The message about the news in `find_unknown_fields`: name, type and first hour, but no value of a caller."""
    news = [
        f"{field['table_name']}.{mask(str(field['name']))} ({field['type']}, first in {field['partition_hour']})"
        for field in unknown
        if field["is_news"]
    ]
    return f"new from the vendor, kept in extra: {', '.join(news[:10])}" if news else None
