"""Warehouses that the marts' tests share, because each build of the marts takes seconds."""

import datetime as dt
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdr_assets.domain.settings import Callers, Settings
from cdr_assets.marts.build import NodeResult, build, parse
from cdr_assets.publishing.copy import publish
from cdr_assets.publishing.shown import Privacy
from cdr_assets.warehouse import Warehouse, clear_stale_hours
from cdr_assets_tests.conftest import of_all_workers
from cdr_assets_tests.dirty import live_through_dirty_calls
from cdr_assets_tests.marts import centre, real_calls
from cdr_assets_tests.publishing.privacy import privacy


class Marts:
    """A warehouse, and the marts that dbt builds in it."""

    def __init__(self, folder: Path, zone: str, warehouse: str = "warehouse.duckdb") -> None:
        self.settings = Settings(cdr_data_dir=folder, cdr_warehouse=folder / warehouse, alotech_timezone=zone)
        self.warehouse = Warehouse(self.settings.warehouse_path)
        self.warnings: dict[str, NodeResult] = {}

    def build(self, *, full_refresh: bool = False) -> dict[str, NodeResult]:
        """Builds the marts as the pipeline does. A failure fails the test; returns the warnings by the test's name."""
        results = {result.unique_id.split(".")[2]: result for result in build(self.settings, full_refresh=full_refresh)}
        broken = {name: r.message for name, r in results.items() if r.status not in ("success", "pass", "warn")}
        assert not broken, broken
        with self.warehouse.connect("test") as connection:
            clear_stale_hours(connection)
        return {name: result for name, result in results.items() if result.status == "warn"}

    def privacy(self, callers: Callers) -> Privacy:
        return privacy(callers, parse(self.settings).classes)

    def publish(self) -> None:
        """Updates the published copy. Fails the test if a model changed hours and did not note them."""
        with self.warehouse.connect("test") as connection:
            publish(connection, self.settings.published_path, self.privacy(Callers.CLEAR), log=pytest.fail)

    def published_differences(self) -> dict[str, int]:
        """Rows by table or view that only the published copy or only the warehouse has."""
        with self.warehouse.connect("test") as connection:
            connection.execute(f"ATTACH '{self.settings.published_path}' AS published (READ_ONLY)")
            names = connection.execute(
                """SELECT table_schema || '.' || table_name FROM information_schema.tables
                   WHERE table_catalog = 'published'"""
            ).fetchall()
            differences = {}
            for (name,) in names:
                ours, theirs = f"FROM {name}", f"FROM published.{name}"
                row = connection.execute(
                    f"""SELECT count(*) FROM (
                        ({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))"""
                ).fetchone()
                differences[name] = row[0] if row else -1
            return differences

    def frame(self, query: str) -> pl.DataFrame:
        with self.warehouse.connect("test") as connection:
            return connection.execute(query).pl()

    def one(self, query: str) -> Any:
        """The single value of a query."""
        return self.frame(query).item()

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every table and view that dbt builds, with sorted rows."""
        with self.warehouse.connect("test") as connection:
            names = connection.execute(
                """SELECT table_schema || '.' || table_name FROM information_schema.tables
                   WHERE table_schema IN ('bi', 'marts', 'intermediate', 'staging')"""
            ).fetchall()
            return {name: connection.execute(f"FROM {name} ORDER BY ALL").pl() for (name,) in names}


def folder_of(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for marts that one worker builds. Fails for a second worker: building them again takes minutes."""
    folder = of_all_workers(tmp_path_factory) / f"built {name}"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def real_month(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """The real month, loaded and built; see real_calls.py."""
    marts = Marts(folder_of("real", tmp_path_factory), "Asia/Jerusalem")
    with marts.warehouse.connect("test") as connection:
        real_calls.load(connection)
    marts.warnings = marts.build()
    return marts


def renamed(history: list[dict[str, Any]], old: str, new: str) -> list[dict[str, Any]]:
    return [event | {"agent": new} if event["agent"] == old else event for event in history]


def edit(calls: list[centre.Call], chance: random.Random) -> list[centre.Call]:
    """The calls as the vendor lists them later: some vanished, ended, renamed, or with another queue, chain, hour or
    outcome."""
    hour = dt.timedelta(hours=1)
    changes: list[Callable[[centre.Call], centre.Call]] = [
        lambda call: {"hangupdate": (call["hangupdate"] or call["calldate"]) + 3 * hour},
        lambda call: {"hangupdate": call["hangupdate"] or call["calldate"] + hour},
        lambda call: {"queue": "Satış (yeni)"} if call["queuekey"] == "Q1" else {},
        lambda _: {"queue": "Destek", "queuekey": "Q2"},
        lambda call: {"agent": "zeynep@example", "agentid": "A9"} if call["agent"] == "can@example" else {},
        # One person, who had another ID before: the name now fits two agents.
        lambda call: {"agentid": "A2b"} if call.get("agentid") == "A2" else {},
        lambda call: {"call_history": call["call_history"][1:]},
        lambda call: {"call_history": renamed(call["call_history"], "Ece Su", "Ece Ay")},
        lambda call: {"agent": "ayse.yeni@example"} if call.get("agentid") == "A1" else {},
        lambda _: {"callid": chance.choice(calls)["callid"]},
        lambda _: {"callerid": chance.choice(calls)["callerid"]},
        lambda call: {"waitduration": 25, "sl": True} if call["answered"] and call["queued"] else {},
        lambda _: {"csat_answers": [centre.answer(5.0), centre.answer(4.0)]},
        lambda _: {"call_tags": ["iade", "yeni"]},
        lambda call: {"calldate": call["calldate"] - hour},
    ]
    listed: list[centre.Call] = []
    for call in calls:
        if chance.random() < 0.04:
            continue
        listed.append(call | chance.choice(changes)(call) if chance.random() < 0.15 else call)
    return listed


def live_through(marts: Marts, seed: int, pieces: int, changes: int) -> None:
    """Loads a centre's hours in random order, then some again with changes, and builds the marts after each load."""
    chance = random.Random(seed)
    calls, hours = centre.make_calls(seed), centre.hours()
    chance.shuffle(hours)
    for step in range(pieces + changes):
        if step >= pieces:
            calls = edit(calls, chance)
        fetched_at = dt.datetime(2026, 10, 26, tzinfo=dt.UTC) + dt.timedelta(days=step)
        read = hours[step::pieces]
        if step >= pieces:
            # Fetched days after their end, so they are final; together with the week after them, which closes windows.
            read = [*chance.sample(hours, 8), *centre.week_after(), centre.LAST_HOUR]
            fetched_at += dt.timedelta(days=10)
        centre.load(marts.warehouse, calls, read, fetched_at)
        marts.build()
        marts.publish()


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """The generated centre, loaded in random order, loaded again after changes, and built after each step."""
    marts = Marts(folder_of("generated", tmp_path_factory), centre.ZONE.key)
    live_through(marts, seed=7, pieces=2, changes=2)
    return marts


@pytest.fixture(scope="session")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """Calls in which any field may be wrong, loaded and built by runs of the real job."""
    folder = folder_of("dirty", tmp_path_factory)
    live_through_dirty_calls(folder, seed=0)
    return Marts(folder / "data", "Europe/Istanbul", "warehouse/warehouse.duckdb")
