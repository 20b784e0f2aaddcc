"""The pipeline's own queries on the published copy: how fresh it is, which hours were left out, which calls are open.

They read the copy, because it is what analysts see and needs no lock. Queries on the warehouse are in
`warehouse/hours.py`; the report's queries are in `report/figures.py`.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.lateness import FINAL_AFTER
from cdr_assets.warehouse import open_as, open_calls
from cdr_assets.warehouse.expected import expected_calls
from cdr_assets.warehouse.place import quoted

_LOADED = "(SELECT DISTINCT partition_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL)"


@dataclass(frozen=True)
class Newest:
    """The newest hours in the published copy, in the tenant's wall clock. Only hours that were read whole count.

    `is_there`: the expected hour is loaded. `loaded`: the newest loaded hour, not later than the expected one.
    `with_calls`: the newest hour with a call. `silent`: number of loaded hours since then. `missing`: number of calls
    that those hours should have brought.
    """

    is_there: bool
    loaded: dt.datetime | None
    with_calls: dt.datetime | None
    silent: int
    missing: float


def open_published(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the published copy, in which names like `cdr.calls` and `marts.queue_hourly` work."""
    return open_as("published", path, "READ_ONLY")


# DuckDB lets queries write the log (.wal) of an attached file even without access to other files: a COPY to it would
# make the copy unreadable. EXPLAIN ANALYZE and EXECUTE run a COPY too. CREATE can only reach tables in memory.
_ONLY_READ = (duckdb.StatementType.SELECT, duckdb.StatementType.CREATE)


@contextmanager
def open_for_query(path: Path, sql: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for SQL that somebody else wrote: it reaches the published copy, and no other file or address.

    Our own queries name no files and use `open_published`. Raises OperatorError if the SQL has a statement that does
    not only read.
    """
    with open_published(path) as connection, TemporaryDirectory(prefix="cdr-query-") as spill:
        if any(statement.type not in _ONLY_READ for statement in connection.extract_statements(sql)):
            raise OperatorError(
                "only SELECT and CREATE can be used on the copy; with --allow-files, all of DuckDB's SQL"
            )
        # By default DuckDB spills to the folder .tmp of the working directory, and lets queries read there.
        connection.execute(f"SET temp_directory = {quoted(spill)}")
        connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection


def read_newest(published: Path, expected: dt.datetime | None) -> Newest:
    """The newest hours in the copy. `expected` is the hour that should be loaded; None if there is no such hour yet."""
    if not published.exists():
        return Newest(is_there=False, loaded=None, with_calls=None, silent=0, missing=0.0)
    with open_published(published) as connection:
        # Hours after the expected one are ignored: the expected hour may be missing all the same.
        (loaded,) = _row(
            connection,
            f"SELECT max(partition_hour) FROM {_LOADED} WHERE partition_hour <= $expected OR $expected IS NULL",
            expected=expected,
        )
        # Only loaded hours count: a single call that was fetched by its key does not show that its hour has calls.
        (with_calls,) = _row(
            connection,
            f"SELECT max(partition_hour) FROM cdr.calls SEMI JOIN {_LOADED} USING (partition_hour) "
            "WHERE vanished_at IS NULL",
        )
        silent = [
            hour
            for (hour,) in connection.execute(
                f"SELECT partition_hour FROM {_LOADED} WHERE partition_hour > $with_calls", {"with_calls": with_calls}
            ).fetchall()
        ]
        calls = expected_calls(connection, silent).values()
    return Newest(
        is_there=loaded is not None and loaded == expected,
        loaded=loaded,
        with_calls=with_calls,
        silent=len(silent),
        missing=sum(count for count in calls if count is not None),
    )


def hours_left_out(published: Path) -> set[dt.datetime]:
    """Local hours between the first and the last loaded hour that were never read, or not late enough to be final."""
    if not published.exists():
        return set()
    with open_published(published) as connection:
        rows = connection.execute(
            """SELECT local_hour FROM marts.dim_hours
               WHERE seconds > 0 AND coalesce(fetched_at < ends_at_utc + $final_after, true)
                 AND local_hour BETWEEN (SELECT min(local_hour) FROM marts.dim_hours WHERE is_loaded)
                     AND (SELECT max(local_hour) FROM marts.dim_hours WHERE is_loaded)""",
            {"final_after": FINAL_AFTER},
        ).fetchall()
    return {hour for (hour,) in rows}


def last_read(published: Path) -> dict[dt.date, dt.datetime]:
    """By local day, when its hours were last read whole; only days of which any was."""
    if not published.exists():
        return {}
    with open_published(published) as connection:
        rows = connection.execute(
            "SELECT local_date, max(fetched_at) FROM marts.dim_hours WHERE is_loaded GROUP BY local_date"
        ).fetchall()
    return dict(rows)


def has_open_calls(published: Path, since: dt.datetime) -> bool:
    """True if there is a call without an end whose calldate is `since` (wall clock) or later."""
    if not published.exists():
        return False
    with open_published(published) as connection:
        return bool(open_calls(connection, since))


def _row(connection: duckdb.DuckDBPyConnection, query: str, **given: object) -> tuple[Any, ...]:
    return connection.execute(query, given).fetchone() or (None,)
