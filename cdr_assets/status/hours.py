"""The state of each hour: the rows of the map that `cdr status`, the report and `published/cdr` show.

When an hour is final is decided in `dim_hours.sql`; this module reads that and adds what failed and what never came.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import duckdb

from cdr_assets.domain.hours import HOUR, ends_at, is_skipped
from cdr_assets.domain.settings import Settings


class State(StrEnum):
    """The state of an hour: the first of these that fits.

    failed: the last attempt to read it failed, and it is not final. If an earlier attempt succeeded, the hour keeps
      those calls, but the operator must know that they may be out of date.
    empty: its last whole reading listed no call; it may be final or not.
    final: `marts.dim_hours.is_final`, its calls will not change any more. An attempt that failed later changes nothing.
    loaded: read, and its calls may still change.
    late: newer than every hour that was asked for, and ended more than CDR_SETTLE_MINUTES + CDR_LATE_MINUTES ago.
    missing: nobody asked for it, but for an earlier hour and a later one.
    """

    FAILED = "failed"
    EMPTY = "empty"
    FINAL = "final"
    LOADED = "loaded"
    LATE = "late"
    MISSING = "missing"


#: The states that an operator has to do something about.
WRONG = (State.LATE, State.FAILED)


@dataclass(frozen=True)
class HourStatus:
    """One local hour. `calls` and `loaded_at` (an aware time) are of the last reading that succeeded, None without one.

    `hour` is the hour's naive local start; `error` is the reason of a failed hour, None in every other state.
    """

    hour: dt.datetime
    state: State
    calls: int | None
    loaded_at: dt.datetime | None
    error: str | None


class Attempt(NamedTuple):
    """An attempt to read an hour that failed: when (an aware time), and why."""

    at: dt.datetime
    error: str


def hours_status(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    now: dt.datetime,
    days: int,
    failed_since: Mapping[dt.datetime, Attempt] | None = None,
) -> list[HourStatus]:
    """The hours of the last `days` local days, today included, in order. `now` is an aware time.

    `connection` is open on the published copy. Hours before the first one that was ever asked for are left out, as are
    hours that are not there yet and not late, and hours that a clock change skips; a repeated hour is one hour.
    `failed_since` has failed attempts that are not in the copy, by hour: a run that could read no hour publishes none.
    """
    today = now.astimezone(settings.zone).date()
    start, finish = (today + dt.timedelta(days=1 - days), today + dt.timedelta(days=1))
    return hours_status_between(connection, settings, now, start, finish, failed_since)


def hours_status_between(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    now: dt.datetime,
    start: dt.date,
    finish: dt.date,
    failed_since: Mapping[dt.datetime, Attempt] | None = None,
) -> list[HourStatus]:
    """Like `hours_status`, over the local days from `start` up to, but not including, `finish`."""
    failed_since = failed_since or {}
    read = {
        row[0]: _Read(*row[1:])
        for row in connection.execute(
            """
            SELECT partition_hour,
                max(loaded_at) FILTER (WHERE error IS NULL),
                arg_max(loaded, loaded_at) FILTER (WHERE error IS NULL),
                max(loaded_at) FILTER (WHERE error IS NOT NULL),
                arg_max(error, loaded_at),
                coalesce(any_value(is_final), false)
            FROM cdr.loads LEFT JOIN marts.dim_hours ON local_hour = partition_hour
            WHERE filters IS NULL AND partition_hour >= $start AND partition_hour < $finish
            GROUP BY ALL
            """,
            {"start": start, "finish": finish},
        ).fetchall()
    }
    for hour, attempt in failed_since.items():
        before = read.get(hour, _Read())
        if before.failed_at is None or before.failed_at < attempt.at:
            read[hour] = before._replace(failed_at=attempt.at, error=attempt.error)
    asked_for = connection.execute(
        "SELECT min(partition_hour), max(partition_hour) FROM cdr.loads WHERE filters IS NULL"
    ).fetchall()[0]
    asked = [hour for hour in (*asked_for, *failed_since) if hour is not None]
    if not asked:
        return []
    first, newest = min(asked), max(asked)
    late_before = now - dt.timedelta(minutes=settings.cdr_settle_minutes + settings.cdr_late_minutes)

    found = []
    hour, end = max(first, _midnight(start)), _midnight(finish)
    while hour < end and (hour <= newest or ends_at(hour, settings.zone) < late_before):
        if not is_skipped(hour, settings.zone):
            found.append(_status(hour, read.get(hour), hour > newest))
        hour += HOUR
    return found


class _Read(NamedTuple):
    """The attempts to read an hour: the last that succeeded and the last that failed."""

    loaded_at: Any = None
    calls: int | None = None
    failed_at: Any = None
    error: str | None = None
    is_final: bool = False


def _status(hour: dt.datetime, read: _Read | None, is_newest: bool) -> HourStatus:
    if read is None:
        return HourStatus(hour, State.LATE if is_newest else State.MISSING, None, None, None)
    has_failed = read.failed_at is not None and (read.loaded_at is None or read.failed_at > read.loaded_at)
    if has_failed and not read.is_final:
        state = State.FAILED
    elif read.calls == 0:
        state = State.EMPTY
    else:
        state = State.FINAL if read.is_final else State.LOADED
    return HourStatus(hour, state, read.calls, read.loaded_at, read.error if state is State.FAILED else None)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)
