"""The warehouse file does not grow under months of look-backs: replaced rows make room for new ones."""

import datetime as dt
import random
from pathlib import Path

import polars as pl

from cdr_assets.domain.schema import CDR_PAGES
from cdr_assets.warehouse import Warehouse, drop_pages, load_hours, replace_pages
from cdr_assets_tests.warehouse.test_hours import HOUR, call, read

NOW = dt.datetime.now(dt.UTC)


def pages(hours: range, run: int, fetched_at: dt.datetime = NOW) -> pl.DataFrame:
    chance = random.Random(run)
    starts = [HOUR + n * dt.timedelta(hours=1) for n in hours]
    given = {
        "partition_hour": starts,
        "window_start": starts,
        "window_finish": [start + dt.timedelta(hours=1) for start in starts],
        "fetched_at": [fetched_at + dt.timedelta(minutes=run)] * len(starts),
        "run_id": [f"{run}"] * len(starts),
        # The compressed size of a page with 100 calls.
        "body": [chance.randbytes(16_000) for _ in starts],
    }
    return pl.DataFrame(
        {name: given.get(name, [None] * len(starts)) for name in CDR_PAGES.polars_schema},
        schema=CDR_PAGES.polars_schema,
    )


def test_the_file_does_not_grow_by_reading_hours_again(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    days = range(12)
    sizes = []
    for run in range(2 * len(days)):
        with warehouse.connect("test") as connection:
            # Every night loads three days again. In the second half of the nights there is no new day.
            newest = min(run, days[-1])
            hours = range(24 * max(0, newest - 2), 24 * (newest + 1))
            replace_pages(connection, pages(hours, run))
            starts = tuple(HOUR + n * dt.timedelta(hours=1) for n in hours)
            calls = [call(f"{n}-{hour}", hour, content_hash=f"{run}") for hour in starts for n in range(20)]
            load_hours(connection, read(*calls, hours=starts), f"{run}")
        sizes.append(warehouse.path.stat().st_size)
    assert sizes[-1] < 1.5 * sizes[len(days) - 1], sizes


def test_old_pages_are_dropped_and_make_room(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "cdr.duckdb")
    sizes = []
    for day in range(20):
        with warehouse.connect("test") as connection:
            ago = 40 - day
            drop_pages(connection, ago + 3)
            fetched_at = NOW - dt.timedelta(days=ago - 0.5)
            replace_pages(connection, pages(range(50 * day, 50 * day + 50), day, fetched_at))
            kept = connection.execute("SELECT DISTINCT run_id::INTEGER FROM raw.cdr_pages ORDER BY ALL").fetchall()
            assert [run for (run,) in kept] == list(range(max(0, day - 3), day + 1))
        sizes.append(warehouse.path.stat().st_size)
    assert max(sizes) < 3 * sizes[3], sizes
