"""Dagster's event log in SQLite, faster: connections stay open, and many events are written in one transaction.

Dagster's own event log creates an engine and opens and closes the database for every event. That takes 11 ms per event,
and a run of a week has seven thousand. With open connections and one transaction for all hours of an asset, an event
takes less than 1 ms. `dagster.yaml` names this class; without it everything works, but slower. Which events a step
reports is in `steps`.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from dagster import EventLogEntry, Field, StringSource
from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert as insert_or_update
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from cdr_assets.orchestration.home import dagster_home
from cdr_assets.orchestration.private import (
    ASSET_EVENTS,
    INDEX_SHARD_NAME,
    AssetCheckExecutionRecordStatus,
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    ConfigurableClassData,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
    serialize_value,
)

# Every run has its own file. The web server shows many runs and must not keep all their files open.
_MOST_OPEN = 16

_BUSY_SECONDS = 60

# How many events Dagster collects before it stores them together: enough for all hours of an asset in one run.
_BATCH_SIZE = "1000"


class EventLog(SqliteEventLogStorage):
    """Dagster's own storage, with the same files and tables; only connections and batches are handled differently."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._known_tables: set[str] = set()
        super().__init__(base_dir, inst_data)
        # Dagster reads the batch size from this variable only.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _BATCH_SIZE)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        # The same place as Dagster's own storage, so that removing this class from dagster.yaml loses no run. `dg check
        # defs` and `dagster definitions validate` read the dagster.yaml of a checkout without setting DAGSTER_HOME.
        base_dir = config_value.get("base_dir") or str(dagster_home() / "history" / "runs")
        return cls(base_dir, inst_data)

    def has_table(self, table_name: str) -> bool:
        # Dagster asks this for every event with a tag, over a new connection. Remember the answer: tables stay.
        if table_name not in self._known_tables and super().has_table(table_name):
            self._known_tables.add(table_name)
        return table_name in self._known_tables

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores the events of a run as `store_event` does, but the asset events in one transaction per file."""
        for is_of_asset, neighbours in groupby(events, lambda event: event.dagster_event_type in ASSET_EVENTS):
            if is_of_asset:
                self._store_asset_events(list(neighbours))
            else:
                for event in neighbours:
                    self.store_event(event)

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            in_order = insert.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
            ids: Sequence[int] = connection.execute(in_order, rows).scalars().all()
            self._store_asset_event_tags(connection, events, ids)
            # An asset's row holds only its newest event of each type.
            newest = {
                (event.dagster_event_type, event.get_dagster_event().asset_key): (event, event_id)
                for event, event_id in zip(events, ids, strict=True)
            }
            for event, event_id in newest.values():
                self._store_asset_event(connection, event, event_id)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        # Dagster's own method inserts the asset's row and, if that fails, updates it. The exception's traceback refers
        # to the frames of all callers and they refer to it, so that a batch of calls in the step stayed in memory until
        # Python's garbage collector ran, which happens rarely in a process as large as this one.
        asset_key = event.get_dagster_event().asset_key
        values = self._get_asset_entry_values(event, event_id, has_asset_key_index_cols=True)
        if asset_key and values:
            row = insert_or_update(AssetKeyTable).values(asset_key=asset_key.to_string(), **values)
            conn.execute(row.on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=values))

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        # Dagster's own method serializes the event once per hour, and each time the event holds all hours of the run.
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        hours: Iterable[str | None] = subset.get_partition_keys() if subset else (None,)
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None),
            "evaluation_event_storage_id": event_id,
        }
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), [row | {"partition": hour} for hour in hours])

    def prune(self, before: datetime) -> int:
        """Deletes the logs of runs that wrote nothing since `before` (aware); returns how many there were.

        Of the events of assets and of checks from before, the newest of each partition stay: Dagster reads from them
        which hours are published.
        """
        index = Path(self.path_for_shard(INDEX_SHARD_NAME))
        old = [file for file in index.parent.glob("*.db") if file != index and _last_written(file) < before.timestamp()]
        with self._db_lock:
            for file in old:
                if engine := self._engines.pop(file.stem, None):
                    engine.dispose()
                for suffix in ("", "-wal", "-shm"):
                    file.with_name(file.name + suffix).unlink(missing_ok=True)
        naive = before.astimezone(UTC).replace(tzinfo=None)
        events, checks = SqlEventLogStorageTable, AssetCheckExecutionsTable
        with self.index_transaction() as connection:
            for table, at, of in (
                (events, events.c.timestamp, (events.c.asset_key, events.c.partition, events.c.dagster_event_type)),
                (checks, checks.c.create_timestamp, (checks.c.asset_key, checks.c.check_name, checks.c.partition)),
            ):
                newest = select(func.max(table.c.id)).group_by(*of)
                connection.execute(table.delete().where(at < naive, table.c.id.not_in(newest)))
            kept = select(events.c.id)
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.not_in(kept)))
        return len(old)

    def dispose(self) -> None:
        # The last connection takes SQLite's log into the file. A process that ends without it leaves up to 4 MB a run.
        super().dispose()
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        # Dagster's own lock: only one thread at a time uses a connection.
        with self._db_lock:
            with self._engine(shard).connect() as connection:
                database = connection.connection.driver_connection
                assert isinstance(database, sqlite3.Connection)
                before = database.total_changes
                with connection.begin():
                    yield connection
                if database.total_changes > before:
                    # The web server, another process, refreshes the page of a running run when its database file
                    # changes. With an open connection a commit changes only the WAL file, so touch the database file.
                    # If that fails, for instance because the file was deleted, the run must still go on.
                    with suppress(OSError):
                        os.utime(self.path_for_shard(shard))
            while len(self._engines) > _MOST_OPEN:
                _, oldest = self._engines.popitem(last=False)
                oldest.dispose()

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _relax)
            # Another process may have pruned a file that this one had open before.
            if shard not in self._initialized_dbs or not Path(self.path_for_shard(shard)).exists():
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        return engine


def _last_written(file: Path) -> float:
    log = file.with_name(f"{file.name}-wal")
    return max(each.stat().st_mtime for each in (file, log) if each.exists())


def _relax(connection: Any, _record: object) -> None:
    # In WAL mode no event is lost if the process crashes. A power cut may lose the last events, but not the file.
    connection.execute("PRAGMA synchronous = NORMAL")
