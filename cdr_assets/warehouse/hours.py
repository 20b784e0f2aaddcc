"""Hours in the warehouse: pages and calls of an hour are replaced whole, in one transaction, or not at all.

Frames in, SQL here. What did not change is not written again, so that nothing downstream has to be.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from cdr_assets.schema import CALLS, CDR_PAGES, CHILDREN, LOADS, REJECTED_RECORDS, Table
from cdr_assets.warehouse.warehouse import transaction

# Once an hour has been read this long after its end, the nightly look-back has passed it by and its marts are final.
LATE = dt.timedelta(days=3)


@dataclass(frozen=True)
class Loaded:
    """What was read of some hours, ready to be written: frames with schema.py's columns.

    `calls` lacks loaded_at and vanished_at, which depend on what is stored. `loads` has one row per hour, its columns
    those of cdr.loads but new, changed, vanished, moved, loaded_at, run_id and error, and in addition `ends_at`, the
    instant at which the hour ended.
    """

    calls: pl.DataFrame
    children: Mapping[str, pl.DataFrame]
    rejected_records: pl.DataFrame
    loads: pl.DataFrame


def replace_pages(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> None:
    """Replaces the pages of every hour in `pages` (columns of raw.cdr_pages)."""
    connection.register("incoming_pages", pages)
    with transaction(connection):
        connection.execute(
            "DELETE FROM raw.cdr_pages WHERE partition_hour IN (SELECT DISTINCT partition_hour FROM incoming_pages)"
        )
        _insert(connection, CDR_PAGES, "SELECT * FROM incoming_pages")
    connection.unregister("incoming_pages")


def count_records(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime], fetched_by: str | None
) -> dict[dt.datetime, int]:
    """Records in the stored pages of each hour that has pages, of one run's fetch only where `fetched_by` names it."""
    return dict(
        connection.execute(
            """SELECT partition_hour, sum(record_count)::BIGINT FROM raw.cdr_pages
               WHERE partition_hour IN (SELECT unnest($hours)) AND ($run_id IS NULL OR run_id = $run_id)
               GROUP BY ALL""",
            {"hours": list(hours), "run_id": fetched_by},
        ).fetchall()
    )


def read_pages_of(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> pl.DataFrame:
    """The stored pages of the hours (columns of raw.cdr_pages), in order."""
    return connection.execute(
        "SELECT * FROM raw.cdr_pages WHERE partition_hour IN (SELECT unnest(?)) ORDER BY partition_hour, page_number",
        [list(hours)],
    ).pl()


def load_hours(connection: duckdb.DuckDBPyConnection, loaded: Loaded, run_id: str) -> pl.DataFrame:
    """Makes the stored hours equal to what was read, and returns the hours' rows of cdr.loads.

    New and changed calls are written, unchanged ones left alone, vanished ones kept and marked. A call that was
    stored in another hour moves to this one. The hours whose marts are now stale are noted in cdr.stale_hours.
    """
    now = dt.datetime.now(dt.UTC)
    frames = {
        "incoming_calls": loaded.calls,
        "incoming_loads": loaded.loads,
        "incoming_rejected": loaded.rejected_records,
    }
    frames |= {f"incoming_{name}": frame for name, frame in loaded.children.items()}
    for name, frame in frames.items():
        connection.register(name, frame)
    try:
        with transaction(connection):
            _compare(connection)
            _note_stale_hours(connection)
            _write_calls(connection, now)
            _write_rejected(connection)
            return _write_loads(connection, now, run_id)
    finally:
        for name in frames:
            connection.unregister(name)


def add_failed_fetches(connection: duckdb.DuckDBPyConnection, errors: Mapping[dt.datetime, str], run_id: str) -> None:
    """Notes in cdr.loads, hour by hour, why a fetch failed. Nothing else of these hours is touched."""
    now = dt.datetime.now(dt.UTC)
    rows = pl.DataFrame(
        {"partition_hour": list(errors), "error": list(errors.values())},
        schema={"partition_hour": pl.Datetime("us"), "error": pl.String},
    ).with_columns(fetched_at=pl.lit(now), loaded_at=pl.lit(now), run_id=pl.lit(run_id))
    connection.register("failed_fetches", rows)
    connection.execute("INSERT INTO cdr.loads BY NAME SELECT * FROM failed_fetches")
    connection.unregister("failed_fetches")


def loaded_by(connection: duckdb.DuckDBPyConnection, run_id: str) -> set[dt.datetime]:
    """The hours whose calls the run has loaded."""
    rows = connection.execute(
        "SELECT DISTINCT partition_hour FROM cdr.loads WHERE run_id = ? AND error IS NULL", [run_id]
    ).fetchall()
    return {hour for (hour,) in rows}


def errors_of(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[dt.datetime, str]:
    """Why fetches of the run failed, hour by hour."""
    return dict(
        connection.execute(
            "SELECT partition_hour, error FROM cdr.loads WHERE run_id = ? AND error IS NOT NULL", [run_id]
        ).fetchall()
    )


def mark_stale(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> None:
    """Has the marts of the hours built anew."""
    connection.execute(
        """INSERT INTO cdr.stale_hours
           FROM (SELECT unnest($hours), reason FROM (VALUES ('partition'), ('touched')) AS reasons (reason))
           EXCEPT FROM cdr.stale_hours""",
        {"hours": list(hours)},
    )


def clear_stale_hours(connection: duckdb.DuckDBPyConnection) -> None:
    """The marts have taken in every change."""
    connection.execute("DELETE FROM cdr.stale_hours")


def _compare(connection: duckdb.DuckDBPyConnection) -> None:
    """Temporary table `difference`: one row per call listed now or stored before, with what became of it."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE difference AS
        WITH listed AS (
            SELECT key, content_hash, partition_hour FROM incoming_calls
            -- The same key in two hours of one load: the later call date is where it is now.
            QUALIFY row_number() OVER (PARTITION BY key ORDER BY partition_hour DESC) = 1
        ),
        stored AS (
            SELECT key, content_hash, partition_hour, vanished_at FROM cdr.calls
            WHERE partition_hour IN (SELECT partition_hour FROM incoming_loads)
        ),
        elsewhere AS (
            SELECT key, content_hash, partition_hour, vanished_at FROM cdr.calls
            WHERE key IN (SELECT key FROM listed ANTI JOIN stored USING (key))
              AND partition_hour NOT IN (SELECT partition_hour FROM incoming_loads)
        ),
        known AS (FROM stored UNION ALL FROM elsewhere)
        SELECT
            key,
            coalesce(listed.partition_hour, known.partition_hour) AS partition_hour,
            known.partition_hour AS old_partition_hour,
            CASE
                WHEN known.key IS NULL THEN 'new'
                WHEN listed.key IS NULL AND known.vanished_at IS NULL THEN 'vanished'
                WHEN listed.key IS NULL THEN 'gone'
                WHEN known.vanished_at IS NULL AND known.content_hash = listed.content_hash
                    AND known.partition_hour = listed.partition_hour THEN 'same'
                ELSE 'changed'
            END AS outcome
        FROM listed FULL JOIN known USING (key)
        """
    )


def _note_stale_hours(connection: duckdb.DuckDBPyConnection) -> None:
    # The hours of a call: of its start, of its queue entry, and all until its end. Longer than a week is a broken
    # clock: only the first week and the last hour are touched then.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE stale AS
        WITH spans AS (
            SELECT calls.calldate, calls.queuedate,
                   coalesce(calls.hangupdate, calls.talkdate, calls.queuedate, calls.calldate) AS ended
            FROM cdr.calls AS calls JOIN difference ON calls.key = difference.key
                AND calls.partition_hour = difference.old_partition_hour
            WHERE outcome IN ('changed', 'vanished')
            UNION ALL
            SELECT calls.calldate, calls.queuedate,
                   coalesce(calls.hangupdate, calls.talkdate, calls.queuedate, calls.calldate)
            FROM incoming_calls AS calls JOIN difference USING (key, partition_hour)
            WHERE outcome IN ('new', 'changed')
        ),
        touched AS (
            SELECT unnest(
                generate_series(
                    date_trunc('hour', calldate),
                    least(date_trunc('hour', ended), date_trunc('hour', calldate) + INTERVAL 7 DAY),
                    INTERVAL 1 HOUR
                )
            ) AS hour FROM spans
            UNION SELECT date_trunc('hour', ended) FROM spans
            UNION SELECT date_trunc('hour', queuedate) FROM spans
        ),
        -- An hour's marts say whether it is final, so that they are stale on the load that makes it so.
        finalised AS (
            SELECT partition_hour AS hour FROM incoming_loads AS incoming
            WHERE incoming.fetched_at >= incoming.ends_at + $late AND NOT EXISTS (
                FROM cdr.loads AS before
                WHERE before.partition_hour = incoming.partition_hour AND before.error IS NULL
                  AND before.fetched_at >= incoming.ends_at + $late
            )
        )
        SELECT hour, 'touched' AS reason FROM (FROM touched UNION FROM finalised) WHERE hour IS NOT NULL
        UNION
        SELECT unnest([partition_hour, old_partition_hour]), 'partition' FROM difference
        WHERE outcome IN ('new', 'changed', 'vanished')
        UNION
        SELECT hour, 'partition' FROM finalised
        """,
        {"late": LATE},
    )
    connection.execute("INSERT INTO cdr.stale_hours (FROM stale WHERE hour IS NOT NULL EXCEPT FROM cdr.stale_hours)")


def _write_calls(connection: duckdb.DuckDBPyConnection, now: dt.datetime) -> None:
    written = "SELECT key FROM difference WHERE outcome IN ('new', 'changed')"
    # Hours that hold a stored call to be replaced or marked: the filter lets DuckDB skip all other row groups.
    old_hours = "SELECT old_partition_hour FROM difference WHERE outcome IN ('changed', 'vanished')"
    for table in (CALLS, *CHILDREN.values()):
        connection.execute(
            f"DELETE FROM {table.full_name} WHERE partition_hour IN ({old_hours}) AND key IN ({written})"
        )
    connection.execute(
        f"""UPDATE cdr.calls SET vanished_at = $now WHERE partition_hour IN ({old_hours})
            AND key IN (SELECT key FROM difference WHERE outcome = 'vanished')""",
        {"now": now},
    )
    of_written_calls = "JOIN difference USING (key, partition_hour) WHERE outcome IN ('new', 'changed')"
    connection.execute(
        f"""INSERT INTO cdr.calls BY NAME
            SELECT calls.*, $now::TIMESTAMPTZ AS loaded_at FROM incoming_calls AS calls {of_written_calls}
            ORDER BY partition_hour, calldate, key""",
        {"now": now},
    )
    for name, table in CHILDREN.items():
        _insert(
            connection,
            table,
            f"SELECT child.* FROM incoming_{name} AS child {of_written_calls} ORDER BY partition_hour, key, position",
        )


def _write_rejected(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "DELETE FROM cdr.rejected_records WHERE partition_hour IN (SELECT partition_hour FROM incoming_loads)"
    )
    _insert(connection, REJECTED_RECORDS, "SELECT * FROM incoming_rejected")


def _write_loads(connection: duckdb.DuckDBPyConnection, now: dt.datetime, run_id: str) -> pl.DataFrame:
    # A call that moved is missing in its old hour from now on, which that hour's newest load has to account for.
    connection.execute(
        """
        UPDATE cdr.loads SET moved = moved + away.calls
        FROM (SELECT old_partition_hour AS hour, count(*) AS calls FROM difference
              WHERE old_partition_hour <> partition_hour GROUP BY ALL) AS away
        WHERE loads.partition_hour = away.hour AND error IS NULL AND fetched_at = (
            SELECT max(fetched_at) FROM cdr.loads AS newest
            WHERE newest.partition_hour = away.hour AND newest.error IS NULL
        )
        """
    )
    # Loading a fetch a second time (the pages are kept) replaces its row: one row a fetch.
    connection.execute(
        "DELETE FROM cdr.loads WHERE (partition_hour, fetched_at) IN "
        "(SELECT (partition_hour, fetched_at) FROM incoming_loads)"
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE written_loads AS
        SELECT incoming_loads.* EXCLUDE (ends_at), $now::TIMESTAMPTZ AS loaded_at, $run_id AS run_id,
               coalesce(new, 0) AS new, coalesce(changed, 0) AS changed, coalesce(vanished, 0) AS vanished,
               -- The same key in two hours of this very load.
               incoming_loads.loaded - coalesce(listed, 0) AS moved
        FROM incoming_loads LEFT JOIN (
            SELECT partition_hour,
                   count(*) FILTER (outcome = 'new') AS new,
                   count(*) FILTER (outcome = 'changed') AS changed,
                   count(*) FILTER (outcome = 'vanished') AS vanished,
                   count(*) FILTER (outcome IN ('new', 'changed', 'same')) AS listed
            FROM difference GROUP BY partition_hour
        ) USING (partition_hour)
        """,
        {"now": now, "run_id": run_id},
    )
    connection.execute("INSERT INTO cdr.loads BY NAME FROM written_loads")
    columns = ", ".join(column.name for column in LOADS.columns if column.name != "error")
    return connection.execute(f"SELECT {columns} FROM written_loads ORDER BY partition_hour").pl()


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, query: str) -> None:
    connection.execute(f"INSERT INTO {table.full_name} BY NAME {query}")
