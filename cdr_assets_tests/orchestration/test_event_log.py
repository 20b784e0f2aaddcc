"""Our event log stores the same as Dagster's own, however many events it stores at once, and watchers get the
events."""

import datetime as dt
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from uuid import uuid4

import pytest
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    BackfillPolicy,
    DagsterEvent,
    DagsterInstance,
    EventLogEntry,
    HourlyPartitionsDefinition,
    MaterializeResult,
    OpExecutionContext,
    asset,
    in_process_executor,
    job,
    materialize,
    op,
)
from dagster._core.events import ASSET_EVENTS, BATCH_WRITABLE_EVENTS, DagsterEventBatchMetadata
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import text

from cdr_assets.domain.project import PROJECT
from cdr_assets.orchestration.event_log import EventLog
from cdr_assets.orchestration.home import use_dagster_home
from cdr_assets.orchestration.keys import CDR_KEYS, PAGES_KEY
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, pipelines_in, record, settings_for

BALANCE = AssetCheckKey(CDR_KEYS[0], "row_counts_balance")
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
    """The events that a real run of four hours stored at once."""
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
    """All rows of all tables in all files, without the times at which Dagster wrote them."""
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
    # The second time, the asset's row exists already.
    log.store_event_batch(of_assets)

    class Frame:
        """Stands for something that a step holds while it reports its hours, like a batch of calls."""

    def step() -> "weakref.ref[Frame]":
        frame = Frame()
        log.store_event_batch(of_assets)
        return weakref.ref(frame)

    gc.disable()
    try:
        assert step()() is None
    finally:
        gc.enable()


def test_old_logs_go_and_the_newest_event_of_each_hour_stays(tmp_path: Path) -> None:
    with pipelines_in(tmp_path) as make, Sandbox(ListedCalls([record("a")]), token=TOKEN) as sandbox:
        pipeline = make(sandbox.base_url)
        old, older, new = (pipeline.run(HOUR, 2, selection=UP_TO_THE_CALLS).run_id for _ in range(3))
        log = pipeline.instance.event_log_storage
        assert isinstance(log, EventLog)
        month_ago = time.time() - 40 * 86400
        with log.index_connection() as connection:
            for table, column in (("event_logs", "timestamp"), ("asset_check_executions", "create_timestamp")):
                of = f"run_id IN ('{old}', '{older}')"
                connection.execute(text(f"UPDATE {table} SET {column} = datetime({month_ago}, 'unixepoch') WHERE {of}"))
        log.dispose()
        for run_id in (old, older):
            os.utime(log.path_for_shard(run_id), (month_ago, month_ago))

        def known() -> list[object]:
            instance = pipeline.instance
            return [
                instance.get_materialized_partitions(PAGES_KEY),
                instance.get_latest_data_version_record(PAGES_KEY, partition_key="2026-03-02-05:00"),
                instance.event_log_storage.get_latest_asset_check_execution_by_key([BALANCE]),
                len(instance.all_logs(new)),
            ]

        before = known()
        assert len(before[0]) == 2  # type: ignore[arg-type]
        assert log.prune(dt.datetime.now(dt.UTC) - dt.timedelta(days=30)) == 2
        assert known() == before
        assert pipeline.instance.all_logs(old) == []
        with log.index_connection() as connection:
            runs = connection.execute(text("SELECT DISTINCT run_id FROM event_logs")).scalars().all()
        assert runs == [new]


# Watches the run as the web server does, and writes a line for each event.
WATCHER = """
import sys, threading
from dagster import DagsterInstance

home, configuration, run_id = sys.argv[1:]
ended = threading.Event()


def told(entry, _cursor):
    print(entry.dagster_event_type.value if entry.dagster_event_type else entry.user_message, flush=True)
    if entry.dagster_event_type and entry.dagster_event_type.value == "PIPELINE_SUCCESS":
        ended.set()


with DagsterInstance.from_config(home, configuration) as instance:
    instance.watch_event_logs(run_id, None, told)
    print("watching", flush=True)
    ended.wait(60)
"""


def test_the_commands_that_check_definitions_open_it_without_dagster_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("CDR_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "temporary").mkdir()
    # As `dg check defs` opens an instance in a checkout.
    reference = InstanceRef.from_dir(str(tmp_path / "temporary"), config_dir=str(PROJECT))
    with DagsterInstance.from_ref(reference) as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        assert not instance.all_asset_keys()
    assert (tmp_path / "data" / "dagster" / "history" / "runs" / "index.db").exists()


@pytest.mark.parametrize("configuration", ["dagster.yaml", "without_our_event_log.yaml"])
def test_another_process_is_told_of_every_event_when_it_happens(
    configuration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    home = use_dagster_home(settings_for("http://127.0.0.1:1", tmp_path))
    (home / "without_our_event_log.yaml").write_text("telemetry: {enabled: false}", encoding="utf-8")
    run_id = str(uuid4())
    with DagsterInstance.from_config(str(home)) as instance:
        # The run's file must exist before somebody watches it.
        instance.event_log_storage.get_logs_for_run(run_id)
        watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHER, str(home), configuration, run_id], stdout=subprocess.PIPE, text=True
        )
        assert watcher.stdout is not None
        patience = threading.Timer(30, watcher.kill)
        patience.start()
        try:
            assert watcher.stdout.readline() == "watching\n"
            told: list[str] = []

            def wait_for(event: str) -> None:
                assert watcher.stdout is not None
                for line in watcher.stdout:
                    told.append(line.strip())
                    if told[-1] == event:
                        return
                raise AssertionError(f"not told of {event} while the run went on, only of {told}")

            @op
            def step(context: OpExecutionContext) -> None:
                wait_for("STEP_START")
                for number in range(3):
                    context.log.info(f"event {number}")
                    wait_for(f"event {number}")
                # Stored as a batch, like the hours of an asset.
                for number in range(3):
                    batch = DagsterEventBatchMetadata("hours", is_end=number == 2)
                    materialization = AssetMaterialization("calls", partition=f"{number}")
                    DagsterEvent.asset_materialization(context.get_step_execution_context(), materialization, batch)
                for _ in range(3):
                    wait_for("ASSET_MATERIALIZATION")

            @job(executor_def=in_process_executor)
            def run() -> None:
                step()

            assert run.execute_in_process(instance=instance, run_id=run_id).success
            wait_for("PIPELINE_SUCCESS")
            stored = [entry.dagster_event_type for entry in instance.all_logs(run_id)]
        finally:
            patience.cancel()
            watcher.kill()
            watcher.wait()
            watcher.stdout.close()
    assert len(told) == len(stored)
