"""One writer at a time: the lock around the warehouse file, and connections that are open only while it is held.

DuckDB allows one process to hold a file for writing, and fails any other at once. Here they queue instead: a file
lock, which the operating system frees when its holder dies, stands before every connection.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from filelock import FileLock, Timeout

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.schema import TABLES
from cdr_assets.warehouse.ddl import create_statement
from cdr_assets.warehouse.messages import is_held_by_another, program_that_holds
from cdr_assets.warehouse.migrations import MIGRATIONS, SCHEMA_VERSION

# Nobody but this project reads the warehouse: the newest format has the best compression.
_STORAGE_VERSION = "v1.5.0"

# Rows that DuckDB compresses and skips together; dbt's profile names it too. A load adds hours to the last of them,
# which is then written again whole: of its default of 122,880 rows, a week's run wrote most rows three times.
_ROW_GROUP_SIZE = 20_480

_WRITING = f"STORAGE_VERSION '{_STORAGE_VERSION}', ROW_GROUP_SIZE {_ROW_GROUP_SIZE}"

# What DuckDB may hold for each processor, in MB, where history would count; what is more lies on disk. By default
# it may take four fifths of the machine, and keeps what it has read: the longer the history, the more a run took.
_MEMORY_PER_PROCESSOR = 200

# A run has two things to do at once as it is: calls are typed while others are written, and tables are published side
# by side. With two threads of its own, DuckDB took twice the processors' time for what one thread does as soon. And
# each row group is written as it fills: by default several are held back for the commit, which others wait for.
_SETTINGS = "SET threads = 1; SET write_buffer_row_group_count = 1"

_SAY_EVERY_SECONDS = 10.0


class WarehouseError(OperatorError):
    """The warehouse cannot be used; the text is one line that says why and what to do."""


class Warehouse:
    """The warehouse file. `connect` waits for its turn, however long another live run takes.

    `patience_seconds` bounds the wait for a program that is not ours (a DuckDB shell, say): such a program may stay
    open for days. A run of ours ends or dies, and either frees the lock, so that waiting for it is bounded by
    `longest_wait_seconds` alone.
    """

    def __init__(
        self,
        path: Path,
        *,
        log: Callable[[str], object] | None = None,
        patience_seconds: float = 60,
        longest_wait_seconds: float = 6 * 3600,
    ) -> None:
        self.path = path
        self.log = log or logging.getLogger(__name__).warning
        self._patience_seconds = patience_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._lock_path = path.with_name(path.name + ".lock")
        self._holder_path = path.with_name(path.name + ".holder")
        # Where DuckDB puts what does not fit into memory; dbt's profile names the same folder.
        self._spill_path = path.with_name(path.name + ".tmp")

    @contextmanager
    def held(self, holder: str) -> Iterator[None]:
        """The warehouse is ours alone inside the block; no connection is opened. `holder` tells others who we are.

        Raises WarehouseError when the folder cannot be written, or the wait was too long.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_path)
            self._acquire(lock)
        except PermissionError as error:
            raise WarehouseError(
                f"cannot write to {error.filename or self.path.parent}: give this user the right to write there, "
                "or set CDR_DATA_DIR to another folder"
            ) from None
        except OSError as error:
            raise WarehouseError(f"cannot use {self.path.parent}: {error.strerror}; set CDR_DATA_DIR") from None
        try:
            self._write_holder(holder)
            yield
        finally:
            self._holder_path.unlink(missing_ok=True)
            lock.release()

    @contextmanager
    def opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the warehouse, its tables made if need be, for a caller that holds it: `held` says how.

        Raises WarehouseError when another program holds the file, the file is newer than this code, or the disk fails
        or is full while the block runs; for a `read_only` connection also where there is no file, or an older one.
        """
        if read_only and not self.path.exists():
            raise WarehouseError(f"there is no {self.path} yet; run `cdr backfill` or `make demo` first")
        # Left by a run that was killed: whoever holds the warehouse is the only one who may spill there.
        shutil.rmtree(self._spill_path, ignore_errors=True)
        connection = self._open("READ_ONLY" if read_only else _WRITING)
        try:
            connection.execute(f"SET temp_directory = {quoted(str(self._spill_path))}; {_SETTINGS}")
            _prepare(connection, self.path, read_only)
            yield connection
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            raise WarehouseError(
                f"cannot use {self.path}: {str(error).splitlines()[0]}; what was loaded before is still there, "
                "mend this and run again"
            ) from None
        finally:
            connection.close()

    @contextmanager
    def connect(self, holder: str, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse held and opened, for as long as the block runs; raises what both raise."""
        with self.held(holder), self.opened(read_only=read_only) as connection:
            yield connection

    def _acquire(self, lock: FileLock) -> None:
        began = time.monotonic()
        while True:
            try:
                lock.acquire(timeout=_SAY_EVERY_SECONDS)
                return
            except Timeout:
                waited = time.monotonic() - began
                self.log(f"waiting for the warehouse, held by {self._read_holder()}, for {waited:.0f} s")
                if waited > self._longest_wait_seconds:
                    raise WarehouseError(
                        f"the warehouse was held by {self._read_holder()} for {waited:.0f} s; end it, then try again"
                    ) from None

    def _open(self, options: str) -> duckdb.DuckDBPyConnection:
        began = time.monotonic()
        while True:
            try:
                return open_as("warehouse", self.path, options)
            except duckdb.IOException as error:
                text = str(error)
                if not is_held_by_another(text):
                    raise WarehouseError(f"cannot open {self.path}: {text.splitlines()[0]}") from None
                waited = time.monotonic() - began
                if waited > self._patience_seconds:
                    raise WarehouseError(
                        f"{self.path} is held open by another program{program_that_holds(text)}; close it there "
                        "(analysts read the published copy instead) and try again"
                    ) from None
                self.log(
                    f"waiting for the warehouse, open in another program{program_that_holds(text)}, for {waited:.0f} s"
                )
                time.sleep(min(2.0, self._patience_seconds))
            except duckdb.Error as error:
                raise WarehouseError(f"cannot open {self.path}: {str(error).splitlines()[0]}") from None

    def _write_holder(self, holder: str) -> None:
        # A courtesy to those who wait; a disk too full for it will be told by what is written in earnest.
        with suppress(OSError):
            self._holder_path.write_text(json.dumps({"holder": holder, "pid": os.getpid()}), encoding="utf-8")

    def _read_holder(self) -> str:
        try:
            told = json.loads(self._holder_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Not written yet, or not wholly.
            return "another run"
        return f"{told['holder']} (process {told['pid']})"


def processors() -> int:
    """The processors that this process may use, as DuckDB counts them, which knows of containers."""
    with duckdb.connect() as connection:
        (threads,) = connection.execute("SELECT current_setting('threads')").fetchone() or (1,)
    return int(threads)


def memory_limit() -> str:
    """What DuckDB may hold where history would count."""
    return f"{processors() * _MEMORY_PER_PROCESSOR}MB"


def open_as(name: str, path: Path, options: str) -> duckdb.DuckDBPyConnection:
    """A connection with the file attached under `name` and in use; its zone is UTC.

    Opened directly, a file called cdr.duckdb would be the catalogue `cdr`, and DuckDB refuses `cdr.calls` as
    ambiguous between that catalogue and the schema `cdr`.
    """
    connection = duckdb.connect()
    try:
        connection.execute(f"ATTACH {quoted(str(path))} AS {name} ({options})")
        connection.execute(f"USE {name}")
        connection.execute("SET TimeZone = 'UTC'")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> None:
    """Makes the tables of an empty file; brings an older one forward; refuses a newer one."""
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'raw' AND table_name = 'warehouse'"
    ).fetchone()
    if known == (0,) and not read_only:
        with transaction(connection):
            _create(connection)
            connection.execute("CREATE TABLE raw.warehouse (version INTEGER, source VARCHAR)")
            connection.execute("INSERT INTO raw.warehouse VALUES (?, NULL)", [SCHEMA_VERSION])
        return
    (version,) = (connection.execute("SELECT version FROM raw.warehouse").fetchone() if known == (1,) else None) or (0,)
    if version > SCHEMA_VERSION:
        raise WarehouseError(
            f"{path} was written by a newer version of cdr_assets (tables of version {version}, this one knows "
            f"{SCHEMA_VERSION}); upgrade cdr_assets"
        )
    if read_only and version < SCHEMA_VERSION:
        raise WarehouseError(
            f"{path} was made by an older version of cdr_assets; any run brings it forward, then try again"
        )
    for step in range(version, SCHEMA_VERSION):
        with transaction(connection):
            MIGRATIONS[step](connection)
            connection.execute("UPDATE raw.warehouse SET version = ?", [step + 1])
    if version < SCHEMA_VERSION:
        with transaction(connection):
            _create(connection)


def check_source(connection: duckdb.DuckDBPyConnection, source: str, path: Path) -> str | None:
    """Whose calls the warehouse holds; None if it never held any. Raises WarehouseError if it is another tenant.

    `source` is an endpoint, host, port and path. Warehouses from before noted the host alone, which no endpoint is:
    they open for any endpoint of that host, and `claim` notes the one that loads next.
    """
    row = connection.execute("SELECT source FROM raw.warehouse").fetchone()
    known: str | None = row[0] if row else None
    if known is not None and known != source and known.lower() != urlsplit(f"//{source}").hostname:
        raise WarehouseError(f"{path} holds the calls of {known}, not of {source}; set CDR_DATA_DIR to another folder")
    return known


def claim(connection: duckdb.DuckDBPyConnection, source: str, path: Path) -> None:
    """Keeps the warehouse to the calls of one tenant: of two, or with made-up calls among them, no number is true.

    Raises WarehouseError if it holds the calls of another.
    """
    if check_source(connection, source, path) != source:
        connection.execute("UPDATE raw.warehouse SET source = ?", [source])


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables that are not there yet, and says of all what they and their columns hold."""
    for schema in sorted({table.schema for table in TABLES}):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for table in TABLES:
        connection.execute(create_statement(table))
        connection.execute(f"COMMENT ON TABLE {table.full_name} IS {quoted(table.description)}")
        for column in table.columns:
            connection.execute(f'COMMENT ON COLUMN {table.full_name}."{column.name}" IS {quoted(column.description)}')


def quoted(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        # A database that a full disk has made unusable cannot even roll back; its own error is the one to tell.
        with suppress(duckdb.Error):
            connection.rollback()
        raise
    connection.commit()
