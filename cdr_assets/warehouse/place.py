"""The warehouse file: its lock, its connections, and whose calls it holds. SQL on its tables is `hours`.

DuckDB lets one process open a file for writing; any other fails at once. Here the others wait instead: before opening a
connection, a process takes a file lock, which the operating system releases if the process dies.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from filelock import FileLock, Timeout

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private, open_private, refuse_planted
from cdr_assets.domain.schema import TABLES
from cdr_assets.warehouse.ddl import create_statement
from cdr_assets.warehouse.messages import is_held_by_another, program_that_holds
from cdr_assets.warehouse.migrations import MIGRATIONS, SCHEMA_VERSION

# The newest format compresses best. Older versions of DuckDB do not matter, because only this project reads the file.
_STORAGE_VERSION = "v1.5.0"

# Rows that DuckDB compresses and skips together. A load adds rows to the last row group, which is then written again as
# a whole: with the default of 122,880, a week's run wrote most rows three times.
_ROW_GROUP_SIZE = 20_480

#: How the warehouse is attached to be written.
WRITING = f"STORAGE_VERSION '{_STORAGE_VERSION}', ROW_GROUP_SIZE {_ROW_GROUP_SIZE}"

# DuckDB's memory limit for each processor, in MB, for statements that read the whole history; the rest spills to disk.
# By default DuckDB may take four fifths of the memory and keeps what it read, so that runs grew with the history.
_MEMORY_PER_PROCESSOR = 200

# One thread, because a run is already parallel: it types calls while it writes others, and publishes several tables at
# once. With two threads, DuckDB took twice the processor time and was no faster. Row groups are written one by one as
# they fill: by default DuckDB keeps several for the commit, which others wait for.
_SETTINGS = "SET threads = 1; SET write_buffer_row_group_count = 1"

_SAY_EVERY_SECONDS = 10.0


class WarehouseError(OperatorError):
    """The warehouse cannot be used. One line says why and what to do."""


class WarehouseBusyError(WarehouseError):
    """Another run held the warehouse for longer than this process would wait. `holder` says which."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class Warehouse:
    """The warehouse file. `connect` waits until no other process uses it.

    `longest_wait_seconds` limits the wait for other runs. It can be long, because a run ends or dies, and both release
    the lock. `patience_seconds` limits the wait for other programs, such as a DuckDB shell, which may stay open for
    days.
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
        # DuckDB writes here what does not fit into memory.
        self._spill_path = path.with_name(path.name + ".tmp")
        #: `rewrite` writes the new file here.
        self.rewriting_path = path.with_name(path.name + ".rewriting")

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which dbt's profile attaches the same file, with the same write options."""
        return {
            "CDR_WAREHOUSE": str(self.path),
            "CDR_ROW_GROUP_SIZE": str(_ROW_GROUP_SIZE),
            "CDR_SPILL_DIR": str(self._spill_path),
        }

    @contextmanager
    def held(self, holder: str) -> Iterator[None]:
        """Holds the lock inside the block, without opening a connection. Processes that wait log the name in `holder`.

        Raises WarehouseError if the folder cannot be written or the wait took too long.
        """
        try:
            make_private(self.path.parent)
            refuse_planted(self._holder_path)
            held = lock(self._lock_path)
            self._acquire(held)
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
            held.release()

    @contextmanager
    def opened(self, *, read_only: bool = False, is_upgraded: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the warehouse; creates or migrates its tables first. The caller must hold the lock (`held`).

        Raises WarehouseError if another program has the file open, a newer version wrote it, or the disk fails or is
        full while the block runs. With `read_only`, also if there is no file or an older version made it. Without
        `is_upgraded` the tables stay as they are, whichever version made them.
        """
        if read_only and not self.path.exists():
            raise WarehouseError(f"there is no {self.path} yet; run `cdr backfill` first")
        refuse_planted(self.path, is_link_allowed=True)
        for path in (self._spill_path, self.path.with_name(self.path.name + ".wal")):
            refuse_planted(path)
        # A killed run may have left files here. Only the process that holds the lock uses this folder.
        shutil.rmtree(self._spill_path, ignore_errors=True)
        for unfinished in (self.rewriting_path, self.rewriting_path.with_name(self.rewriting_path.name + ".wal")):
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        connection = self._open("READ_ONLY" if read_only else WRITING)
        try:
            connection.execute(f"SET temp_directory = {quoted(str(self._spill_path))}; {_SETTINGS}")
            connection.execute(f"SET memory_limit = '{memory_limit()}'")
            if is_upgraded:
                _prepare(connection, self.path, read_only)
            yield connection
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            raise WarehouseError(
                f"cannot use {self.path}: {why(error)}; what was loaded before is still there"
            ) from None
        finally:
            connection.close()

    @contextmanager
    def connect(self, holder: str, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Holds the lock and opens a connection while the block runs. Raises the same errors as `held` and `opened`."""
        with self.held(holder), self.opened(read_only=read_only) as connection:
            yield connection

    def _acquire(self, lock: FileLock) -> None:
        began = time.monotonic()
        while True:
            try:
                lock.acquire(timeout=min(_SAY_EVERY_SECONDS, self._longest_wait_seconds))
                return
            except Timeout:
                waited = time.monotonic() - began
                holder = self._read_holder()
                if waited >= self._longest_wait_seconds:
                    raise WarehouseBusyError(
                        f"the warehouse was held by {holder} for {waited:.0f} s; end it, then try again", holder
                    ) from None
                self.log(f"waiting for the warehouse, held by {holder}, for {waited:.0f} s")

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
        # This only informs those who wait. If the disk is full, the later writes will report it.
        with suppress(OSError), open_private(self._holder_path) as file:
            file.truncate()
            json.dump({"holder": holder, "pid": os.getpid()}, file)

    def _read_holder(self) -> str:
        try:
            told = json.loads(self._holder_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # The file does not exist yet, or is not complete.
            return "another run"
        return f"{told['holder']} (process {told['pid']})"


@cache
def processors() -> int:
    """The number of processors that this process may use. DuckDB's count respects the limits of containers."""
    with duckdb.connect() as connection:
        (threads,) = connection.execute("SELECT current_setting('threads')").fetchone() or (1,)
    return int(threads)


def memory_limit() -> str:
    """DuckDB's memory limit for statements that read the whole history, for example `400MB`."""
    return f"{processors() * _MEMORY_PER_PROCESSOR}MB"


def why(error: Exception) -> str:
    """The reason of an error of DuckDB or of the disk, and what to do, in one line."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return out_of_memory()
    return f"{str(error).splitlines()[0]}; mend this and run again"


def out_of_memory() -> str:
    """What to report if a statement needs more than `memory_limit` and cannot go on from disk."""
    return (
        f"this needs more memory than DuckDB may use, which is {memory_limit()}: {_MEMORY_PER_PROCESSOR} MB for each "
        "processor that this process may use; give it more processors and run again"
    )


def open_as(name: str, path: Path, options: str) -> duckdb.DuckDBPyConnection:
    """A connection with the file attached as `name` and in use; its time zone is UTC.

    Attaching avoids an ambiguity: a file cdr.duckdb that is opened directly becomes the catalogue `cdr`, and DuckDB
    then refuses `cdr.calls`, because `cdr` may be the catalogue or the schema.
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
    """Creates the tables of an empty file, migrates those of an older version, and refuses those of a newer one."""
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'raw' AND table_name = 'warehouse'"
    ).fetchone()
    if known == (0,) and not read_only:
        with transaction(connection):
            _create(connection)
            connection.execute("CREATE TABLE raw.warehouse (version INTEGER, source VARCHAR, country VARCHAR)")
            connection.execute("INSERT INTO raw.warehouse VALUES (?, NULL, NULL)", [SCHEMA_VERSION])
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
    """The endpoint whose calls the warehouse holds; None if it has no calls. Raises WarehouseError for another one."""
    row = connection.execute("SELECT source FROM raw.warehouse").fetchone()
    known: str | None = row[0] if row else None
    if not is_source(known, source):
        raise WarehouseError(f"{path} holds the calls of {known}, not of {source}; set CDR_DATA_DIR to another folder")
    return known


def is_source(known: str | None, source: str) -> bool:
    """Whether a warehouse that holds the calls of `known` may load those of `source`.

    `source` is host, port and path (`Settings.source`). Older warehouses have only the host. They are accepted for
    every endpoint of that host, and `claim` then stores the endpoint that loads next.
    """
    return known is None or known == source or known.lower() == urlsplit(f"//{source}").hostname


def claim(connection: duckdb.DuckDBPyConnection, source: str, path: Path) -> None:
    """Stores whose calls the warehouse holds. With the calls of two tenants in one file, all figures would be wrong.

    Raises WarehouseError if it holds another tenant's calls.
    """
    if check_source(connection, source, path) != source:
        connection.execute("UPDATE raw.warehouse SET source = ?", [source])


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates missing tables, and sets the comments of all tables and columns."""
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
    """Commits if the block succeeds, otherwise rolls back."""
    connection.begin()
    try:
        yield
    except BaseException:
        # If a full disk made the database unusable, the rollback fails too. The first error is the one to report.
        with suppress(duckdb.Error):
            connection.rollback()
        raise
    connection.commit()
