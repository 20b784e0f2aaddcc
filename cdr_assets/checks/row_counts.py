"""Row counts that balance for every hour, keys that are unique, tables as they are declared: these block, since
publishing on would show analysts a number that is wrong. The others warn of what was lost, cannot be true, did not
come, or is new.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import polars as pl
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    HourlyPartitionsDefinition,
    Output,
    ResourceParam,
    multi_asset_check,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from cdr_assets.checks.evaluation import evaluated
from cdr_assets.partitions import HOUR, hours_of_run
from cdr_assets.schema import CALLS, CHILDREN, TABLES
from cdr_assets.transforms import read_pages, rejected_told
from cdr_assets.warehouse import Warehouse, read_pages_of
from cdr_assets.warehouse.expected import WORTH_NOTICING, expected_calls

_CALLS_KEY = AssetKey(CALLS.asset_key)

# Calls that a warning names as samples, for each reason.
_SAMPLES = 3

# Of a record that was asked for with its neighbour: windows begin a second early, and end with their hour.
_OVERLAP = (-HOUR / 2 - dt.timedelta(seconds=2), HOUR / 2)

_SAMPLED = 24

# How long a new field is news: a warning that never ended would be looked at no more.
_NEWS = dt.timedelta(days=7)

_NEWEST_LOADS = """
    SELECT * FROM cdr.loads WHERE error IS NULL AND filters IS NULL
    QUALIFY row_number() OVER (PARTITION BY partition_hour ORDER BY fetched_at DESC) = 1
"""

# Calls that narrowed fetches have added since the hour was last read whole.
_ADDED = """
    SELECT partition_hour, sum(loads.new)::BIGINT AS added
    FROM cdr.loads AS loads JOIN newest USING (partition_hour)
    WHERE loads.error IS NULL AND loads.filters IS NOT NULL AND loads.fetched_at > newest.fetched_at
    GROUP BY ALL
"""

# Each finds what is wrong: no row means that all is well. `{hours}` limits it to the hours of the run.
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

# Hours that brought no call, and records of other hours.
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

# By field and reason, the most frequent first. Values are not told: they may be a caller's.
SET_ASIDE = f"""
    WITH aside AS (
        SELECT key, partition_hour, unnest(json_keys(set_aside)) AS field, set_aside
        FROM cdr.calls WHERE set_aside IS NOT NULL AND vanished_at IS NULL AND {{hours}}
    )
    SELECT field, set_aside ->> ('$."' || field || '"') AS reason, count(*) AS calls,
           array_agg({{'key': key, 'hour': partition_hour}} ORDER BY partition_hour, key)[:{_SAMPLES}] AS samples
    FROM aside GROUP BY ALL ORDER BY calls DESC, field, reason
"""

# The flags by which the marts sort calls, and the calls among which each is looked for: sl says nothing of a call that
# was not answered from a queue.
_FLAGS = dict.fromkeys(("inbound", "queued", "answered", "abandon", "voicemail", "shortcall", "assigned"), "true") | {
    "sl": "inbound AND queued AND answered"
}

# By flag, the hours in which it is known for no call. Each hour is looked at alone, since a server may stop sending a
# flag in the middle of a run. Their calls are counted together, since a few calls without a flag are no news.
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


def build_row_count_checks(partitions: HourlyPartitionsDefinition) -> AssetChecksDefinition:
    @multi_asset_check(
        name="row_counts",
        specs=[
            AssetCheckSpec(
                "row_counts_balance",
                asset=_CALLS_KEY,
                blocking=True,
                description="served = loaded + repeated + outside_window + rejected; the hour holds what was loaded.",
            ),
            AssetCheckSpec("keys_are_unique", asset=_CALLS_KEY, blocking=True, description="One row per call."),
            AssetCheckSpec(
                "columns_as_declared",
                asset=_CALLS_KEY,
                blocking=True,
                description="Every table of the schemas raw and cdr has the columns and types it is declared with.",
            ),
            AssetCheckSpec(
                "values_are_plausible",
                asset=_CALLS_KEY,
                description=(
                    "Every value that was sent can be read, and be true: dates about their call's, durations of a day "
                    "at the most. Others are NULL, kept in extra and named in set_aside, and count in no measure."
                ),
            ),
            AssetCheckSpec(
                "flags_are_known",
                asset=_CALLS_KEY,
                description="Every flag by which the marts sort calls was sent with calls of the hour.",
            ),
            AssetCheckSpec(
                "fields_are_known",
                asset=_CALLS_KEY,
                description="In the last week, the vendor sent nothing for the first time that no column is read from.",
            ),
            AssetCheckSpec(
                "records_become_calls",
                asset=_CALLS_KEY,
                description="No record of the run's hours is without a key or a date that can be read.",
            ),
            AssetCheckSpec(
                "records_are_of_their_hours",
                asset=_CALLS_KEY,
                description="Every record that came is of the hour that was asked for, or of the second before.",
            ),
            AssetCheckSpec(
                "calls_came",
                asset=_CALLS_KEY,
                description="The run brought a call, where its hours did in the weeks before or none has ever come.",
            ),
            *(
                AssetCheckSpec(
                    "rows_equal_items",
                    asset=table.asset_key,
                    blocking=True,
                    description="As many rows as the calls' arrays have items.",
                )
                for table in CHILDREN.values()
            ),
        ],
    )
    def row_counts(
        context: AssetCheckExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[Output[None] | AssetCheckEvaluation]:
        # A check that is executed by itself is for all hours.
        hours = [hour.start for hour in hours_of_run(partitions, context.run)] or None
        with warehouse.connect(f"run {context.run.run_id[:8]}, row counts") as connection:
            calls, unique, columns = find_wrong(connection, hours)
            aside = find_set_aside(connection, hours)
            unsent = find_unsent_flags(connection, hours)
            (old_rules,) = connection.execute("SELECT count(*) FROM cdr.hours_without_pages").fetchone() or (0,)
            unknown = find_unknown_fields(connection, dt.datetime.now(dt.UTC) - _NEWS)
            children = {name: find_wrong_children(connection, name, hours) for name in CHILDREN}
            rejected = connection.execute(_limited(REJECTED, hours)).pl()
            elsewhere = find_elsewhere(connection, hours)
            strays = connection.execute(_limited(ELSEWHERE, hours)).fetchone() or (0, 0, None)
            silence = find_silence(connection, context.run.run_id)
        results = [
            _result(_CALLS_KEY, "row_counts_balance", calls, "hours do not balance"),
            _result(_CALLS_KEY, "keys_are_unique", unique, "keys have more than one row"),
            _result(_CALLS_KEY, "columns_as_declared", columns, "columns differ from their declaration"),
        ]
        for name, table in CHILDREN.items():
            key = AssetKey(table.asset_key)
            results.append(_result(key, "rows_equal_items", children[name], "hours have other rows than items"))
        results += [
            _plausible(aside, old_rules),
            _warning("flags_are_known", _unsent_told(unsent)),
            _known(unknown),
            _warning("records_become_calls", rejected_told(rejected) if rejected.height else None),
            _warning(
                "records_are_of_their_hours", _elsewhere_told(elsewhere, partitions.timezone) or _strays_told(*strays)
            ),
            _warning("calls_came", silence),
        ]
        for result in results:
            yield from evaluated(row_counts, result)

    return row_counts


def find_wrong(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None
) -> tuple[list[dict[str, object]], list[dict[str, object]], list[dict[str, object]]]:
    """Hours that don't balance, keys with several rows, columns other than declared. None: all hours."""
    rows = [(table.full_name, column.name, column.kind.value) for table in TABLES for column in table.columns]
    connection.execute("CREATE OR REPLACE TEMP TABLE declared (table_name VARCHAR, column_name VARCHAR, kind VARCHAR)")
    connection.execute(
        "INSERT INTO declared SELECT unnest(?), unnest(?), unnest(?)",
        [list(column) for column in zip(*rows, strict=True)],
    )
    return (
        _rows(connection, ROW_COUNTS, hours),
        _rows(connection, REPEATED_KEYS, hours),
        _rows(connection, OTHER_COLUMNS, None),
    )


def find_wrong_children(
    connection: duckdb.DuckDBPyConnection, child: str, hours: Sequence[dt.datetime] | None
) -> list[dict[str, object]]:
    """Hours in which a child table has other rows than the calls' arrays have items."""
    return _rows(connection, CHILD_ROWS.replace("{child}", child), hours)


def find_set_aside(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> list[dict[str, Any]]:
    """What was set aside of the hours' calls (None: of all): field, reason, calls, samples (key and hour)."""
    return _rows(connection, SET_ASIDE, hours)


def find_unsent_flags(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None
) -> list[dict[str, Any]]:
    """Flags that are known for none of the calls of some of the hours (None: of all): flag, calls, hours, first."""
    return _rows(connection, UNSENT, hours)


def find_unknown_fields(connection: duckdb.DuckDBPyConnection, since: dt.datetime) -> list[dict[str, object]]:
    """What the vendor sends and no column is read from, the newest first; `is_news` where it was noticed since then."""
    return (
        connection.execute(
            """SELECT *, noticed_at >= ? AS is_news FROM cdr.unknown_fields
               ORDER BY noticed_at DESC, table_name, name, type""",
            [since],
        )
        .pl()
        .to_dicts()
    )


def find_elsewhere(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime] | None) -> pl.DataFrame:
    """Records of hours that are empty because all they brought is of other hours: partition_hour, and `off`, how far
    the record is from the hour's middle.

    Not those of the last second of the hour before, which is asked for with every hour.
    """
    empty = [hour for (hour,) in connection.execute(_limited(ALL_OUTSIDE, hours)).fetchall()]
    # Of some hours, since pages are large, and one wrong zone is wrong for all.
    pages = read_pages_of(connection, empty[:_SAMPLED]).with_columns(
        window_start=pl.lit(None), window_finish=pl.lit(None)
    )
    # The zone does not matter: a record is compared with the wall clock that it was asked by.
    calls = read_pages(pages, "UTC").calls
    off = pl.col("calldate") - pl.col("partition_hour") - HOUR / 2
    return calls.select("partition_hour", off=off).filter(~pl.col("off").is_between(*_OVERLAP))


def find_silence(connection: duckdb.DuckDBPyConnection, run_id: str) -> str | None:
    """What there is to say of a run that brought no call at all; None where that is no wonder."""
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


def _elsewhere_told(elsewhere: pl.DataFrame, time_zone: str) -> str | None:
    if elsewhere.is_empty():
        return None
    hours, off = elsewhere["partition_hour"].unique().sort(), sorted(elsewhere["off"])
    by = round(2 * (off[len(off) // 2] / HOUR)) / 2
    is_alike = off[-1] - off[0] <= HOUR * 1.5
    how_far = f"all about {abs(by):g} h {'later' if by > 0 else 'earlier'}" if is_alike else "of other hours"
    return (
        f"{len(hours)} hours are empty, though {elsewhere.height} records came for them, {how_far}; the first is "
        f"{hours[0]:%Y-%m-%d %H:%M}: the server reads what it is asked for in another time zone, such as UTC, or "
        f"ALOTECH_TIMEZONE ({time_zone}) is not the tenant's; correct it, or ask AloTech, and load the hours again"
    )


def _strays_told(hours: int, records: int, first: dt.datetime | None) -> str | None:
    """Of hours that brought calls of their own too."""
    if not hours:
        return None
    return (
        f"{records} records came in {hours} h that are of other hours than were asked for, first in "
        f"{first:%Y-%m-%d %H:%M}; they are loaded only if their own hours list them: check ALOTECH_TIMEZONE, then "
        "report it to AloTech"
    )


def _unsent_told(unsent: list[dict[str, Any]]) -> str | None:
    if not unsent:
        return None
    told = [
        f"{flag} is known for none of {found['calls']} {'answered calls' if flag == 'sl' else 'calls'} in "
        f"{found['hours']} h, first in {found['first']:%Y-%m-%d %H:%M}: "
        + ("service levels leave these out, and are NULL without others" if flag == "sl" else "it counts as no")
        for found in unsent
        for flag in (found["flag"],)
    ]
    return f"{'; '.join(told)}; ask AloTech why it is not sent, and load the hours again once it is"


def _limited(query: str, hours: Sequence[dt.datetime] | None) -> str:
    # A literal list: DuckDB skips the row groups of other hours, which it cannot do for a parameter.
    listed = ", ".join(f"TIMESTAMP '{hour}'" for hour in hours or ())
    return query.replace("{hours}", "true" if hours is None else f"partition_hour IN ({listed or 'NULL'})")


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, hours: Sequence[dt.datetime] | None
) -> list[dict[str, object]]:
    return connection.execute(_limited(query, hours)).pl().to_dicts()


def _result(key: AssetKey, name: str, wrong: list[dict[str, object]], what: str) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not wrong,
        description=f"{len(wrong)} {what}: {str(wrong[0])[:300]}" if wrong else None,
        metadata={"wrong": len(wrong)},
    )


def _plausible(aside: list[dict[str, Any]], old_rules: int) -> AssetCheckResult:
    told = [
        f"{found['field']} {found['reason']}: {found['calls']} calls, for instance "
        + ", ".join(f"{sample['key']} of {sample['hour']:%Y-%m-%d %H:%M}" for sample in found["samples"])
        for found in aside
    ]
    return AssetCheckResult(
        asset_key=_CALLS_KEY,
        check_name="values_are_plausible",
        passed=not aside,
        severity=AssetCheckSeverity.WARN,
        description=f"unknown, and in no measure: {'; '.join(told[:10])}" if told else None,
        metadata={"set aside": sum(found["calls"] for found in aside), "hours typed by older rules": old_rules},
    )


def _known(unknown: list[dict[str, object]]) -> AssetCheckResult:
    """Warns of what is new by name, type and first hour; a value may be a caller's secret and is not told."""
    news = [
        f"{field['table_name']}.{field['name']} ({field['type']}, first in {field['partition_hour']})"
        for field in unknown
        if field["is_news"]
    ]
    told = f"new from the vendor, kept in extra and item: {', '.join(news[:10])}" if news else None
    return _warning("fields_are_known", told, {"new": len(news), "unknown": len(unknown)})


def _warning(name: str, told: str | None, metadata: dict[str, int] | None = None) -> AssetCheckResult:
    """Passed where there is nothing to tell."""
    return AssetCheckResult(
        asset_key=_CALLS_KEY,
        check_name=name,
        passed=told is None,
        severity=AssetCheckSeverity.WARN,
        description=told,
        metadata=metadata,
    )
