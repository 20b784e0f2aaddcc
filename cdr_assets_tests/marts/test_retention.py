"""Calls are deleted after some weeks and their figures stay for years, whatever is loaded or built again later."""

import datetime as dt
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from cdr_assets.domain.lateness import FIGURES_FROZEN, LOADS_FROZEN
from cdr_assets.ingest.building import build_stale_marts
from cdr_assets.warehouse import mark_stale, rebuild_marts, transaction
from cdr_assets.warehouse.expected import expected_calls
from cdr_assets.warehouse.retention import delete_before
from cdr_assets_tests.marts import centre
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.marts.test_incremental import agree

DAY = dt.timedelta(days=1)
SPAN = 12 * DAY

# Days after the centre's first hour, so that the border lies within a day.
CALLS_FROM = dt.datetime(2026, 10, 28, 15)
FETCHED_AT = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)

FIGURES = re.compile(r"marts\.(queue|agent|tag|concurrency|staffing)_|intermediate\.")


def build(marts: Marts) -> None:
    with marts.warehouse.held("test"):
        results = build_stale_marts(marts.warehouse, marts.settings)
    assert not [result for result in results if result.status not in ("success", "pass", "warn")]


def delete(marts: Marts, calls_from: dt.datetime | None, marts_from: dt.datetime | None = None) -> None:
    with marts.warehouse.connect("test") as connection, transaction(connection):
        delete_before(connection, calls_from, marts_from)


def figures(marts: Marts) -> dict[str, pl.DataFrame]:
    return {name: frame for name, frame in marts.tables().items() if FIGURES.match(name)}


def patience(marts: Marts, condition: str) -> pl.DataFrame:
    return marts.frame(f"FROM marts.patience WHERE {condition} ORDER BY ALL")


def since(frames: dict[str, pl.DataFrame], hour: dt.datetime) -> dict[str, pl.DataFrame]:
    return {
        name: frame.filter(
            pl.col("local_hour") >= hour if "local_hour" in frame.columns else pl.col("local_date") >= hour.date()
        )
        for name, frame in frames.items()
    }


def changed(calls: list[centre.Call], since: dt.datetime) -> list[centre.Call]:
    """The calls of these hours as a late reading lists them: other waits, outcomes and durations."""
    return [
        call | {"waitduration": 7, "hangupdate": call["calldate"] + dt.timedelta(hours=2), "callid": f"new {n}"}
        if n % 3 == 0 and centre.local_hour(call["calldate"]) >= since
        else call
        for n, call in enumerate(calls)
    ]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[centre.Call]:
    monkeypatch.setattr(centre, "HOURS", SPAN // dt.timedelta(hours=1))
    return centre.make_calls(seed=3, count=900)


@pytest.mark.parametrize("upgrades", [1, pytest.param(3, marks=pytest.mark.campaign)])
def test_figures_stay_when_their_calls_are_deleted(upgrades: int, tmp_path: Path, calls: list[centre.Call]) -> None:
    kept, whole = (Marts(tmp_path / name, centre.ZONE.key) for name in ("kept", "whole"))
    centre.load(kept.warehouse, calls, centre.hours(), FETCHED_AT)
    build(kept)
    # Both begin with the same.
    shutil.copytree(tmp_path / "kept", tmp_path / "whole")
    kept.publish()
    before = figures(kept)
    assert len(before) == 14, before.keys()

    delete(kept, CALLS_FROM)
    build(kept)
    kept.publish()
    assert kept.one("SELECT min(partition_hour) FROM cdr.calls") >= CALLS_FROM
    for name in ("call_history", "call_tags", "csat_answers"):
        assert kept.one(f"SELECT min(partition_hour) FROM cdr.{name}") >= CALLS_FROM
    for name in ("fct_calls", "fct_contacts", "fct_call_events", "fct_rings", "fct_call_tags", "fct_csat_answers"):
        assert kept.one(f"SELECT min(partition_hour) FROM marts.{name}") >= CALLS_FROM
    assert not any(kept.published_differences().values())
    agree(figures(kept), before)
    agree({"patience": patience(kept, "true")}, {"patience": patience(whole, "true")})

    # Late changes of the calls that may still be loaded: later figures follow as if no call had been deleted.
    first = CALLS_FROM + LOADS_FROZEN
    later = changed(calls, first)
    for marts in (kept, whole):
        centre.load(marts.warehouse, later, [h for h in centre.hours() if h >= first], FETCHED_AT + DAY)
        build(marts)
    kept.publish()
    assert not any(kept.published_differences().values())
    agree(figures(kept), figures(whole))
    assert not figures(kept)["marts.queue_hourly"].equals(before["marts.queue_hourly"])

    # A week is frozen whole, because a part of its calls is deleted: 31 October is.
    frozen, later_weeks = "week_start < DATE '2026-11-02'", "week_start >= DATE '2026-11-02'"
    weeks = patience(kept, "true")
    assert weeks["week_start"].n_unique() == 3
    assert patience(kept, later_weeks).equals(patience(whole, later_weeks))
    assert not patience(whole, frozen).equals(patience(kept, frozen))

    # The operator builds all hours again by hand; then new versions have all marts built from scratch.
    before = figures(kept)
    with kept.warehouse.connect("test") as connection:
        mark_stale(connection, centre.hours())
    build(kept)
    agree(figures(kept), before)
    for _ in range(upgrades):
        with kept.warehouse.connect("test") as connection, transaction(connection):
            rebuild_marts(connection)
            rebuild_marts(connection)
        build(kept)
        agree(figures(kept), before)
        agree({"patience": patience(kept, "true")}, {"patience": weeks})
        assert kept.one("SELECT count(*) FROM marts.dim_queues") == whole.one("SELECT count(*) FROM marts.dim_queues")
    assert kept.one("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'kept'") == 0

    # A mart that is new has no rows of hours whose calls were deleted: they would be made of the calls that are left.
    with kept.warehouse.connect("test") as connection, transaction(connection):
        rebuild_marts(connection)
        connection.execute('DROP TABLE kept."marts queue_interval"; DROP TABLE kept."marts staffing_interval"')
    build(kept)
    for name in ("queue_interval", "staffing_interval"):
        rows = figures(kept)[f"marts.{name}"]
        assert rows["local_hour"].min() == CALLS_FROM + FIGURES_FROZEN
        later = pl.col("local_hour") >= CALLS_FROM + FIGURES_FROZEN
        same = ["interval_start", "queue_key", "offered", "is_final"]
        agree({name: rows.select(same)}, {name: before[f"marts.{name}"].filter(later).select(same)})
    with kept.warehouse.connect("test") as connection:
        # Back to figures of all hours, which the rest of the test looks at.
        for name in ("queue_interval", "staffing_interval"):
            connection.register("frame", before[f"marts.{name}"])
            connection.execute(f"DELETE FROM marts.{name}; INSERT INTO marts.{name} BY NAME FROM frame")

    # Hours whose calls were deleted say nothing of how many calls an hour should bring.
    with kept.warehouse.connect("test") as connection:
        hour = CALLS_FROM.replace(hour=3) + 8 * DAY
        expected = expected_calls(connection, [hour])[hour]
    assert expected is None or expected > 0

    # Figures go later, each by its own days.
    delete(kept, CALLS_FROM, dt.datetime(2026, 10, 27))
    build(kept)
    kept.publish()
    assert not any(kept.published_differences().values())
    agree(figures(kept), since(before, dt.datetime(2026, 10, 27)))
    assert kept.one("SELECT min(partition_hour) FROM cdr.loads") == dt.datetime(2026, 10, 27)
