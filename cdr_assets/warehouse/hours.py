"""The SQL that stores hours: the pages and calls of an hour are replaced in one transaction, or not at all.

Unchanged calls are not written again, so that marts and copy need not be rebuilt for them. Frames come from
`transforms` through `ingest/loading.py`; opening and locking the file is `place`.

A narrowed fetch (its `filters` are not NULL) lists only some calls of an hour, and is merged by key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from cdr_assets.domain.lateness import FINAL_AFTER, OPEN_FOR
from cdr_assets.domain.schema import CALLS, CDR_PAGES, CHILDREN, LOADS, MORE, REJECTED_RECORDS, UNKNOWN_FIELDS, Table
from cdr_assets.warehouse.place import WarehouseError, transaction

# Imported only where it is called, see `domain/schema.py`.
if TYPE_CHECKING:
    import polars as pl

# Rows that one table may have in cdr.unknown_fields: as many as five loads with the most names that a load lists.
_MOST_UNKNOWN_FIELDS = 1000


# Calls of the hours that are typed again in one portion.
_RETYPED_AT_ONCE = 32_000


@dataclass(frozen=True)
class Load:
    """The content of some hours, ready to be written: frames with the columns of `domain/schema.py`.

    `calls` lacks fetched_at and vanished_at, which depend on the stored calls. `loads` has one row per hour, with the
    columns of cdr.loads except new, changed, vanished, moved, content_hash, loaded_at, run_id and error, and with
    `ends_at`, the instant at which the hour ended. If `filters` is NULL, the hour was read whole and is replaced;
    otherwise its calls are merged by key. `erased_at` is when a caller was last forgotten before the pages were read
    (`last_erasure`). `typed_of` has the hash of each hour's pages and rules (`hashes_of_pages`).
    """

    calls: pl.DataFrame
    children: Mapping[str, pl.DataFrame]
    rejected_records: pl.DataFrame
    unknown_fields: pl.DataFrame
    loads: pl.DataFrame
    erased_at: dt.datetime | None = None
    typed_of: Mapping[dt.datetime, str] = field(default_factory=dict)


def replace_pages(connection: duckdb.DuckDBPyConnection, pages: pl.DataFrame) -> None:
    """Stores the pages (columns of raw.cdr_pages) in place of the stored pages of the same hours and the same filters.

    Of two fetches of an hour, the pages of the later fetch stay, in whichever order they are written.
    """
    connection.register("incoming_pages", pages)
    with transaction(connection):
        # This table has only the hours, not the pages: their bodies are many megabytes and should be written only once.
        connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE newer AS
            SELECT DISTINCT partition_hour, filters FROM incoming_pages AS pages
            WHERE window_start IS NOT NULL AND NOT EXISTS (
                FROM raw.cdr_pages AS later WHERE later.partition_hour = pages.partition_hour
                    AND later.filters IS NOT DISTINCT FROM pages.filters AND later.fetched_at > pages.fetched_at
                    AND later.run_id <> pages.run_id
            )
            """
        )
        _keep_same_pages(connection)
        connection.execute(
            """
            DELETE FROM raw.cdr_pages AS old
            WHERE partition_hour IN (SELECT partition_hour FROM newer) AND EXISTS (
                FROM newer WHERE newer.partition_hour = old.partition_hour
                    AND newer.filters IS NOT DISTINCT FROM old.filters
            )
            """
        )
        _insert(
            connection,
            CDR_PAGES,
            """SELECT pages.* FROM incoming_pages AS pages SEMI JOIN newer
               ON pages.partition_hour = newer.partition_hour AND pages.filters IS NOT DISTINCT FROM newer.filters
               WHERE window_start IS NOT NULL""",
        )
        if pages["window_start"].null_count():
            _replace_pages_of_keys(connection)
    connection.unregister("incoming_pages")


def _keep_same_pages(connection: duckdb.DuckDBPyConnection) -> None:
    """Writes only the times of fetches that brought the stored records again, and takes their hours out of `newer`."""
    hashes = f"""
        SELECT partition_hour, {_HASH_OF_PAGES} AS pages FROM %s
        WHERE partition_hour IN (SELECT partition_hour FROM newer) AND filters IS NULL GROUP BY partition_hour
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE same_hours AS
            SELECT partition_hour FROM ({hashes % "incoming_pages"}) JOIN ({hashes % "raw.cdr_pages"})
                USING (partition_hour, pages)"""
    )
    connection.execute(
        """UPDATE raw.cdr_pages AS stored
           SET requests = pages.requests, fetched_at = pages.fetched_at, run_id = pages.run_id
           FROM incoming_pages AS pages SEMI JOIN same_hours USING (partition_hour)
           WHERE stored.partition_hour = pages.partition_hour AND stored.window_start = pages.window_start
             AND stored.page_number = pages.page_number AND stored.filters IS NULL AND pages.filters IS NULL"""
    )
    connection.execute("DELETE FROM newer WHERE filters IS NULL AND partition_hour IN (FROM same_hours)")


def drop_pages(connection: duckdb.DuckDBPyConnection, days: int) -> None:
    """Deletes the pages that were fetched more than `days` days ago. Their calls stay."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    connection.execute("DELETE FROM raw.cdr_pages WHERE fetched_at < ?", [before])


def _replace_pages_of_keys(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        -- A run writes its pages in portions, so keep the earlier ones of the same run.
        DELETE FROM raw.cdr_pages WHERE window_start IS NULL AND (filters, run_id) IN (
            SELECT (old.filters, old.run_id) FROM raw.cdr_pages AS old JOIN incoming_pages AS new USING (filters)
            WHERE old.window_start IS NULL AND new.window_start IS NULL AND old.run_id <> new.run_id
        )
        """
    )
    _insert(
        connection,
        CDR_PAGES,
        # A page without a record means that the API knows no call with this key: there is nothing to keep.
        "FROM incoming_pages WHERE window_start IS NULL AND record_count > 0",
    )


def count_records(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> dict[dt.datetime, int]:
    """The number of records in the stored pages of each hour; hours that were never fetched whole are left out."""
    return _sum_of_pages(connection, "record_count", hours)


def page_sizes(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> dict[dt.datetime, int]:
    """The bytes of the stored pages of each hour, uncompressed; hours that were never fetched whole are left out."""
    return _sum_of_pages(connection, "body_size", hours)


def _sum_of_pages(
    connection: duckdb.DuckDBPyConnection, column: str, hours: Sequence[dt.datetime]
) -> dict[dt.datetime, int]:
    return dict(
        connection.execute(
            f"""SELECT partition_hour, sum({column})::BIGINT FROM raw.cdr_pages
               WHERE partition_hour IN (SELECT unnest(?)) AND filters IS NULL GROUP BY ALL""",
            [list(hours)],
        ).fetchall()
    )


def items_in(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> dict[str, dict[dt.datetime, int]]:
    """By child table, the number of items that the listed calls of each hour have."""
    sums = ", ".join(f"coalesce(sum({name}_count), 0)::BIGINT" for name in CHILDREN)
    rows = connection.execute(
        f"""SELECT partition_hour, {sums} FROM cdr.calls
            WHERE partition_hour IN (SELECT unnest(?)) AND vanished_at IS NULL GROUP BY partition_hour""",
        [list(hours)],
    ).fetchall()
    return {name: {row[0]: row[place] for row in rows} for place, name in enumerate(CHILDREN, 1)}


def read_pages_of(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> pl.DataFrame:
    """The stored pages of these hours' whole fetches (columns of raw.cdr_pages), in any order."""
    return connection.execute(
        "SELECT * FROM raw.cdr_pages WHERE partition_hour IN (SELECT unnest(?)) AND filters IS NULL", [list(hours)]
    ).pl()


# A hash over the pages of an hour's whole fetch: it is the same if they have the same records.
_HASH_OF_PAGES = """md5(string_agg(
    ROW(page_number, arrays, window_start, window_finish, record_count, content_hash)::VARCHAR,
    ' ' ORDER BY window_start, page_number
))"""

# One row per hour: a hash of the pages of its whole fetch and of $rules, and what cdr.loads says of the fetch.
_OF_PAGES = f"""
    SELECT partition_hour,
           md5($rules || {_HASH_OF_PAGES}) AS typed_of,
           max(fetched_at) AS fetched_at, sum(requests)::BIGINT AS requests,
           (sum(requests) - count(*))::BIGINT AS retries, count(*) AS pages
    FROM raw.cdr_pages WHERE partition_hour IN (SELECT unnest($hours)) AND filters IS NULL GROUP BY partition_hour
"""


def hashes_of_pages(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime], rules: str
) -> dict[dt.datetime, str]:
    """A hash for each of these hours: it is the same if the same pages are typed by the same rules."""
    rows = connection.execute(
        f"SELECT partition_hour, typed_of FROM ({_OF_PAGES})", {"rules": rules, "hours": list(hours)}
    )
    return dict(rows.fetchall())


def read_narrowed_pages(connection: duckdb.DuckDBPyConnection, run_id: str) -> pl.DataFrame:
    """The pages of a run's narrowed fetches (columns of raw.cdr_pages), in the order in which they were fetched."""
    return connection.execute(
        "SELECT * FROM raw.cdr_pages WHERE run_id = ? AND filters IS NOT NULL ORDER BY fetched_at", [run_id]
    ).pl()


def open_calls(connection: duckdb.DuckDBPyConnection, since: dt.datetime) -> dict[str, dt.datetime]:
    """Stored calls without an end whose calldate is `since` (wall clock) or later: key to partition_hour."""
    return dict(
        connection.execute(
            """SELECT key, partition_hour FROM cdr.calls
               WHERE hangupdate IS NULL AND vanished_at IS NULL AND calldate >= ? ORDER BY ALL""",
            [since],
        ).fetchall()
    )


def last_erasure(connection: duckdb.DuckDBPyConnection) -> dt.datetime | None:
    """When a caller was last forgotten."""
    row = connection.execute("SELECT max(began_at) FROM cdr.erasures").fetchone()
    began_at: dt.datetime | None = row[0] if row else None
    return began_at


def load_hours(connection: duckdb.DuckDBPyConnection, loaded: Load, run_id: str) -> pl.DataFrame:
    """Replaces the stored hours by those in `loaded`, or merges narrowed fetches; returns the new rows of cdr.loads.

    - New and changed calls are written; unchanged calls stay as they are.
    - In hours that were read whole, stored calls that are no longer listed are kept and marked as vanished.
    - A call that is stored in another hour moves to the hour that lists it now. It moves to an earlier hour only after
      its old hour stopped listing it: if two hours list a key, the call belongs to the later hour.
    - The later fetch of an hour wins, in whichever order fetches are loaded.
    - An array that was not requested stays as it is stored.
    - Hours whose marts must be built again are added to cdr.stale_hours.

    Raises WarehouseError if a caller was forgotten after the pages were read: the calls may be the caller's.
    """
    if last_erasure(connection) != loaded.erased_at:
        raise WarehouseError(
            "a caller was forgotten while these hours were read, so they were not loaded; run them again"
        )
    now = dt.datetime.now(dt.UTC)
    with _registered(connection, loaded), transaction(connection):
        _compare(connection)
        _note_stale_hours(connection)
        _write_calls(connection, loaded.children, now)
        _write_rejected(connection)
        _write_unknown_fields(connection, now)
        loads = _write_loads(connection, now, run_id)
        _note_typed(connection, loaded.typed_of)
        return loads


def load_same_hours(
    connection: duckdb.DuckDBPyConnection, ends: Mapping[dt.datetime, dt.datetime], rules: str, run_id: str
) -> pl.DataFrame:
    """Loads those of the hours whose stored pages are the same as when their calls were typed: no call changes.

    `ends` has the hours and the instants at which they end. Writes what `load_hours` would write for these hours, and
    returns the same: their new rows of cdr.loads.
    """
    import polars as pl

    connection.register(
        "ends",
        pl.DataFrame(
            {"partition_hour": list(ends), "ends_at": list(ends.values())},
            schema={"partition_hour": pl.Datetime("us"), "ends_at": pl.Datetime("us", "UTC")},
        ),
    )
    # What the records became is the same as at the last reading.
    counts = "served, loaded, repeated, outside_window, elsewhere, rejected"
    loads = connection.execute(
        f"""SELECT partition_hour, filters, pages.fetched_at, pages.requests, pages.retries, pages.pages, {counts},
                   ends_at
            FROM ({_OF_PAGES}) AS pages JOIN raw.typed_hours USING (partition_hour, typed_of)
            JOIN (
                FROM cdr.loads WHERE error IS NULL AND filters IS NULL
                QUALIFY row_number() OVER (PARTITION BY partition_hour ORDER BY fetched_at DESC) = 1
            ) AS loads USING (partition_hour)
            JOIN ends USING (partition_hour)""",
        {"rules": rules, "hours": list(ends)},
    ).pl()
    connection.unregister("ends")
    nothing = Load(
        calls=CALLS.polars_schema.to_frame(),
        children={},
        rejected_records=REJECTED_RECORDS.polars_schema.to_frame(),
        unknown_fields=UNKNOWN_FIELDS.polars_schema.to_frame(),
        loads=loads,
    )
    with _registered(connection, nothing), transaction(connection):
        _find_overtaken(connection)
        connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE difference AS
            SELECT key, partition_hour, partition_hour AS listed_hour, partition_hour AS old_partition_hour,
                   content_hash, calls.fetched_at, false AS was_vanished, true AS was_listed, 'same' AS outcome
            FROM cdr.calls AS calls JOIN incoming USING (partition_hour) WHERE vanished_at IS NULL
            """
        )
        _note_stale_hours(connection)
        return _write_loads(connection, dt.datetime.now(dt.UTC), run_id)


@contextmanager
def _registered(connection: duckdb.DuckDBPyConnection, loaded: Load) -> Iterator[None]:
    """Registers the frames under the names that the statements below use."""
    frames = {
        # Sorted, so that a condition on time skips most of an hour; by polars, because DuckDB sorts wide rows slowly.
        "incoming_calls": loaded.calls.sort("partition_hour", "calldate", "key"),
        "incoming_loads": loaded.loads,
        "incoming_rejected": loaded.rejected_records,
        "incoming_unknown": loaded.unknown_fields,
    }
    for name, frame in frames.items():
        connection.register(name, frame)
    try:
        yield
    finally:
        for name in frames:
            connection.unregister(name)


def hours_to_retype(connection: duckdb.DuckDBPyConnection) -> tuple[list[dt.datetime], int]:
    """The next portion of the hours that an older version typed, and how many hours are left after it."""
    rows = connection.execute(
        """
        WITH counted AS (
            SELECT partition_hour, count(calls.key) AS records
            FROM raw.hours_to_retype LEFT JOIN cdr.calls AS calls USING (partition_hour) GROUP BY ALL
        )
        SELECT partition_hour, sum(records) OVER (ORDER BY partition_hour) - records < ? FROM counted ORDER BY ALL
        """,
        [_RETYPED_AT_ONCE],
    ).fetchall()
    some = [hour for hour, is_next in rows if is_next]
    return some, len(rows) - len(some)


def read_pages_to_retype(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The stored pages of the hours (columns of raw.cdr_pages): those of loaded whole fetches, and of narrowed fetches.

    Both frames are in the order in which the pages were fetched.
    """
    whole, narrowed = (
        connection.execute(
            f"""SELECT * FROM raw.cdr_pages AS pages WHERE partition_hour IN (SELECT unnest($hours)) AND {which}
                ORDER BY fetched_at""",
            {"hours": list(hours)},
        ).pl()
        for which in (
            """filters IS NULL AND fetched_at <= (
                SELECT max(fetched_at) FROM cdr.loads
                WHERE loads.partition_hour = pages.partition_hour AND error IS NULL AND filters IS NULL
            )""",
            "filters IS NOT NULL",
        )
    )
    return whole, narrowed


def retype_hours(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Load],
    hours: Sequence[dt.datetime],
    set_aside: Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]],
) -> int:
    """Writes the hours' calls as typed by today's rules; returns how many hours have calls without stored pages.

    One transaction. `parts` are the whole hours, then the narrowed fetches in their order. If a call is in no part,
    because its pages were deleted, `set_aside` (see `transforms`) removes the values that cannot be true, and its hour
    is added to cdr.hours_without_pages. In cdr.loads, only the counts that depend on the rules are corrected. No hour
    is marked as stale, because the migration has all marts built from scratch.
    """
    now = dt.datetime.now(dt.UTC)
    with transaction(connection):
        connection.execute("CREATE OR REPLACE TEMP TABLE retyped (key VARCHAR)")
        connection.execute("CREATE OR REPLACE TEMP TABLE unknown_now AS FROM cdr.unknown_fields LIMIT 0")
        for part in parts:
            with _registered(connection, part):
                _compare(connection)
                _write_calls(connection, part.children, now)
                _write_items_again(connection, part.children)
                _write_rejected(connection)
                _write_unknown_fields(connection, now)
                connection.execute("INSERT INTO unknown_now BY NAME FROM incoming_unknown")
                _correct_loads(connection)
                # If today's rules reject a call's record, the call is marked as vanished.
                connection.execute("INSERT INTO retyped SELECT key FROM difference WHERE outcome <> 'left alone'")
        _drop_fields_read_now(connection, hours)
        without_pages = _set_aside_stored(connection, hours, set_aside)
        connection.execute(
            """INSERT INTO cdr.hours_without_pages
               SELECT partition_hour, count(*), $now FROM left_over WHERE vanished_at IS NULL GROUP BY ALL""",
            {"now": now},
        )
        connection.execute(
            "DELETE FROM raw.hours_to_retype WHERE partition_hour IN (SELECT unnest($hours))", {"hours": list(hours)}
        )
    return without_pages


def _drop_fields_read_now(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> None:
    """Drops the unknown fields that today's rules read in the hours (those of `unknown_now` they do not read)."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE judged_again AS
        SELECT unknown.rowid AS row, min(unknown_now.partition_hour) AS partition_hour
        FROM cdr.unknown_fields AS unknown LEFT JOIN unknown_now USING (table_name, name, type)
        WHERE name <> $more AND unknown.partition_hour IN (SELECT unnest($hours))
          -- Without pages, nobody can judge.
          AND unknown.partition_hour IN (SELECT partition_hour FROM raw.cdr_pages)
        GROUP BY ALL
        """,
        {"more": MORE, "hours": list(hours)},
    )
    connection.execute(
        """UPDATE cdr.unknown_fields SET partition_hour = judged_again.partition_hour FROM judged_again
           WHERE unknown_fields.rowid = row AND judged_again.partition_hour IS NOT NULL"""
    )
    connection.execute(
        "DELETE FROM cdr.unknown_fields WHERE rowid IN (SELECT row FROM judged_again WHERE partition_hour IS NULL)"
    )


def _write_items_again(connection: duckdb.DuckDBPyConnection, children: Mapping[str, pl.DataFrame]) -> None:
    """Writes the items of unchanged calls again: new rules may read them differently, and no hash shows it."""
    for name, table in CHILDREN.items():
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE same AS
            SELECT key, calls.partition_hour FROM incoming_calls AS calls JOIN difference USING (key, partition_hour)
            WHERE outcome = 'same' AND {name}_count IS NOT NULL
            """
        )
        connection.execute(
            f"""DELETE FROM {table.full_name} WHERE partition_hour IN (SELECT partition_hour FROM same)
                AND key IN (SELECT key FROM same)"""
        )
        _insert_items(connection, table, children[name], "same")


def _set_aside_stored(
    connection: duckdb.DuckDBPyConnection,
    hours: Sequence[dt.datetime],
    set_aside: Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]],
) -> int:
    """Sets aside values in the stored calls that were not typed again (temporary table `left_over`).

    Returns the number of hours with such calls, vanished calls not counted.
    """
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE left_over AS
           FROM cdr.calls ANTI JOIN retyped USING (key) WHERE partition_hour IN (SELECT unnest($hours))""",
        {"hours": list(hours)},
    )
    calls = connection.execute("FROM left_over").pl()
    judged, aside = set_aside(calls)
    columns = aside["name"].unique().to_list()
    if columns:
        connection.register("judged", judged)
        connection.register("aside", aside.join(calls.with_row_index("row").select("row", "key"), on="row"))
        instants = [f"{name}_utc" for name in columns if f"{name}_utc" in calls.columns]
        originals = " ".join(f"WHEN '{name}' THEN to_json(calls.{name})" for name in columns)
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE judged_again AS
            SELECT judged.* REPLACE (
                json_merge_patch(coalesce(extra, '{{}}'), told.originals) AS extra, told.reasons AS set_aside
            )
            FROM judged JOIN (
                SELECT key, json_group_object(name, CASE name {originals} END) AS originals,
                       json_group_object(name, reason) AS reasons
                FROM aside JOIN left_over AS calls USING (key) GROUP BY key
            ) AS told USING (key)
            """
        )
        connection.execute(
            f"""UPDATE cdr.calls SET {", ".join(f"{name} = better.{name}" for name in [*columns, *instants])},
                    extra = better.extra, set_aside = better.set_aside
                FROM judged_again AS better
                WHERE calls.partition_hour = better.partition_hour AND calls.key = better.key"""
        )
        connection.unregister("judged")
        connection.unregister("aside")
    return calls.filter(calls["vanished_at"].is_null())["partition_hour"].n_unique()


def _correct_loads(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""
        UPDATE cdr.loads SET loaded = incoming.loaded, rejected = incoming.rejected, repeated = incoming.repeated,
            outside_window = incoming.outside_window, elsewhere = incoming.elsewhere, content_hash = hashes.content_hash
        FROM incoming JOIN ({_HASHES}) AS hashes USING (partition_hour)
        WHERE loads.partition_hour = incoming.partition_hour AND loads.fetched_at = incoming.fetched_at
          AND loads.error IS NULL AND loads.filters IS NULL AND incoming.filters IS NULL
        """
    )


def add_failed_fetches(
    connection: duckdb.DuckDBPyConnection, errors: Mapping[dt.datetime, str], run_id: str, filters: str | None
) -> None:
    """Adds a row with the error to cdr.loads for each hour whose fetch or load failed. Changes nothing else."""
    import polars as pl

    now = dt.datetime.now(dt.UTC)
    rows = pl.DataFrame(
        {"partition_hour": list(errors), "error": list(errors.values())},
        schema={"partition_hour": pl.Datetime("us"), "error": pl.String},
    ).with_columns(
        fetched_at=pl.lit(now), loaded_at=pl.lit(now), run_id=pl.lit(run_id), filters=pl.lit(filters, pl.String)
    )
    connection.register("failed_fetches", rows)
    connection.execute("INSERT INTO cdr.loads BY NAME SELECT * FROM failed_fetches")
    connection.unregister("failed_fetches")


def hours_loaded_by(connection: duckdb.DuckDBPyConnection, run_id: str) -> set[dt.datetime]:
    """The hours that the run has loaded, including those of narrowed fetches."""
    rows = connection.execute(
        "SELECT DISTINCT partition_hour FROM cdr.loads WHERE run_id = ? AND error IS NULL", [run_id]
    ).fetchall()
    return {hour for (hour,) in rows}


def listed_by(connection: duckdb.DuckDBPyConnection, run_ids: Sequence[str]) -> tuple[int, int, int, int]:
    """Sums over the hours that these runs loaded whole: calls, new calls, changed calls, rejected records."""
    return connection.execute(
        """SELECT coalesce(sum(loaded), 0)::BIGINT, coalesce(sum(new), 0)::BIGINT, coalesce(sum(changed), 0)::BIGINT,
               coalesce(sum(rejected), 0)::BIGINT
           FROM cdr.loads WHERE run_id IN (SELECT unnest(?)) AND error IS NULL AND filters IS NULL""",
        [list(run_ids)],
    ).fetchall()[0]


def hours_never_loaded(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> set[dt.datetime]:
    """The hours in `hours` that were never loaded whole."""
    rows = connection.execute(
        """SELECT hour FROM (SELECT unnest(?) AS hour)
           ANTI JOIN (FROM cdr.loads WHERE error IS NULL AND filters IS NULL) AS loads ON hour = partition_hour""",
        [list(hours)],
    ).fetchall()
    return {hour for (hour,) in rows}


def stored_calls(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime], keys: pl.Series
) -> dict[str, pl.DataFrame]:
    """Rows of `calls` and its child tables, by table name: those of these hours, and of these keys in any hour."""
    connection.register("asked_keys", keys.alias("key").to_frame())
    # With the hours of the keys as a condition, DuckDB skips the row groups of all other hours in the large tables.
    places = """SELECT partition_hour FROM cdr.calls WHERE key IN (SELECT key FROM asked_keys)
                UNION SELECT unnest($hours)"""
    return {
        table.name: connection.execute(
            f"""SELECT * FROM {table.full_name} WHERE partition_hour IN ({places})
                AND (partition_hour IN (SELECT unnest($hours)) OR key IN (SELECT key FROM asked_keys))""",
            {"hours": list(hours)},
        ).pl()
        for table in (CALLS, *CHILDREN.values())
    }


def calls_of(connection: duckdb.DuckDBPyConnection, keys: pl.Series) -> list[tuple[str, dt.datetime, dt.datetime]]:
    """The stored calls with these keys: key, partition_hour and fetched_at."""
    return connection.execute(
        "SELECT key, partition_hour, fetched_at FROM cdr.calls WHERE key IN (SELECT unnest(?)) ORDER BY ALL",
        [keys.to_list()],
    ).fetchall()


def errors_of(connection: duckdb.DuckDBPyConnection, *run_ids: str) -> dict[dt.datetime, str]:
    """The errors of the runs: hour to its last error."""
    return dict(
        connection.execute(
            """SELECT partition_hour, error FROM cdr.loads
               WHERE run_id IN (SELECT unnest(?)) AND error IS NOT NULL ORDER BY loaded_at""",
            [list(run_ids)],
        ).fetchall()
    )


def mark_stale(connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]) -> None:
    """Marks the hours as stale, so that the next build rebuilds their marts."""
    connection.execute(
        """INSERT INTO cdr.stale_hours
           FROM (SELECT unnest($hours), reason FROM (VALUES ('partition'), ('touched')) AS reasons (reason))
           EXCEPT FROM cdr.stale_hours""",
        {"hours": list(hours)},
    )


def mark_calls_stale(connection: duckdb.DuckDBPyConnection, keys: pl.Series) -> None:
    """Marks the hours of these stored calls as stale, because their texts are about to change."""
    connection.register("changing", keys.alias("key").to_frame())
    connection.execute(
        f"""
        INSERT INTO cdr.stale_hours
        WITH calls AS (FROM cdr.calls SEMI JOIN changing USING (key)),
        spans AS (
            SELECT calldate, queuedate, greatest(hangupdate, talkdate, queuedate, calldate) AS ended FROM calls
        )
        (SELECT hour, 'touched' FROM ({_TOUCHED}) WHERE hour IS NOT NULL
         UNION SELECT partition_hour, 'partition' FROM calls)
        EXCEPT FROM cdr.stale_hours
        """
    )
    connection.unregister("changing")


def clear_stale_hours(connection: duckdb.DuckDBPyConnection) -> None:
    """Empties cdr.stale_hours after the marts of all stale hours were built, and notes the small marts for the copy."""
    connection.execute("DELETE FROM cdr.stale_hours")
    connection.execute("INSERT INTO cdr.unpublished_hours SELECT 'marts', NULL EXCEPT FROM cdr.unpublished_hours")


def _find_overtaken(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the temporary table `incoming`, with a row per load."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE incoming AS
        SELECT *,
            -- A later fetch of the whole hour is already loaded, so this one is ignored.
            EXISTS (
                FROM cdr.loads AS later WHERE later.partition_hour = incoming_loads.partition_hour
                    AND later.error IS NULL AND later.filters IS NULL AND later.fetched_at > incoming_loads.fetched_at
            ) AS is_overtaken
        FROM incoming_loads
        """
    )


def _compare(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the temporary tables `incoming` (a row per load) and `difference` (a row per call listed now or stored)."""
    _find_overtaken(connection)
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE difference AS
        WITH listed AS (
            SELECT key, content_hash, partition_hour, fetched_at
            FROM incoming_calls JOIN incoming USING (partition_hour) WHERE NOT is_overtaken
            -- A key that two hours list is one call, which belongs to the later hour: see `stays`.
            QUALIFY row_number() OVER (PARTITION BY key ORDER BY partition_hour DESC) = 1
        ),
        stored AS (
            SELECT key, content_hash, partition_hour, calls.fetched_at, vanished_at,
                   filters IS NULL AND NOT is_overtaken AND calls.fetched_at <= incoming.fetched_at AS is_expected
            FROM cdr.calls AS calls JOIN incoming USING (partition_hour)
        ),
        elsewhere AS (
            SELECT key, content_hash, partition_hour, fetched_at, vanished_at, false FROM cdr.calls
            WHERE key IN (SELECT key FROM listed ANTI JOIN stored USING (key))
              AND partition_hour NOT IN (SELECT partition_hour FROM incoming)
        ),
        known AS (FROM stored UNION ALL FROM elsewhere),
        merged AS (
            SELECT
                key,
                listed.partition_hour AS listed_hour,
                known.partition_hour AS old_partition_hour,
                listed.fetched_at,
                vanished_at IS NOT NULL AS was_vanished,
                is_expected,
                -- The stored call stays if it was fetched later, or if a later hour holds it that may still list it.
                -- Otherwise, if two hours list a key, reading the earlier hour would take the call away from the later.
                coalesce(
                    NOT is_expected AND known.partition_hour >= listed.partition_hour AND (
                        known.fetched_at > listed.fetched_at
                        OR known.partition_hour > listed.partition_hour AND vanished_at IS NULL
                    ),
                    false
                ) AS stays,
                known.content_hash AS old_content_hash,
                -- For an array that was not requested, keep the stored part of the hash.
                if(contains(listed.content_hash, '-') AND known.key IS NOT NULL,
                   array_to_string(list_transform(
                       list_zip(string_split(listed.content_hash, '.'), string_split(known.content_hash, '.')),
                       lambda part: if(part[1] = '-', part[2], part[1])
                   ), '.'),
                   listed.content_hash
                ) AS content_hash
            FROM listed FULL JOIN known USING (key)
        )
        SELECT
            key,
            if(stays, old_partition_hour, coalesce(listed_hour, old_partition_hour)) AS partition_hour,
            listed_hour,
            old_partition_hour,
            content_hash,
            fetched_at,
            was_vanished,
            NOT was_vanished AND old_partition_hour IS NOT DISTINCT FROM listed_hour AS was_listed,
            CASE
                WHEN old_partition_hour IS NULL THEN 'new'
                WHEN listed_hour IS NULL THEN if(is_expected AND NOT was_vanished, 'vanished', 'left alone')
                WHEN stays THEN 'left alone'
                WHEN was_listed AND old_content_hash = content_hash THEN 'same'
                ELSE 'changed'
            END AS outcome
        FROM merged
        """
    )


# A call in `spans` (calldate, queuedate, ended) touches the hour of its queue entry, and all hours from its start to
# its end. A call longer than a week has a broken clock, and touches only the first week and the last hour.
_TOUCHED = """
    SELECT unnest(
        generate_series(
            date_trunc('hour', calldate),
            least(date_trunc('hour', ended), date_trunc('hour', calldate) + INTERVAL 7 DAY),
            INTERVAL 1 HOUR
        )
    ) AS hour FROM spans
    UNION SELECT date_trunc('hour', ended) FROM spans
    UNION SELECT date_trunc('hour', queuedate) FROM spans
"""


def _note_stale_hours(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE stale AS
        WITH spans AS (
            SELECT calls.calldate, calls.queuedate,
                   greatest(calls.hangupdate, calls.talkdate, calls.queuedate, calls.calldate) AS ended
            FROM cdr.calls AS calls JOIN difference ON calls.key = difference.key
                AND calls.partition_hour = difference.old_partition_hour
            WHERE outcome IN ('changed', 'vanished')
            UNION ALL
            SELECT calls.calldate, calls.queuedate,
                   greatest(calls.hangupdate, calls.talkdate, calls.queuedate, calls.calldate)
            FROM incoming_calls AS calls JOIN difference USING (key, partition_hour)
            WHERE outcome IN ('new', 'changed')
        ),
        touched AS ({_TOUCHED}),
        -- A call without an end counts as open for a day. Its hour is stale on the first reading after that day.
        expired AS (
            SELECT DISTINCT partition_hour FROM cdr.calls AS calls JOIN incoming USING (partition_hour)
            WHERE filters IS NULL AND hangupdate IS NULL AND vanished_at IS NULL
              AND incoming.fetched_at >= calldate_utc + $open_for AND NOT EXISTS (
                FROM cdr.loads AS before
                WHERE before.partition_hour = calls.partition_hour AND before.error IS NULL
                  AND before.filters IS NULL AND before.fetched_at >= calls.calldate_utc + $open_for
            )
        ),
        -- The marts say whether an hour is loaded, up to when all hours are, and whether an hour is final. So an hour
        -- is stale when it is first read, first read after its end, and first read late enough to be final.
        advanced AS (
            SELECT partition_hour AS hour FROM incoming_loads AS incoming
            LEFT JOIN (
                SELECT partition_hour, max(fetched_at) AS fetched_at FROM cdr.loads
                WHERE error IS NULL AND filters IS NULL GROUP BY ALL
            ) AS before USING (partition_hour)
            WHERE filters IS NULL AND (
                before.fetched_at IS NULL
                OR before.fetched_at < ends_at AND incoming.fetched_at >= ends_at
                OR before.fetched_at < ends_at + $final_after AND incoming.fetched_at >= ends_at + $final_after
            )
        )
        SELECT hour, 'touched' AS reason FROM (FROM touched UNION FROM advanced) WHERE hour IS NOT NULL
        UNION
        SELECT unnest([partition_hour, old_partition_hour]), 'partition' FROM difference
        WHERE outcome IN ('new', 'changed', 'vanished')
        UNION
        SELECT hour, 'partition' FROM advanced
        UNION
        SELECT partition_hour, 'partition' FROM expired
        """,
        {"final_after": FINAL_AFTER, "open_for": OPEN_FOR},
    )
    connection.execute("INSERT INTO cdr.stale_hours (FROM stale WHERE hour IS NOT NULL EXCEPT FROM cdr.stale_hours)")
    connection.execute(
        """INSERT INTO cdr.unpublished_hours
           SELECT 'calls', hour FROM stale WHERE reason = 'partition' AND hour IS NOT NULL
           EXCEPT FROM cdr.unpublished_hours"""
    )


def _write_calls(connection: duckdb.DuckDBPyConnection, children: Mapping[str, pl.DataFrame], now: dt.datetime) -> None:
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE written AS
        SELECT key, listed_hour AS partition_hour, old_partition_hour, content_hash, fetched_at
        FROM difference WHERE outcome IN ('new', 'changed')
        """
    )
    # Stored calls that are about to be replaced. The condition on their hours lets DuckDB skip all other row groups.
    # From a table it knows how few they are; otherwise it would read the keys of the whole history, mostly for nothing.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE old AS
        SELECT key, old_partition_hour AS partition_hour FROM written WHERE old_partition_hour IS NOT NULL
        """
    )
    is_old = "partition_hour IN (SELECT partition_hour FROM old) AND key IN (SELECT key FROM old)"
    # Keep the stored arrays that were not requested this time: their counts here, their rows in kept_… below.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE replaced AS
        SELECT key, {", ".join(f"{name}_count" for name in CHILDREN)} FROM cdr.calls WHERE {is_old}
        """
    )
    for name in CHILDREN:
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE kept_{name} AS
            SELECT child.* REPLACE (calls.partition_hour AS partition_hour)
            FROM (FROM cdr.{name} WHERE {is_old}) AS child
            JOIN incoming_calls AS calls ON child.key = calls.key AND calls.{name}_count IS NULL
            SEMI JOIN written ON calls.key = written.key AND calls.partition_hour = written.partition_hour
            """
        )
    for table in (CALLS, *CHILDREN.values()):
        connection.execute(f"DELETE FROM {table.full_name} WHERE {is_old}")
    vanished = "FROM difference WHERE outcome = 'vanished'"
    connection.execute(
        f"""UPDATE cdr.calls SET vanished_at = $now WHERE partition_hour IN (SELECT old_partition_hour {vanished})
            AND key IN (SELECT key {vanished})""",
        {"now": now},
    )
    counts = ", ".join(f"coalesce(calls.{name}_count, replaced.{name}_count) AS {name}_count" for name in CHILDREN)
    _insert(
        connection,
        CALLS,
        f"""SELECT calls.* REPLACE (written.content_hash AS content_hash, {counts}), written.fetched_at
            FROM incoming_calls AS calls
            JOIN written ON calls.key = written.key AND calls.partition_hour = written.partition_hour
            LEFT JOIN replaced ON replaced.key = written.key""",
    )
    for name, table in CHILDREN.items():
        # Not sorted: they come in the order of the calls, and sorting them takes longer than writing them.
        _insert_items(connection, table, children[name], "written")
        _insert(connection, table, f"FROM kept_{name}")
    connection.execute(
        """DELETE FROM raw.typed_hours WHERE partition_hour IN (
               SELECT unnest([listed_hour, old_partition_hour]) FROM difference
               WHERE outcome IN ('new', 'changed', 'vanished')
           )"""
    )


def _note_typed(connection: duckdb.DuckDBPyConnection, typed_of: Mapping[dt.datetime, str]) -> None:
    """Notes the loaded hours whose calls are now exactly those of their pages: none is stored in another hour, was
    fetched later than these pages, or is not in them."""
    hours = "SELECT unnest(?::TIMESTAMP[]) AS partition_hour, unnest(?::VARCHAR[]) AS typed_of"
    connection.execute(
        """DELETE FROM raw.typed_hours WHERE partition_hour IN (
               SELECT partition_hour FROM incoming WHERE filters IS NULL AND NOT is_overtaken
           )"""
    )
    connection.execute(
        f"""INSERT INTO raw.typed_hours
            SELECT partition_hour, typed_of FROM ({hours}) JOIN written_loads USING (partition_hour)
            SEMI JOIN (FROM incoming WHERE filters IS NULL AND NOT is_overtaken) AS newest USING (partition_hour)
            WHERE moved = 0 AND partition_hour NOT IN (
                SELECT old_partition_hour FROM difference
                WHERE outcome = 'left alone' AND NOT (was_vanished AND listed_hour IS NULL)
            )""",
        [list(typed_of), list(typed_of.values())],
    )


def _write_rejected(connection: duckdb.DuckDBPyConnection) -> None:
    replaced = "partition_hour IN (SELECT partition_hour FROM incoming WHERE filters IS NULL AND NOT is_overtaken)"
    connection.execute(f"DELETE FROM cdr.rejected_records WHERE {replaced}")
    _insert(connection, REJECTED_RECORDS, f"SELECT * FROM incoming_rejected WHERE {replaced}")


def _write_unknown_fields(connection: duckdb.DuckDBPyConnection, now: dt.datetime) -> None:
    # If an older hour is loaded later, it becomes the first hour with the field, but the field is not new.
    connection.execute(
        """
        UPDATE cdr.unknown_fields SET partition_hour = earlier.partition_hour FROM incoming_unknown AS earlier
        WHERE earlier.table_name = unknown_fields.table_name AND earlier.name = unknown_fields.name
          AND earlier.type = unknown_fields.type AND earlier.partition_hour < unknown_fields.partition_hour
        """
    )
    # The number of names is limited, because a server may make up names. MORE stands for the rest, and is reported as
    # new as long as more names come.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE news AS
        WITH told AS (FROM cdr.unknown_fields WHERE name <> $more),
        known AS (SELECT table_name, count(*) AS names FROM told GROUP BY ALL),
        places AS (
            SELECT unknown.*, name = $more OR $most < coalesce(names, 0)
                   + row_number() OVER (PARTITION BY table_name ORDER BY name = $more, name, type) AS is_more
            FROM incoming_unknown AS unknown LEFT JOIN known USING (table_name)
            ANTI JOIN told USING (table_name, name, type)
        )
        SELECT table_name, if(is_more, $more, name) AS name, if(is_more, 'any', type) AS type,
               min(partition_hour) AS partition_hour
        FROM places GROUP BY ALL
        """,
        {"more": MORE, "most": _MOST_UNKNOWN_FIELDS},
    )
    connection.execute(
        "DELETE FROM cdr.unknown_fields WHERE name = ? AND table_name IN (SELECT table_name FROM news WHERE name = ?)",
        [MORE, MORE],
    )
    connection.execute(
        "INSERT INTO cdr.unknown_fields BY NAME SELECT *, $now::TIMESTAMPTZ AS noticed_at FROM news", {"now": now}
    )


# Hash over all calls that an hour of `incoming` holds now: it is equal if the calls are, however they were loaded.
_HASHES = """
    SELECT partition_hour, md5(string_agg(content_hash, ' ' ORDER BY content_hash)) AS content_hash
    FROM cdr.calls WHERE partition_hour IN (SELECT partition_hour FROM incoming) AND vanished_at IS NULL
    GROUP BY ALL
"""


def _write_loads(connection: duckdb.DuckDBPyConnection, now: dt.datetime, run_id: str) -> pl.DataFrame:
    # A call that moves leaves its old hour. That hour's newest load must count it as moved, or it would not balance.
    connection.execute(
        """
        UPDATE cdr.loads SET moved = moved + away.calls
        FROM (SELECT old_partition_hour AS hour, count(*) AS calls FROM difference
              WHERE old_partition_hour <> partition_hour AND NOT was_vanished GROUP BY ALL) AS away
        WHERE loads.partition_hour = away.hour AND error IS NULL AND filters IS NULL AND fetched_at = (
            SELECT max(fetched_at) FROM cdr.loads AS newest
            WHERE newest.partition_hour = away.hour AND newest.error IS NULL AND newest.filters IS NULL
        )
        """
    )
    # If the same pages are loaded a second time, the row is replaced: there is one row per fetch.
    connection.execute(
        "DELETE FROM cdr.loads WHERE (partition_hour, fetched_at) IN "
        "(SELECT (partition_hour, fetched_at) FROM incoming)"
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE written_loads AS
        WITH outcomes AS (
            SELECT partition_hour,
                   count(*) FILTER (outcome IN ('new', 'changed') AND NOT was_listed) AS new,
                   count(*) FILTER (outcome = 'changed' AND was_listed) AS changed,
                   count(*) FILTER (outcome = 'vanished') AS vanished,
                   count(*) FILTER (listed_hour = partition_hour) AS listed
            FROM difference GROUP BY ALL
        ),
        hashes AS ({_HASHES})
        SELECT incoming.* EXCLUDE (ends_at, is_overtaken), $now::TIMESTAMPTZ AS loaded_at, $run_id AS run_id,
               coalesce(new, 0) AS new, coalesce(changed, 0) AS changed, coalesce(vanished, 0) AS vanished,
               -- Calls that are stored in another hour: a later hour that lists the key too, or an hour fetched later.
               if(is_overtaken, 0, loaded - coalesce(listed, 0)) AS moved,
               coalesce(content_hash, md5('')) AS content_hash
        FROM incoming LEFT JOIN outcomes USING (partition_hour) LEFT JOIN hashes USING (partition_hour)
        WHERE filters IS NULL OR new > 0 OR changed > 0
        """,
        {"now": now, "run_id": run_id},
    )
    connection.execute("INSERT INTO cdr.loads BY NAME FROM written_loads")
    connection.execute(
        """DELETE FROM cdr.hours_without_pages
           WHERE partition_hour IN (SELECT partition_hour FROM incoming WHERE filters IS NULL AND NOT is_overtaken)"""
    )
    columns = ", ".join(column.name for column in LOADS.columns if column.name != "error")
    return connection.execute(f"SELECT {columns} FROM written_loads ORDER BY partition_hour").pl()


def _insert_items(connection: duckdb.DuckDBPyConnection, table: Table, items: pl.DataFrame, calls: str) -> None:
    """Inserts the items of the calls in the temporary table named `calls` (key, partition_hour)."""
    import polars as pl

    # A text may be as long as a page, and both a join in DuckDB and converting the frame would copy it. So polars picks
    # the rows by their index, and hands them over in its own memory layout.
    chosen = connection.execute(f"SELECT key, partition_hour FROM {calls}").pl()
    keys = items.select("key", "partition_hour").with_row_index("place")
    places = keys.join(chosen, on=["key", "partition_hour"], how="semi", maintain_order="left")["place"]
    if len(places) < items.height:
        items = items[places]
    connection.register("items", items.to_arrow(compat_level=pl.CompatLevel.newest()))
    _insert(connection, table, "FROM items")
    connection.unregister("items")


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, query: str) -> None:
    connection.execute(f"INSERT INTO {table.full_name} BY NAME {query}")
