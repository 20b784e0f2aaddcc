"""A window for repeated calls is closed once every hour in it is loaded, for any hours loaded in any order."""

import datetime as dt
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdr_assets_tests.marts import centre, expected
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.marts.test_incremental import agree

HOUR = dt.timedelta(hours=1)
WEEK = 168

# A time long after every hour of these tests.
FETCHED_AT = dt.datetime(2045, 1, 1, tzinfo=dt.UTC)


def last_sunday(year: int, month: int) -> dt.datetime:
    """The month's last Sunday. In March and October the clock changes early on that day."""
    last = dt.datetime(year, month, 31)
    return last - dt.timedelta(days=last.isoweekday() % 7)


@dataclass(frozen=True)
class Stretch:
    """Hours around a month's last Sunday, and contacts in them. `holes` and `contacts` are hours from its start."""

    month: int
    start: int
    length: int
    holes: frozenset[int]
    contacts: tuple[float, ...]


# A week, and one hour three days later that closes no window.
AFTER_A_HOLE = Stretch(5, -WEEK, WEEK + 72, frozenset(range(WEEK, WEEK + 71)), (0.0, 0.5, WEEK - 24.0, WEEK - 0.5))


def draw(chance: random.Random) -> Stretch:
    """Hours that reach just a day or a week beyond their first contacts, or just less, with a hole or two."""
    length = chance.choice([24, WEEK]) + chance.randrange(-2, 40)
    contacts = [chance.randrange(40 * 3600) / 3600 for _ in range(4)] + [float(chance.randrange(40)) for _ in range(2)]
    return Stretch(
        month=chance.choice([3, 5, 10]),
        start=chance.randrange(-length - 4, 4),
        length=length,
        holes=frozenset(chance.randrange(length) for _ in range(chance.randrange(3))),
        contacts=tuple(contacts),
    )


def contact(number: int, started_at: dt.datetime) -> centre.Call:
    return centre.call(
        f"c{number}", started_at, hangupdate=started_at + dt.timedelta(minutes=1), callerid="905321112233"
    )


def check(marts: Marts) -> None:
    """The windows of every contact are closed or open as the loaded hours require."""
    loaded = expected.loaded_hours(marts.frame("FROM cdr.loads"), centre.ZONE)
    contacts = marts.frame("SELECT started_at_utc, window_24h_closed, window_7d_closed FROM marts.fct_contacts")
    wrong = [
        row
        for row in contacts.iter_rows()
        if row[1:] != tuple(expected.is_closed(row[0], dt.timedelta(hours=hours), loaded) for hours in (24, WEEK))
    ]
    assert not wrong


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(2, 20))])
def test_a_window_is_closed_if_all_its_hours_are_loaded_and_only_then(tmp_path: Path, seed: int) -> None:
    # A build takes seconds, so many stretches share one, each in a different year.
    chance = random.Random(seed)
    marts = Marts(tmp_path, centre.ZONE.key)
    calls: list[centre.Call] = []
    hours: set[dt.datetime] = set()
    for number, stretch in enumerate([AFTER_A_HOLE, *(draw(chance) for _ in range(30))]):
        begin = last_sunday(1981 + number, stretch.month).replace(tzinfo=centre.ZONE).astimezone(dt.UTC)
        begin += stretch.start * HOUR
        calls += [contact(10 * number + n, begin + at * HOUR) for n, at in enumerate(stretch.contacts)]
        hours |= {centre.local_hour(begin + n * HOUR) for n in range(stretch.length) if n not in stretch.holes}
    centre.load(marts.warehouse, calls, hours, FETCHED_AT)
    # Hours of which only single calls were fetched by key are not loaded.
    by_key = {centre.local_hour(call["calldate"]) for call in calls} - hours
    centre.load(marts.warehouse, calls, by_key, FETCHED_AT, filters='{"callkey": "c"}')
    marts.build()
    check(marts)
    closed = marts.frame("SELECT window_24h_closed, window_7d_closed, count(*) FROM marts.fct_contacts GROUP BY ALL")
    assert closed.height == 3


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_windows_follow_as_hours_come_in_any_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    marts = Marts(tmp_path, centre.ZONE.key)
    begin = last_sunday(2026, 10).replace(tzinfo=centre.ZONE).astimezone(dt.UTC) - 40 * HOUR
    length = WEEK + 60
    calls = [contact(n, begin + chance.randrange(length * 60) * dt.timedelta(minutes=1)) for n in range(120)]
    hours = sorted({centre.local_hour(begin + n * HOUR) for n in range(length)})
    # Load all hours but a few, then these few. The last one is old and closes the windows of a whole week.
    late = [hours[30], *chance.sample(hours[31:], 3)]

    def load(some: Iterable[dt.datetime], days: int) -> None:
        centre.load(marts.warehouse, calls, some, FETCHED_AT + dt.timedelta(days=days))
        marts.build()
        marts.publish()
        check(marts)

    load([hour for hour in hours if hour not in late], 0)
    before = marts.one("SELECT count(*) FILTER (window_7d_closed) FROM marts.fct_contacts")
    load(late[1:], 1)
    load(late[:1], 2)
    assert marts.one("SELECT count(*) FILTER (window_7d_closed) FROM marts.fct_contacts") > before
    # Remove the loads: the windows are open again.
    with marts.warehouse.connect("test") as connection:
        connection.execute("DELETE FROM cdr.loads WHERE partition_hour = ?", [late[0]])
    marts.build()
    marts.publish()
    check(marts)
    differences = marts.published_differences()
    assert not any(differences.values()), differences
    built = marts.tables()
    marts.build(full_refresh=True)
    agree(built, marts.tables())


def test_a_repeated_hour_that_was_read_after_its_first_pass_alone_closes_nothing(tmp_path: Path) -> None:
    marts = Marts(tmp_path, centre.ZONE.key)
    repeated = last_sunday(2026, 10) + 2 * HOUR
    begin = repeated.replace(tzinfo=centre.ZONE).astimezone(dt.UTC) - 24 * HOUR
    calls = [contact(1, begin + 0.5 * HOUR)]
    hours = {centre.local_hour(begin + n * HOUR) for n in range(24)}
    centre.load(marts.warehouse, calls, hours, FETCHED_AT)
    first_pass_over = begin + 25 * HOUR
    centre.load(marts.warehouse, calls, [repeated], first_pass_over + dt.timedelta(minutes=10))
    marts.build()
    assert marts.one("SELECT window_24h_closed FROM marts.fct_contacts") is False
    centre.load(marts.warehouse, calls, [repeated], first_pass_over + HOUR)
    marts.build()
    assert marts.one("SELECT window_24h_closed FROM marts.fct_contacts") is True
