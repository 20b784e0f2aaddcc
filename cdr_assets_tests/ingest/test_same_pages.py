"""Hours whose pages come again with the same records are not typed again, and the tables are the same as if they were.

Two warehouses live through the same readings. One types every page, the other only those with other records.
"""

import datetime as dt
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from cdr_assets.alotech import Filters, Page, Window
from cdr_assets.domain.hours import ends_at
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.fetching import Fetch, pages_frame
from cdr_assets.ingest.loading import load_of_calls, load_of_hours, read_narrowed
from cdr_assets.transforms import decompress, read_hours
from cdr_assets.warehouse import (
    Warehouse,
    hashes_of_pages,
    load_hours,
    load_same_hours,
    read_narrowed_pages,
    read_pages_of,
    replace_pages,
)
from cdr_assets_tests.conftest import HOUR, record
from cdr_assets_tests.ingest.ingestion import hours_from

ZONE = "Europe/Istanbul"
HOURS = hours_from(HOUR, HOUR + dt.timedelta(hours=3), ZONE)
ARRAYS = Filters().arrays()


class Reader:
    """A warehouse that reads hours, with or without typing pages again that it has typed."""

    def __init__(self, path: Path, *, types_all: bool) -> None:
        self.warehouse = Warehouse(path)
        self.types_all = types_all
        self.same = 0

    def store(self, run: str, fetched: Mapping[Fetch, Sequence[Page]], narrowed_by: str | None = None) -> None:
        with self.warehouse.connect("test") as connection:
            replace_pages(connection, pages_frame(fetched, ARRAYS, narrowed_by, run))

    def load(self, run: str, hours: Sequence[dt.datetime]) -> None:
        """As the asset `cdr` does."""
        ends = {hour: ends_at(hour, ZoneInfo(ZONE)) for hour in hours}
        with self.warehouse.connect("test") as connection:
            same = set()
            if not self.types_all:
                same = set(load_same_hours(connection, ends, "rules", run)["partition_hour"])
            self.same += len(same)
            for hour in [each for each in HOURS[::-1] if each.start in set(hours) - same]:
                pages = read_pages_of(connection, [hour.start])
                read, _ = read_hours(pages, ZONE, "TR")
                load = load_of_hours(pages, read, [hour], ZoneInfo(ZONE))
                load_hours(connection, replace(load, typed_of=hashes_of_pages(connection, [hour.start], "rules")), run)

    def merge(self, run: str) -> None:
        with self.warehouse.connect("test") as connection:
            pages = read_narrowed_pages(connection, run)
            load_hours(connection, load_of_calls(pages, read_narrowed(pages, Settings(alotech_timezone=ZONE))), run)

    def tables(self) -> dict[str, pl.DataFrame]:
        queries = {
            "calls": "SELECT * EXCLUDE (vanished_at), vanished_at IS NULL AS is_listed FROM cdr.calls",
            "loads": """SELECT * EXCLUDE (loaded_at, moved),
                            if(fetched_at = max(fetched_at) OVER (PARTITION BY partition_hour), moved, NULL) AS moved
                        FROM cdr.loads WHERE filters IS NULL""",
            "merged": "SELECT * EXCLUDE (loaded_at) FROM cdr.loads WHERE filters IS NOT NULL",
            "unknown_fields": "SELECT * EXCLUDE (noticed_at) FROM cdr.unknown_fields",
        }
        queries |= {name: f"FROM cdr.{name}" for name in ("call_history", "csat_answers", "call_tags")}
        queries |= {name: f"FROM cdr.{name}" for name in ("rejected_records", "stale_hours", "unpublished_hours")}
        with self.warehouse.connect("test") as connection:
            return {name: connection.execute(f"FROM ({query}) ORDER BY ALL").pl() for name, query in queries.items()}


def page(records: Sequence[Any], at: dt.datetime, window: Window | None, cursor: int) -> Page:
    return Page(
        number=0,
        window_start=window and window.start,
        window_finish=window and window.finish,
        body=json.dumps({"CallList": records, "cursor": f"c{cursor}"}).encode(),
        charset="utf-8",
        record_count=len(records),
        attempts=1,
        fetched_at=at,
    )


def edited(listed: dict[dt.datetime, list[dict[str, Any]]], chance: random.Random) -> None:
    """One change of what the API lists by hour."""
    hour = chance.choice(list(listed))
    records = listed[hour]
    key = f"k{chance.randrange(9)}"
    at = hour + dt.timedelta(minutes=chance.randrange(60))
    kind = chance.randrange(6)
    if kind < 2:
        # A key may be listed by several hours, and twice by one.
        records.append(record(key, at, queue=f"q{chance.randrange(3)}", call_tags=["a"] * chance.randrange(3)))
    elif kind == 2 and records:
        records.pop(chance.randrange(len(records)))
    elif kind == 3 and records:
        place = chance.randrange(len(records))
        records[place] = records[place] | {"hangupdate": None, "answeredby": f"menu {chance.randrange(9)}"}
    elif kind == 4:
        records.append({"calldate": f"{at}"})
    elif records:
        # To another hour.
        moved = records.pop(chance.randrange(len(records)))
        other = chance.choice(list(listed))
        listed[other].append(moved | {"calldate": f"{other + dt.timedelta(minutes=3)}"})


def two_readers(folder: Path) -> list[Reader]:
    return [Reader(folder / f"{n}.duckdb", types_all=n == 0) for n in range(2)]


def fetched_at(now: dt.datetime, listed: Mapping[dt.datetime, Sequence[Any]]) -> dict[Fetch, list[Page]]:
    """A page for each hour, with another cursor at each time."""
    windows = {hour: Window(hour, hour + dt.timedelta(hours=1)) for hour in listed}
    return {
        Fetch(hour, window=windows[hour]): [page(records, now, windows[hour], int(now.timestamp()))]
        for hour, records in listed.items()
    }


def assert_equal(readers: Sequence[Reader], told: str) -> None:
    expected, found = (reader.tables() for reader in readers)
    for name, table in expected.items():
        differs = table.join(found[name], on=table.columns, how="anti", nulls_equal=True)
        assert found[name].equals(table), f"{name} {told}: {differs.to_dicts()}"


def test_a_call_comes_back_to_an_hour_that_lists_it_as_before(tmp_path: Path) -> None:
    """Two hours list it, and it belongs to the later one, until that one lists it no more."""
    readers, (first, later) = two_readers(tmp_path), (HOURS[0].start, HOURS[1].start)
    twice = {first: [record("k", first), record("other", first)], later: [record("k", later)]}
    once = twice | {later: []}
    now = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
    for n, listed in enumerate((twice, twice, once, once)):
        for reader in readers:
            reader.store(f"r{n}", fetched_at(now + n * dt.timedelta(hours=1), listed))
            reader.load(f"r{n}", [first, later])
        assert_equal(readers, f"after reading {n}")
    calls = readers[1].tables()["calls"].filter("is_listed").sort("key")
    assert calls.select("key", "partition_hour").rows() == [("k", first), ("other", first)]
    # The later hour at the second reading, and the first at the last, when the later one has lost the call for good.
    assert readers[1].same == 2


def test_a_call_that_was_fetched_by_its_key_is_as_the_hour_lists_it(tmp_path: Path) -> None:
    """The hour is read again with the page of before, so that nothing tells of the change but the call itself."""
    readers, hour = two_readers(tmp_path), HOURS[0].start
    listed = {hour: [record("k", hour), record("other", hour)]}
    now = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
    by_key = {Fetch(None, key=("callkey", "k")): [page([record("k", hour, queue="by key")], now, None, 0)]}
    for n, step in enumerate(("read", "merge", "read", "read")):
        later = now + n * dt.timedelta(hours=1)
        for reader in readers:
            if step == "merge":
                changed = {fetch: [replace(pages[0], fetched_at=later)] for fetch, pages in by_key.items()}
                reader.store(f"r{n}", changed, '{"callkey": "k"}')
                reader.merge(f"r{n}")
            else:
                reader.store(f"r{n}", fetched_at(later, listed))
                reader.load(f"r{n}", [hour])
        assert_equal(readers, f"after step {n}")
    assert set(readers[1].tables()["calls"]["queue"]) == {"Satış"}
    assert readers[1].same == 1


def test_pages_with_the_same_records_are_not_stored_again(tmp_path: Path) -> None:
    reader, hours = Reader(tmp_path / "w.duckdb", types_all=False), [hour.start for hour in HOURS[:2]]
    listed = {hour: [record(f"{hour}", hour)] for hour in hours}
    now = [dt.datetime(2026, 3, 2, 6 + n, tzinfo=dt.UTC) for n in range(2)]
    reader.store("r0", fetched_at(now[0], listed))
    listed[hours[1]] = [record("new", hours[1])]
    reader.store("r1", fetched_at(now[1], listed))
    with reader.warehouse.connect("test") as connection:
        rows = connection.execute(
            "SELECT partition_hour, fetched_at, run_id, body, body_size FROM raw.cdr_pages ORDER BY ALL"
        ).fetchall()
    cursors = [json.loads(decompress(body, size))["cursor"] for *_, body, size in rows]
    assert [row[:3] for row in rows] == [(hour, now[1], "r1") for hour in hours]
    assert cursors == [f"c{now[0].timestamp():.0f}", f"c{now[1].timestamp():.0f}"]


@pytest.mark.parametrize(
    ("seed", "steps"), [(0, 10), *(pytest.param(seed, 25, marks=pytest.mark.campaign) for seed in range(20))]
)
def test_the_tables_are_those_of_typing_every_page(tmp_path: Path, seed: int, steps: int) -> None:
    chance = random.Random(seed)
    readers = two_readers(tmp_path)
    listed: dict[dt.datetime, list[dict[str, Any]]] = {hour.start: [] for hour in HOURS}
    now = dt.datetime(2026, 3, 2, 2, tzinfo=dt.UTC)
    late: list[tuple[str, list[dt.datetime]]] = []
    for step in range(steps):
        now += dt.timedelta(hours=chance.choice([0, 1, 1, 7]), minutes=1)
        run = f"r{step}"
        for _ in range(chance.choice([0, 0, 0, 1, 3])):
            edited(listed, chance)
        hours = [hour for hour in listed if chance.random() < 0.7]
        fetched = fetched_at(now, {hour: listed[hour] for hour in hours})
        kind = chance.random()
        if kind < 0.15 and any(listed.values()):
            # One call, as the API has it now or had it a while ago.
            one = chance.choice([record for records in listed.values() for record in records])
            asked = Fetch(None, key=("callkey", str(one.get("key"))))
            for reader in readers:
                reader.store(run, {asked: [page([one | {"queue": "by key"}], now, None, 0)]}, f'{{"callkey": "{run}"}}')
                reader.merge(run)
            continue
        for reader in readers:
            reader.store(run, fetched)
        if kind < 0.3:
            # It dies here, or another run stores its pages first.
            late.append((run, hours))
            continue
        loaded = [late.pop()] if late and chance.random() < 0.5 else []
        loaded.append((run, hours))
        for reader in readers:
            for loading, of_run in loaded:
                reader.load(loading, of_run)
        assert_equal(readers, f"after step {step}")
    assert readers[1].same > steps // 5
