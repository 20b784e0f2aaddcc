"""What the pipeline reads from the published copy: how fresh it is, which hours were left out, which calls are open.

From the copy and not from the warehouse: it is what analysts see, and reading it waits for no lock.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from cdr_assets.domain.lateness import FINAL_AFTER
from cdr_assets.warehouse import open_as, open_calls
from cdr_assets.warehouse.expected import expected_calls

_LOADED = "(SELECT DISTINCT partition_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL)"


@dataclass(frozen=True)
class Newest:
    """What the published copy holds of late, in local hours that were read whole.

    `is_there`: the hour that is asked about. `loaded`: the newest hour up to it. `with_calls`: the newest hour with a
    call. `silent`: the hours without a call since then. `missing`: the calls that those should have brought.
    """

    is_there: bool
    loaded: dt.datetime | None
    with_calls: dt.datetime | None
    silent: int
    missing: float


def open_published(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the published copy; `cdr.calls` and `marts.queue_hourly` can be written as they are."""
    return open_as("published", path, "READ_ONLY")


def read_newest(published: Path, expected: dt.datetime | None) -> Newest:
    """What the copy holds of late; `expected` is the hour that should be there."""
    if not published.exists():
        return Newest(is_there=False, loaded=None, with_calls=None, silent=0, missing=0.0)
    with open_published(published) as connection:
        # Hours that are newer than the expected one don't make up for it.
        (loaded,) = _row(
            connection,
            f"SELECT max(partition_hour) FROM {_LOADED} WHERE partition_hour <= $expected OR $expected IS NULL",
            expected=expected,
        )
        # Of loaded hours: a single call that was asked for by its key says nothing of its hour.
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
    """Local hours that were last read before their look-backs were over, or never though others on both sides were."""
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


def has_open_calls(published: Path, since: dt.datetime) -> bool:
    """Whether there is a call that began since then (local) and had not ended."""
    if not published.exists():
        return False
    with open_published(published) as connection:
        return bool(open_calls(connection, since))


def _row(connection: duckdb.DuckDBPyConnection, query: str, **given: object) -> tuple[Any, ...]:
    return connection.execute(query, given).fetchone() or (None,)
