"""Our event log holds what Dagster's own holds, however many events are stored at once."""

import gc
import os
import sqlite3
import weakref
from pathlib import Path

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    BackfillPolicy,
    DagsterInstance,
    EventLogEntry,
    HourlyPartitionsDefinition,
    MaterializeResult,
    asset,
    materialize,
)
from dagster._core.events import ASSET_EVENTS, BATCH_WRITABLE_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage

from cdr_assets.event_log import EventLog

HOURS = HourlyPartitionsDefinition("2026-03-02-00:00")
RANGE = {
    "dagster/asset_partition_range_start": "2026-03-02-00:00",
    "dagster/asset_partition_range_end": "2026-03-02-03:00",
}


@asset(
    partitions_def=HOURS,
    backfill_policy=BackfillPolicy.single_run(),
    check_specs=[AssetCheckSpec("is_full", asset="calls")],
)
def calls(context: AssetExecutionContext) -> MaterializeResult:  # type: ignore[type-arg]
    context.log_event(AssetMaterialization("pages", partition="2026-03-02-00:00", tags={"dagster/data_version": "1"}))
    return MaterializeResult(tags={"source": "sandbox"}, check_results=[AssetCheckResult(passed=True)])


@pytest.fixture
def batch(tmp_path: Path) -> list[EventLogEntry]:
    """What a real run of four hours had to store at once."""
    (tmp_path / "home").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        result = materialize([calls], instance=instance, tags=RANGE)
        events = [
            event for event in instance.all_logs(result.run_id) if event.dagster_event_type in BATCH_WRITABLE_EVENTS
        ]
    assert [event.dagster_event_type for event in events].count(None) == 0
    assert len({event.dagster_event_type for event in events}) == 3
    return events


def held(folder: Path) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """All rows of all tables of all files, without the moments at which Dagster wrote them."""
    rows: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for file in sorted(folder.glob("*.db")):
        with sqlite3.connect(file) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = [
                    f'"{name}"'
                    for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")
                    if name not in ("create_timestamp", "migration_completed")
                ]
                rows[file.name, table] = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        connection.close()
    return rows


def test_a_batch_is_stored_as_its_events_would_be(
    batch: list[EventLogEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    theirs, ours = (tmp_path / name for name in ("theirs", "ours"))
    own = SqliteEventLogStorage(str(theirs))
    for event in batch:
        own.store_event(event)
    EventLog(str(ours)).store_event_batch(batch)
    expected, found = held(theirs), held(ours)
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert len(expected["index.db", "event_logs"]) == len(batch)
    assert expected["index.db", "asset_event_tags"]


def test_nothing_of_the_caller_stays_in_memory(batch: list[EventLogEntry], tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "ours"))
    of_assets = [event for event in batch if event.dagster_event_type in ASSET_EVENTS]
    # From the second time on, the asset's row is there.
    log.store_event_batch(of_assets)

    class Frame:
        """A batch of calls, say, that a step has in its hands when it reports its hours."""

    def step() -> "weakref.ref[Frame]":
        frame = Frame()
        log.store_event_batch(of_assets)
        return weakref.ref(frame)

    gc.disable()
    try:
        assert step()() is None
    finally:
        gc.enable()
