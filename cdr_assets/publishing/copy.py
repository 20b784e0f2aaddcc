"""Writes the published copy that analysts read. Its file is replaced at once, so that nobody waits or sees half of it.

The current copy is never written to. The previous one is kept under a hidden name; the next publishing updates the
hours that have changed since, and puts it in place. Writing the whole history instead took 9 s at 330,000 calls, every
hour, and copying the file 8 s at ten million calls. If a program still has the previous copy open, the next one starts
as a copy of the current file. If neither file is as the pipeline left it, or columns or settings have changed,
everything is written from scratch.

An hour that changed without a note would stay in the copy as it was. So each publishing also compares some hours with
the warehouse, all hours in turn.

The copy has the schemas `cdr`, `marts`, `bi` and `own`, no raw pages, and every description as a DuckDB comment. A view
of ours is a view in the copy too, on the copy's own tables, which hide what is to be hidden. The user's own views are
published as tables. How each column is shown is in `shown`; queries on the copy are in `reading`.
"""

import datetime as dt
import hashlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cdr_assets.domain.files import sync
from cdr_assets.domain.masking import mask
from cdr_assets.domain.schema import CALLS, CHILDREN, OWN, Class
from cdr_assets.publishing.shown import Privacy, set_key, shown
from cdr_assets.warehouse.ddl import declaration
from cdr_assets.warehouse.place import WarehouseError, processors, quoted, transaction, why

_LOG = logging.getLogger(__name__).warning

# DuckDB 1.3 (May 2025) and later read it. In the oldest format the copy is a fifth larger and takes a third longer.
_STORAGE_VERSION = "v1.3.0"

# Views of `bi` read tables and views of `marts`.
_SCHEMAS = ("cdr", "marts", "bi")

# Bookkeeping of the pipeline, which analysts do not need.
_INTERNAL = ("stale_hours", "unpublished_hours")

# Large tables are updated by whole hours: cdr.unpublished_hours lists their changed hours. They are
# cdr.calls, its children, and the marts that have one of these columns, except the dimensions. All other tables are
# small, and written as a whole: those of the marts after a build, the others always.
_BY_HOUR = (CALLS.name, *CHILDREN)
_HOUR_COLUMNS = ("partition_hour", "local_hour")

# Calls whose hours each publishing compares: half a second of CPU, however long the history. With hourly publishing,
# every one of a million calls is compared within two days, of ten million within three weeks.
_COMPARED_AT_ONCE = 20_000

# Bytes copied in one system call, so that signals are handled in between.
_COPIED_AT_ONCE = 1 << 30


def publish(
    connection: duckdb.DuckDBPyConnection,
    published: Path,
    privacy: Privacy,
    *,
    log: Callable[[str], object] = _LOG,
    log_own: Callable[[str], object] = _LOG,
    mode: int = 0o400,
) -> int:
    """Builds the copy from the warehouse that `connection` has in use, puts it in place, and returns its size in bytes.

    Programs that have the old copy open keep it; the next ones open the new copy. `log` gets a line for each table with
    hours that changed without a note, `log_own` one for each of the user's own tables that cannot be published, such as
    a view of a dropped table. `mode` is the mode of the new file. Raises WarehouseError if the folder cannot be written
    or the disk is full; the old copy then stays in place.
    """
    # The name is fixed, so that files of killed runs are overwritten and do not pile up.
    building = published.parent / f".{published.stem}.building"
    copy = building / published.name
    before = published.parent / f".{published.stem}.before"
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700, parents=True)
        tables = _tables(connection, privacy, log)
        made_of = _made_of(tables, privacy)
        changed = _begin(connection, copy, published, before, made_of)
        # Without a build there is nothing that it may have left unnoted.
        is_built = changed is None or connection.execute("FROM cdr.unpublished_hours LIMIT 1").fetchone()
        compared = _hours_to_compare(connection) if is_built else []
        found = _build(connection, copy, tables, privacy, changed, compared, log_own)
        for table, hours in found:
            log(
                f"{table.schema}.{table.name}: the published copy differed from the warehouse, and was corrected, in "
                f"{len(hours)} of its hours (the first {hours[0]}, the last {hours[-1]}); what writes this table has "
                "to note its hours in cdr.unpublished_hours (in dbt, by the macro note_unpublished)"
            )
        # Read-only: a program that opens the copy for writing would lock out all others, and lose its changes.
        copy.chmod(mode)
        sync(copy)
        size = copy.stat().st_size
        # A program may still have written to the old copy and left a log, which DuckDB would replay on the new copy.
        published.with_name(published.name + ".wal").unlink(missing_ok=True)
        if _is_as_left(connection, published, made_of):
            # Give the old copy a second name instead of moving it, so that there is a copy in place at every moment.
            with suppress(OSError):
                before.hardlink_to(published)
        copy.replace(published)
        # The copy before may show what today's settings hide.
        if before.exists():
            before.chmod(0o400)
        sync(published.parent)
        _note(connection, [published, before], made_of, found, compared)
    except (OSError, duckdb.OperationalError, duckdb.FatalException) as error:
        raise WarehouseError(
            f"cannot publish to {published}: {why(error)}: the copy published before is still in place"
        ) from None
    finally:
        # Also after a failure: on a full disk, half a copy must not take the space that the next load needs.
        shutil.rmtree(building, ignore_errors=True)
    return size


@dataclass(frozen=True)
class _Table:
    """A table of the copy. `columns` has the name, type, description and class of each column that is published.

    `query` is that of a view, which is published as a view.
    """

    schema: str
    name: str
    description: str | None
    columns: list[tuple[str, str, str | None, Class]]
    query: str | None

    @property
    def full_name(self) -> str:
        return f'{self.schema}."{self.name}"'

    @property
    def hour(self) -> str | None:
        """The column of the hours by which it is updated; None if it is small and written as a whole."""
        is_large = self.name in _BY_HOUR if self.schema == "cdr" else not self.name.startswith("dim_")
        names = {name for name, *_ in self.columns}
        return next((name for name in _HOUR_COLUMNS if name in names), None) if is_large else None

    @property
    def is_small_mart(self) -> bool:
        """Whether it changes only when the marts are built, and is then written as a whole."""
        # dim_hours says when each hour was last read, too.
        return self.schema == "marts" and not self.hour and self.name != "dim_hours"

    @property
    def noted_as(self) -> str:
        """Its name in cdr.unpublished_hours: the calls' arrays change with them."""
        return self.name if self.schema == "marts" else CALLS.name

    def shown(self, privacy: Privacy) -> str:
        return shown(self.schema, {name: (kind, holds) for name, kind, _, holds in self.columns}, privacy)


# Tables, and hours of theirs.
_Hours = list[tuple[_Table, list[dt.datetime]]]


def _begin(
    connection: duckdb.DuckDBPyConnection, copy: Path, published: Path, before: Path, made_of: str
) -> str | None:
    """Moves or copies an earlier copy to `copy`, to be updated there. Returns the SQL that lists the hours it lacks.

    Returns None if no earlier copy can be used, so that everything must be written.
    """
    if _is_as_left(connection, before, made_of) and not _is_in_use(before):
        before.replace(copy)
        copy.chmod(0o600)
        return "(FROM cdr.unpublished_hours UNION FROM raw.newly_published_hours)"
    # Delete it to free its space. A program that has it open can still read it until it closes it.
    before.unlink(missing_ok=True)
    if not _is_as_left(connection, published, made_of):
        return None
    _copy(published, copy)
    return "cdr.unpublished_hours"


def _build(
    connection: duckdb.DuckDBPyConnection,
    copy: Path,
    tables: list[_Table],
    privacy: Privacy,
    changed: str | None,
    compared: Sequence[dt.datetime],
    log_own: Callable[[str], object],
) -> _Hours:
    """Writes all tables into `copy`; in the large ones only the hours that `changed` lists (an SQL query), if given.

    There it also compares the hours in `compared`. Returns, by table, the hours that differed and were not noted.
    The small marts stay as they are if `changed` lists no table as a whole, as each build of the marts does.
    """
    found: _Hours = []
    if changed and not connection.execute(f"FROM {changed} WHERE hour IS NULL").fetchone():
        tables = [table for table in tables if not table.is_small_mart]
    # DuckDB's default row groups: with the warehouse's smaller ones, the copy of ten million calls is a quarter larger.
    # No write-ahead log: it holds another copy of each text in memory, and an unfinished file is discarded anyway.
    options = f"STORAGE_VERSION '{_STORAGE_VERSION}', RECOVERY_MODE no_wal_writes"
    connection.execute(f"ATTACH {quoted(str(copy))} AS copy ({options})")
    (in_use,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    try:
        for schema in _SCHEMAS:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS copy.{schema}")

        def build(some: Sequence[_Table]) -> None:
            with _cursor(connection, in_use, privacy) as cursor, transaction(cursor):
                for table in some:
                    shown = table.shown(privacy)
                    if not (changed and table.hour and _renew(cursor, table, shown, changed)):
                        _write(cursor, table, shown)
                    elif hours := _correct(cursor, table, shown, changed, compared):
                        found.append((table, hours))

        # The large tables are written in parallel, and all small ones in one transaction, because each transaction
        # waits for the disk. Without transactions each statement would wait, and there is one comment per column.
        stored = [table for table in tables if not table.query]
        large = [[table] for table in stored if table.hour]
        small = [table for table in stored if not table.hour]
        views = sorted((table for table in tables if table.query), key=lambda view: _SCHEMAS.index(view.schema))
        with ThreadPoolExecutor(processors()) as threads:
            list(threads.map(build, [*large, small]))
        with _cursor(connection, in_use, privacy) as cursor, transaction(cursor):
            for view in views:
                _write_view(cursor, view)
        _write_own(connection, in_use, privacy, log_own)
        connection.execute("CHECKPOINT copy")
    finally:
        # On a full disk DETACH may fail too, and must not hide the first error.
        with suppress(duckdb.Error):
            connection.execute("DETACH copy")
    return found


def _write_own(
    connection: duckdb.DuckDBPyConnection, in_use: str, privacy: Privacy, log_own: Callable[[str], object]
) -> None:
    """Writes the user's own tables and views, each as a table. Warns of those that fail, for example broken views."""
    connection.execute(f"DROP SCHEMA IF EXISTS copy.{OWN} CASCADE; CREATE SCHEMA copy.{OWN}")
    with _cursor(connection, in_use, privacy) as cursor:
        for table in _tables(cursor, privacy, log_own, (OWN,)):
            try:
                with transaction(cursor):
                    # Not with the declared types: nested columns are shown as JSON.
                    query = f"SELECT {table.shown(privacy)} FROM {table.full_name}"
                    cursor.execute(f"CREATE TABLE copy.{table.full_name} AS {query}")
                    _comment(cursor, table)
            except duckdb.FatalException:
                raise
            # Whatever a view of theirs runs into, a file that is gone for instance. A full disk fails the copy later.
            except duckdb.Error as error:
                log_own(f"{table.name} cannot be published: {mask(str(error).splitlines()[0])}")


def _write(connection: duckdb.DuckDBPyConnection, table: _Table, shown: str) -> None:
    """Writes the whole table with its comments."""
    columns = ", ".join(declaration(column, type_of_column) for column, type_of_column, *_ in table.columns)
    connection.execute(f"CREATE OR REPLACE TABLE copy.{table.full_name} ({columns})")
    connection.execute(f"INSERT INTO copy.{table.full_name} SELECT {shown} FROM {table.full_name}")
    _comment(connection, table)


def _write_view(connection: duckdb.DuckDBPyConnection, view: _Table) -> None:
    """Writes the view with its comments. Its query finds the copy's tables, because it names no catalogue."""
    columns = ", ".join(f'"{column}"' for column, *_ in view.columns)
    connection.execute(f"CREATE OR REPLACE VIEW copy.{view.full_name} AS SELECT {columns} FROM ({view.query})")
    _comment(connection, view)


def _comment(connection: duckdb.DuckDBPyConnection, table: _Table) -> None:
    if table.description:
        kind = "VIEW" if table.query else "TABLE"
        connection.execute(f"COMMENT ON {kind} copy.{table.full_name} IS {quoted(table.description)}")
    for column, _, description, _ in table.columns:
        if description:
            connection.execute(f'COMMENT ON COLUMN copy.{table.full_name}."{column}" IS {quoted(description)}')


def _renew(connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, changed: str) -> bool:
    """Replaces the changed hours; False if the whole table must be written, because it changed or the counts differ."""
    hours = _noted_hours(table, changed)
    noted = connection.execute(hours).fetchall()
    if (None,) in noted:
        return False
    name = table.full_name
    if noted:
        _replace(connection, table, shown, hours)
    counts = connection.execute(f"SELECT (SELECT count(*) FROM copy.{name}) = (SELECT count(*) FROM {name})")
    return counts.fetchone() == (True,)


def _noted_hours(table: _Table, changed: str) -> str:
    """The query for the table's hours that `changed` lists; NULL stands for all hours."""
    return f"SELECT hour FROM {changed} WHERE table_name = {quoted(table.noted_as)}"


def _correct(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, changed: str, compared: Sequence[dt.datetime]
) -> list[dt.datetime]:
    """Rewrites the hours whose rows differ although nobody noted them, and returns them.

    It compares the hours in `compared`, and the hours in which calls changed: a model that notes nothing is found there
    at once.
    """
    of_calls = connection.execute(
        f"""SELECT hour FROM {changed} WHERE table_name = {quoted(CALLS.name)}
            EXCEPT {_noted_hours(table, changed)} ORDER BY hour"""
    ).fetchall()
    # `_renew` has just written the noted hours. For a few calls, compiling the patterns of `shown` takes most of the
    # time of a comparison.
    renewed = {hour for (hour,) in connection.execute(_noted_hours(table, changed)).fetchall()}
    not_renewed = [hour for hour in compared if hour not in renewed]
    # In two queries: the hours of each lie near each other, so that DuckDB skips all others.
    found = [
        hour
        for hours in ([hour for (hour,) in of_calls], not_renewed)
        if hours
        for hour in _differing(connection, table, shown, hours)
    ]
    if found:
        _replace(connection, table, shown, "SELECT unnest(?::TIMESTAMP[])", [found])
    return sorted(set(found))


def _differing(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, hours: Sequence[dt.datetime]
) -> list[dt.datetime]:
    """The hours whose rows in the copy differ from those that the warehouse would publish now.

    Both sides are hashed here. No hash is stored: with one of a row's phone number, anybody could try all numbers.
    """
    columns = ", ".join(f'"{column}"' for column, *_ in table.columns)

    def hashes(selected: str, name: str) -> str:
        # A sum, so that a row that comes twice counts twice.
        return f"""SELECT {table.hour}, sum(hash({columns})) AS rows_hash FROM (
                       SELECT {selected} FROM {name} WHERE {table.hour} IN (SELECT unnest($hours::TIMESTAMP[]))
                   ) GROUP BY {table.hour}"""

    rows = connection.execute(
        f"""SELECT {table.hour} FROM ({hashes(shown, table.full_name)}) AS ours
            FULL JOIN ({hashes("*", f"copy.{table.full_name}")}) AS theirs USING ({table.hour})
            WHERE ours.rows_hash IS DISTINCT FROM theirs.rows_hash""",
        {"hours": list(hours)},
    ).fetchall()
    return [hour for (hour,) in rows]


def _replace(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, hours: str, values: Sequence[object] = ()
) -> None:
    """Replaces the copy's rows of some hours; `hours` is a query that returns them."""
    is_changed = f"{table.hour} IN ({hours})"
    connection.execute(f"DELETE FROM copy.{table.full_name} WHERE {is_changed}", values)
    connection.execute(
        f"INSERT INTO copy.{table.full_name} SELECT {shown} FROM {table.full_name} WHERE {is_changed}", values
    )


def _hours_to_compare(connection: duckdb.DuckDBPyConnection) -> list[dt.datetime]:
    """The next hours to compare, about `_COMPARED_AT_ONCE` calls; after the last hours, the first again."""
    until = _compared_until(connection)
    for begin in (until, None) if until else (None,):
        hours = connection.execute(
            """SELECT partition_hour FROM (
                   SELECT partition_hour, count(*) AS calls FROM cdr.calls
                   WHERE partition_hour > coalesce(?, '-infinity'::TIMESTAMP) GROUP BY partition_hour
               ) QUALIFY sum(calls) OVER (ORDER BY partition_hour) - calls < ? ORDER BY partition_hour""",
            [begin, _COMPARED_AT_ONCE],
        ).fetchall()
        if hours:
            return [hour for (hour,) in hours]
    return []


def _compared_until(connection: duckdb.DuckDBPyConnection) -> dt.datetime | None:
    row = connection.execute("SELECT max(compared_until) FROM raw.published_copy").fetchone()
    until: dt.datetime | None = row[0] if row else None
    return until


def _made_of(tables: list[_Table], privacy: Privacy) -> str:
    """A hash that changes when the same row of the warehouse would look different in the copy."""
    # The select lists too: a copy that an earlier version wrote may show what this one hides.
    shown = [table.shown(privacy) for table in tables]
    told = (_STORAGE_VERSION, tables, shown, privacy.callers.value, privacy.secret_key)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _is_as_left(connection: duckdb.DuckDBPyConnection, file: Path, made_of: str) -> bool:
    left = connection.execute("SELECT inode, size, modified, made_of FROM raw.published_copy").fetchall()
    return file.exists() and (*_identity(file), made_of) in left


def _is_in_use(file: Path) -> bool:
    """True if a program has the file open or it has a second name, so that others would see changes to it.

    The system grants a write lease only on a file that nobody else has open. This also finds programs that ignore
    DuckDB's locks, such as a running backup. Systems without leases cannot tell, so that it returns True there.
    """
    try:
        import fcntl

        with file.open("rb") as opened:
            # If another program opens the file now, the system sends a signal; the default one would end this process.
            fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return file.stat().st_nlink > 1
    except (ImportError, AttributeError, OSError):
        return True


def _note(
    connection: duckdb.DuckDBPyConnection,
    files: list[Path],
    made_of: str,
    found: _Hours,
    compared: Sequence[dt.datetime],
) -> None:
    # Called after the copy is in place. If the run is killed in between, raw.published_copy does not know the new file:
    # the next run then updates the previous copy, if it is still there, or writes everything.
    with transaction(connection):
        until = compared[-1] if compared else _compared_until(connection)
        connection.execute("DELETE FROM raw.published_copy")
        for file in files:
            if file.exists():
                connection.execute(
                    "INSERT INTO raw.published_copy VALUES (?, ?, ?, ?, ?)",
                    [*_identity(file), made_of, until],
                )
        connection.execute("DELETE FROM raw.newly_published_hours")
        connection.execute("INSERT INTO raw.newly_published_hours FROM cdr.unpublished_hours")
        for table, hours in found:
            # The copy before this one lacks them too.
            connection.execute(
                "INSERT INTO raw.newly_published_hours SELECT ?, unnest(?::TIMESTAMP[])", [table.noted_as, hours]
            )
        connection.execute("DELETE FROM cdr.unpublished_hours")


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _tables(
    connection: duckdb.DuckDBPyConnection,
    privacy: Privacy,
    log: Callable[[str], object],
    schemas: Sequence[str] = _SCHEMAS,
) -> list[_Table]:
    """The tables to publish, with their columns that have a class. `log` gets a line for each other column."""
    # DuckDB keeps the whole statement of a view: CREATE VIEW marts.name AS SELECT ...;
    rows = connection.execute(
        """SELECT schema_name, table_name, any_value(tables.comment),
                  any_value(regexp_extract(sql, '^.*? AS (.*);$', 1, 's')),
                  list((column_name, data_type, columns.comment) ORDER BY column_index)
           FROM (
               SELECT database_name, schema_name, table_name, comment, NULL AS sql FROM duckdb_tables()
               UNION ALL SELECT database_name, schema_name, view_name, comment, sql FROM duckdb_views()
           ) AS tables JOIN duckdb_columns() AS columns USING (database_name, schema_name, table_name)
           WHERE database_name = current_database() AND contains(?, schema_name) AND NOT contains(?, table_name)
           GROUP BY schema_name, table_name ORDER BY schema_name, table_name""",
        [list(schemas), list(_INTERNAL)],
    ).fetchall()
    tables = []
    for schema, name, comment, query, columns in rows:
        classed = []
        for column, kind, description in columns:
            if holds := privacy.class_of(schema, name, column, kind):
                classed.append((column, kind, description, holds))
            else:
                log(
                    f"{schema}.{name}.{column} is not published: it has no class; state it where the table is described"
                )
        if classed:
            tables.append(_Table(schema, name, comment, classed, query if schema != OWN else None))
    return tables


@contextmanager
def _cursor(
    connection: duckdb.DuckDBPyConnection, in_use: str, privacy: Privacy
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor on the database `in_use` that knows the key of the pseudonyms; the key's variables end with it.

    Each thread needs a cursor of its own, and none may ask `connection` for anything while the others run.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"USE {in_use}")
        set_key(cursor, privacy)
        yield cursor


def _copy(source: Path, target: Path) -> None:
    """Copies a file. On XFS and Btrfs, the copy shares the blocks of the original and takes no time or space."""
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while os.copy_file_range(read.fileno(), written.fileno(), _COPIED_AT_ONCE):
                pass
    except (AttributeError, OSError):
        # This system, or these files, do not support it.
        shutil.copyfile(source, target)
