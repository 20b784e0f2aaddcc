"""The state of each hour: every hour has exactly one, whatever was tried and whenever."""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st

from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.schema import LOADS
from cdr_assets.domain.settings import Settings
from cdr_assets.status.hours import Attempt, HourStatus, State, hours_status
from cdr_assets.status.map import by_day, counts, markdown, spans
from cdr_assets.warehouse.ddl import create_statement

BERLIN = Settings(alotech_timezone="Europe/Berlin", cdr_settle_minutes=10, cdr_late_minutes=120)

# Noon UTC of the day before the clocks change; the hours of the tests begin at midnight of this day.
CHANGES = [dt.date(2026, 3, 28), dt.date(2026, 10, 24), dt.date(2026, 6, 1)]


@pytest.fixture(scope="module")
def copy() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA cdr; CREATE SCHEMA marts")
        connection.execute(create_statement(LOADS))
        connection.execute("CREATE TABLE marts.dim_hours (local_hour TIMESTAMP, is_final BOOLEAN)")
        yield connection


Tried = tuple[int, int, str]


def write(copy: duckdb.DuckDBPyConnection, first: dt.datetime, tried: list[Tried], final: set[int]) -> None:
    """The attempts as (hours after `first`, minutes after the hour's start, outcome), and the final hours."""
    copy.execute("DELETE FROM cdr.loads; DELETE FROM marts.dim_hours")
    for hour, minute, outcome in tried:
        start = first + hour * HOUR
        at = start.replace(tzinfo=dt.UTC) + dt.timedelta(days=1, minutes=minute)
        error, calls, filters = {
            "failed": ("refused", None, None),
            "empty": (None, 0, None),
            "calls": (None, 7, None),
            "narrowed": (None, 3, "{}"),
        }[outcome]
        copy.execute(
            "INSERT INTO cdr.loads (partition_hour, loaded_at, error, loaded, filters) VALUES (?, ?, ?, ?, ?)",
            [start, at, error, calls, filters],
        )
    copy.executemany(
        "INSERT INTO marts.dim_hours VALUES (?, ?)", [(first + hour * HOUR, hour in final) for hour in range(60)]
    )


def expected(tried: list[Tried], final: set[int], hour: int, is_late: bool) -> State | None:
    """The state of an hour by the definition, from the last attempt backwards; None if it is not on the map."""
    whole = [attempt for attempt in tried if attempt[2] != "narrowed"]
    asked = [attempt[0] for attempt in whole]
    if not asked or hour < min(asked) or (hour > max(asked) and not is_late):
        return None
    own = [outcome for at, _, outcome in sorted(whole, key=lambda attempt: attempt[1]) if at == hour]
    if not own:
        return State.MISSING if hour < max(asked) else State.LATE
    read = [outcome for outcome in own if outcome != "failed"]
    is_final = hour in final and bool(read)
    if own[-1] == "failed" and not is_final:
        return State.FAILED
    if read[-1] == "empty":
        return State.EMPTY
    return State.FINAL if is_final else State.LOADED


@given(
    day=st.sampled_from(CHANGES),
    tried=st.lists(
        st.tuples(
            st.integers(0, 50), st.integers(0, 1000), st.sampled_from(["failed", "empty", "calls", "calls", "narrowed"])
        ),
        max_size=40,
        # Of two attempts at the same instant, none is the last.
        unique_by=lambda attempt: attempt[1],
    ),
    final=st.sets(st.integers(0, 50)),
    now=st.integers(0, 60 * 60),
)
@search(max_examples=60, deadline=None)
def test_every_hour_has_the_one_state_of_the_definition(
    copy: duckdb.DuckDBPyConnection, day: dt.date, tried: list[Tried], final: set[int], now: int
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = dt.datetime(day.year, day.month, day.day)
    # What is read cannot be final unless it was read.
    final &= {hour for hour, _, outcome in tried if outcome in ("empty", "calls")}
    write(copy, first, tried, final)
    moment = first.replace(tzinfo=zone).astimezone(dt.UTC) + dt.timedelta(minutes=now)
    found = hours_status(copy, BERLIN, moment, days=4)

    shown = {}
    for hour in range(80):
        start = first + hour * HOUR
        # The clock shows it: there is an instant with this wall clock.
        instants = [start.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)]
        if start not in [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]:
            continue
        late_from = instants[1] + HOUR + dt.timedelta(minutes=130)
        state = expected(tried, final, hour, moment > late_from)
        if state and start.date() <= moment.astimezone(zone).date():
            shown[start] = state
    assert {status.hour: status.state for status in found} == shown
    assert [status.hour for status in found] == sorted(shown)

    assert sum(counts(found).values()) == len(found)
    assert [cell for _, cells in by_day(found) for cell in cells if cell] == found
    assert sum(number for state in State for _, number, _ in spans(found, state)) == len(found)
    assert all((status.error is not None) == (status.state is State.FAILED) for status in found)
    assert sum(markdown(found).count(f"`{sign}` ") for sign in "#+o!x?") == len(counts(found))


def states(found: list[HourStatus]) -> dict[int, State]:
    return {status.hour.hour: status.state for status in found}


FIRST = dt.datetime(2026, 6, 1)


def at(hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 6, 1, hour, minute, tzinfo=BERLIN.zone)


def test_an_hour_is_late_only_after_both_spans(copy: duckdb.DuckDBPyConnection) -> None:
    write(copy, FIRST, [(5, 0, "calls")], set())
    assert states(hours_status(copy, BERLIN, at(9, 10), 1)) == {5: State.LOADED}
    assert states(hours_status(copy, BERLIN, at(9, 11), 1)) == {5: State.LOADED, 6: State.LATE}


def test_a_look_back_that_failed_is_told_and_the_hour_keeps_its_calls(copy: duckdb.DuckDBPyConnection) -> None:
    write(copy, FIRST, [(5, 0, "calls"), (5, 60, "failed"), (7, 0, "calls"), (7, 60, "failed")], {7})
    failed, missing, final = hours_status(copy, BERLIN, at(8), 1)
    assert (failed.state, failed.calls, failed.error) == (State.FAILED, 7, "refused")
    assert (missing.state, missing.calls, missing.loaded_at, missing.error) == (State.MISSING, None, None, None)
    # Its calls will not change any more, so nothing is wrong with them.
    assert (final.state, final.calls, final.error) == (State.FINAL, 7, None)


def test_failures_that_the_copy_does_not_know_count_if_they_are_newer(copy: duckdb.DuckDBPyConnection) -> None:
    write(copy, FIRST, [(5, 0, "calls"), (6, 0, "calls")], set())
    loaded_at = dt.datetime(2026, 6, 2, 5, tzinfo=dt.UTC)
    since = {
        FIRST + 5 * HOUR: Attempt(loaded_at - HOUR, "older"),
        FIRST + 6 * HOUR: Attempt(loaded_at + 5 * HOUR, "newer"),
        FIRST + 8 * HOUR: Attempt(loaded_at, "never read"),
    }
    found = hours_status(copy, BERLIN, at(9), 1, since)
    assert states(found) == {5: State.LOADED, 6: State.FAILED, 7: State.MISSING, 8: State.FAILED}
    assert [status.error for status in found] == [None, "newer", None, "never read"]
    assert spans(found, State.FAILED) == [
        ("2026-06-01 06:00", 1, "newer"),
        ("2026-06-01 08:00", 1, "never read"),
    ]


def test_a_copy_without_hours_has_no_map(copy: duckdb.DuckDBPyConnection) -> None:
    write(copy, FIRST, [(5, 0, "narrowed")], set())
    assert hours_status(copy, BERLIN, at(23), 30) == []
