"""Days with and without clock changes: every call lands in exactly one partition, with the right UTC time.

The tests load days partition by partition, as `partitions.py` divides them. Calls are made from UTC times, but their
records show only the local time, as the vendor's do.
"""

import datetime as dt
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dagster import AssetKey

from cdr_assets.alotech import AlotechClient
from cdr_assets.domain.hours import Hour
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.alotech.server import ScriptedServer, page
from cdr_assets_tests.conftest import TOKEN, Pipeline, record
from cdr_assets_tests.ingest.ingestion import assert_loads_balance, fetch, hours_from, load, reload, stored_calls

Record = dict[str, Any]

#: Each day, and how many partitions it has.
CHANGES = [
    ("Europe/Istanbul", dt.date(2015, 3, 29), 23),
    ("Europe/Istanbul", dt.date(2015, 11, 8), 25),
    ("Europe/Berlin", dt.date(2026, 3, 29), 23),
    ("Europe/Berlin", dt.date(2026, 10, 25), 25),
]
# Istanbul has had no clock change since September 2016. Kolkata's hours begin at half past in UTC.
DAYS = [
    *CHANGES,
    ("Europe/Istanbul", dt.date(2016, 9, 7), 24),
    ("Europe/Istanbul", dt.date(2026, 10, 25), 24),
    ("Asia/Kolkata", dt.date(2026, 3, 29), 24),
]


class Day:
    """A tenant's day: its partitions, and its calls. There is a call every ten minutes, from half an hour before the
    day
    to half an hour after it, some of them long, and one at the start of each hour and one a second before it."""

    def __init__(self, zone: str, day: dt.date, *, has_offsets: bool = False) -> None:
        self.zone = zone
        self.start = dt.datetime.combine(day, dt.time())
        self.finish = self.start + dt.timedelta(days=1)
        self.hours = hours_from(self.start, self.finish, zone)
        self.has_offsets = has_offsets
        begins, ends = (
            moment.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC) for moment in (self.start, self.finish)
        )
        self.instants = {}
        moment = begins - dt.timedelta(minutes=30)
        while moment <= ends + dt.timedelta(minutes=30):
            for second in (0, 1) if moment.minute % 30 == 0 else (0,):
                self.instants[f"k{len(self.instants)}"] = moment - dt.timedelta(seconds=second)
            moment += dt.timedelta(minutes=10)
        self.records = [self._record(n, key, at) for n, (key, at) in enumerate(self.instants.items())]

    def _record(self, n: int, key: str, at: dt.datetime) -> Record:
        length = dt.timedelta(minutes=(2, 25, 80)[n % 3], seconds=n)

        def date(moment: dt.datetime) -> str:
            local = moment.astimezone(ZoneInfo(self.zone))
            return str(local if self.has_offsets else local.replace(tzinfo=None))

        dates = {
            "calldate": date(at),
            "queuedate": date(at + dt.timedelta(seconds=10)),
            "talkdate": date(at + dt.timedelta(seconds=30)),
            "hangupdate": date(at + length),
        }
        return record(key, self.start, duration=int(length.total_seconds()), call_history=[], **dates)

    def wall_clock(self, key: str) -> dt.datetime:
        return self.instants[key].astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)

    def calls(self) -> ListedCalls:
        listed = ListedCalls()
        for sent in self.records:
            listed.add(sent, str(self.wall_clock(sent["key"])))
        return listed


@contextmanager
def reads_the_wall_clock(day: Day) -> Iterator[str]:
    """A server that compares the bounds of the window and the calldates as texts."""
    with Sandbox(day.calls(), token=TOKEN, time_zone=day.zone, page_size=20) as sandbox:
        yield sandbox.base_url


def takes_times_for_instants(fold: int) -> Callable[[Day], Any]:
    """A server that first turns the bounds of the window into UTC, in a repeated hour the earlier (fold 0) or the
    later."""

    @contextmanager
    def serve(day: Day) -> Iterator[str]:
        zone = ZoneInfo(day.zone)

        def script(asked: dict[str, str]) -> Any:
            start, finish = (
                dt.datetime.fromisoformat(asked[name]).replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)
                for name in ("startdate", "finishdate")
            )
            return page(sent for sent in day.records if start < day.instants[sent["key"]] < finish)

        with ScriptedServer(script) as server:
            yield server.url

    return serve


def assert_the_day_lands(day: Day, url: str, runs: Sequence[Sequence[Hour]], folder: Path) -> None:
    with (
        AlotechClient(url, TOKEN, requests_per_second=0, sleep=lambda _: None) as client,
        Warehouse(folder / "cdr.duckdb").connect("test") as connection,
    ):
        right = reload({}, [], [], day.zone)
        for number, hours in enumerate(runs):
            fetched = fetch(client, hours)
            assert not fetched.failed
            load(connection, fetched, day.zone, f"run {number}")
            right = reload(right, day.records, hours, day.zone)
            assert_loads_balance(connection)
        stored = stored_calls(connection)
        loads = connection.execute(
            "SELECT sum(new), sum(changed), sum(vanished), sum(moved), sum(rejected) FROM cdr.loads"
        ).fetchone()
    assert stored == right
    # Loaded in any order and any number of times: each call is there once, and no load took a call from another.
    keys = {key for key in day.instants if day.start <= day.wall_clock(key) < day.finish}
    assert stored.keys() == keys
    assert loads == (len(keys), 0, 0, 0, 0)
    for key, call in stored.items():
        assert_instants_right(day, key, call.call)


def assert_instants_right(day: Day, key: str, call: Record) -> None:
    """The UTC time is exactly the call's. If nothing tells which pass of a repeated hour it is, it is the earlier
    one."""
    true = day.instants[key]
    found = call["calldate_utc"]
    zone = ZoneInfo(day.zone)
    earlier, later = (day.wall_clock(key).replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    hangup = true + dt.timedelta(seconds=call["duration"])
    hangup_is_repeated = len({hangup.astimezone(zone).replace(fold=fold).utcoffset() for fold in (0, 1)}) == 2
    if earlier < later and hangup_is_repeated and not day.has_offsets:
        # Start and end an hour earlier give the same duration. Only a call from the first pass into the second is
        # certain.
        assert found in (true, earlier)
        assert call["hangupdate_utc"] - found == hangup - true
    else:
        assert found == true
        assert call["hangupdate_utc"] == hangup
    assert call["queuedate_utc"] - found == dt.timedelta(seconds=10)


@pytest.mark.parametrize(("zone", "date", "count"), DAYS, ids=str)
def test_partitions_divide_the_wall_clock_of_a_day(zone: str, date: dt.date, count: int) -> None:
    day = Day(zone, date)
    assert len(day.hours) == count
    windows = sorted({(hour.start, hour.finish) for hour in day.hours})
    assert windows[0][0] == day.start
    assert windows[-1][1] == day.finish
    assert all(finish == start for (_, finish), (start, _) in itertools.pairwise(windows))
    # In UTC, each partition ends where the next one begins.
    lengths = [after.ends_at - before.ends_at for before, after in itertools.pairwise(day.hours)]
    assert set(lengths) == {dt.timedelta(hours=1)}


@pytest.mark.parametrize(("zone", "date", "count"), DAYS, ids=str)
def test_a_day_lands_in_any_order_each_call_once(zone: str, date: dt.date, count: int, tmp_path: Path) -> None:
    day = Day(zone, date)
    hours = random.Random(count).sample(day.hours, count)
    # Load in two runs, whose border may be in a repeated hour; then load its two partitions alone, the later one first.
    again = [[hour] for hour in reversed(day.hours) if hour.is_repeated]
    with reads_the_wall_clock(day) as url:
        assert_the_day_lands(day, url, [hours[: count // 2], hours[count // 2 :], *again], tmp_path)


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize(("zone", "date", "count"), CHANGES, ids=str)
def test_a_server_that_takes_wall_clock_for_instants_loses_no_call(
    zone: str, date: dt.date, count: int, fold: int, tmp_path: Path
) -> None:
    day = Day(zone, date)
    hours = random.Random(count + fold).sample(day.hours, count)
    with takes_times_for_instants(fold)(day) as url:
        assert_the_day_lands(day, url, [hours[:9], hours[9:]], tmp_path)


@pytest.mark.parametrize(("zone", "date", "count"), CHANGES, ids=str)
def test_offsets_settle_a_repeated_hour(zone: str, date: dt.date, count: int, tmp_path: Path) -> None:
    day = Day(zone, date, has_offsets=True)
    with reads_the_wall_clock(day) as url:
        assert_the_day_lands(day, url, [day.hours], tmp_path)
    assert len(day.hours) == count


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("zone", "date", "count"), DAYS, ids=str)
def test_a_day_lands_hour_by_hour_in_any_order(zone: str, date: dt.date, count: int, seed: int, tmp_path: Path) -> None:
    day = Day(zone, date)
    orders = [list(day.hours), day.hours[::-1], random.Random(seed).sample(day.hours, count)]
    with reads_the_wall_clock(day) as url:
        assert_the_day_lands(day, url, [[hour] for hour in orders[seed]], tmp_path)


def test_a_run_over_the_repeated_hour(make_pipeline: Callable[..., Pipeline]) -> None:
    day = Day("Europe/Berlin", dt.date(2025, 10, 26))
    hours = day.hours[1:5]
    assert [f"{hour.start:%H:%M}" for hour in hours] == ["01:00", "02:00", "02:00", "03:00"]
    with Sandbox(day.calls(), token=TOKEN, time_zone=day.zone) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, alotech_timezone=day.zone, cdr_start="2025-10-25")
        assert pipeline.run(hours[0].start, 3).success
    right = reload({}, day.records, hours, day.zone)
    with Warehouse(pipeline.settings.warehouse_path).connect("test") as connection:
        assert stored_calls(connection) == right
        assert_loads_balance(connection)
    for asset in (["raw", "cdr_pages"], ["cdr", "calls"], ["marts", "queue_hourly"], ["published", "cdr"]):
        materialized = pipeline.instance.get_materialized_partitions(AssetKey(asset))
        assert materialized == {hour.key for hour in hours}
    [(calls, offered)] = pipeline.ask_published(
        "SELECT (SELECT count(*) FROM marts.fct_calls), (SELECT sum(offered) FROM marts.queue_hourly)"
    )
    assert calls == offered == len(right)
