"""Dagster's event log in SQLite, with connections that stay open.

Dagster's own opens and closes a database, engine and all, for every event: 11 ms each, where a run of 24 hours has more
than a thousand events. Kept open, an event takes 1 ms. `dagster.yaml` names this class; without it all works, slower.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster import Field, StringSource
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from cdr_assets.settings import ROOT

# Every run has a file of its own: a server that has shown many runs must not keep them all open.
_MOST_OPEN = 16

_BUSY_SECONDS = 60


class EventLog(SqliteEventLogStorage):
    """The files and tables of Dagster's own storage; only the handling of connections differs."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        # Where Dagster's own storage would be, so that dagster.yaml can be taken away and put back.
        home = Path(os.environ.get("DAGSTER_HOME") or ROOT / "data" / "dagster")
        base_dir = config_value.get("base_dir") or str(home / "history" / "runs")
        return cls(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        # The lock is Dagster's own: one thread at a time uses a connection.
        with self._db_lock:
            with self._engine(shard).connect() as connection, connection.begin():
                yield connection
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
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        return engine


def _relax(connection: Any, _record: object) -> None:
    # In WAL mode this survives any crash of the process; a power cut may cost the last events, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
