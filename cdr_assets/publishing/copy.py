"""The published copy: what analysts read. Replaced whole and at once, so that nobody waits and nobody sees half.

The copy in place is never written to. The one before it, which nobody can find any more, is kept, brought forward by
the hours that have changed since, and put in place in its turn: writing all of history took 9 s at 330,000 calls each
hour, and copying the file 8 s at ten million. Where a program still reads it, the next begins as a copy of the file in
place. Where neither is as it was left, or they are made otherwise now, everything is written.

An hour that changed without a note would stay in the copy as it was. So some hours of which nothing was noted are
compared with the warehouse at each publishing, and all of them in turn.

It holds the schemas `cdr` and `marts`, no raw pages, phone numbers as CDR_CALLERS says, and every description as a
DuckDB comment.
"""

import datetime as dt
import hashlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cdr_assets.domain.schema import CALLS, CHILDREN, OWN
from cdr_assets.domain.settings import Callers
from cdr_assets.warehouse.ddl import declaration
from cdr_assets.warehouse.place import WarehouseError, memory_limit, processors, quoted, transaction

_LOG = logging.getLogger(__name__).warning

# Read by DuckDB 1.3 of May 2025 and later. In the oldest format the copy is a fifth larger, and takes a third longer.
_STORAGE_VERSION = "v1.3.0"

# Not for analysts: bookkeeping between the load and the marts.
_INTERNAL = ("stale_hours", "unpublished_hours")

# Large, and written by whole hours: what changed in them is noted in cdr.unpublished_hours. All else is small.
_BY_HOUR = (CALLS.name, *CHILDREN, "fct_calls", "fct_call_events", "fct_call_tags", "fct_contacts", "fct_csat_answers")

# Calls whose hours are compared at each publishing: half a second of a processor, however long the history. Published
# hourly, a million calls have all had their turn after two days, ten million after three weeks.
_COMPARED_AT_ONCE = 20_000

# Bytes asked for in one call of the system: a copy that has to be made is made in between signals.
_COPIED_AT_ONCE = 1 << 30

# Columns that hold a phone number, and those that hold text in which one may stand.
_NUMBERS = ("callerid", "called_num", "caller_number", "called_number")
_TEXTS = ("channel", "recordingurl", "extra", "item", "record")


def publish(
    connection: duckdb.DuckDBPyConnection,
    published: Path,
    callers: Callers,
    secret_key: str,
    *,
    log: Callable[[str], object] = _LOG,
    log_own: Callable[[str], object] = _LOG,
) -> int:
    """Builds the copy from the warehouse that `connection` has in use, and puts it in place; returns its bytes.

    Readers that are open keep the file they have; the next to open gets the new one. `log` is told of hours that
    changed without a note, `log_own` of a table of the user's own that cannot be published. Raises WarehouseError when
    the folder cannot be written or the disk is full; what was published before then stays.
    """
    # One fixed name: what a killed run left is overwritten and never piles up.
    building = published.parent / f".{published.stem}.building"
    copy = building / published.name
    before = published.parent / f".{published.stem}.before"
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        tables = _tables(connection)
        made_of = _made_of(tables, callers, secret_key)
        compared = _hours_to_compare(connection)
        changed = _begin(connection, copy, published, before, made_of)
        found = _build(connection, copy, tables, callers, secret_key, changed, compared, log_own)
        for table, hours in found:
            log(
                f"{table.schema}.{table.name}: the published copy differed from the warehouse, and was corrected, in "
                f"{len(hours)} of its hours (the first {hours[0]}, the last {hours[-1]}); what writes this table has "
                "to note its hours in cdr.unpublished_hours (in dbt, by the macro note_unpublished)"
            )
        # A program that opens the copy for writing would shut all others out, and its changes would be lost.
        copy.chmod(0o444)
        _sync(copy)
        size = copy.stat().st_size
        # Left by a program that did so all the same: DuckDB would replay it on the new copy.
        published.with_name(published.name + ".wal").unlink(missing_ok=True)
        if _is_as_left(connection, published, made_of):
            # A second name, since there must be no moment without a copy in place.
            with suppress(OSError):
                before.hardlink_to(published)
        copy.replace(published)
        _sync(published.parent)
        _note(connection, [published, before], made_of, found, compared)
    except (OSError, duckdb.OperationalError, duckdb.FatalException) as error:
        raise WarehouseError(
            f"cannot publish to {published}: {str(error).splitlines()[0]}; mend this and run again: "
            "the copy published before is still in place"
        ) from None
    finally:
        # Also after a failure: on a full disk, half a copy must not take the room that the next load needs.
        shutil.rmtree(building, ignore_errors=True)
    return size


@dataclass(frozen=True)
class _Table:
    """A table of the copy. `columns`: name, type and description of each."""

    schema: str
    name: str
    description: str | None
    columns: list[tuple[str, str, str | None]]

    @property
    def full_name(self) -> str:
        return f'{self.schema}."{self.name}"'

    @property
    def noted_as(self) -> str:
        """Its name in cdr.unpublished_hours: the calls' arrays change with them."""
        return self.name if self.schema == "marts" else CALLS.name


# Tables, and hours of theirs.
_Hours = list[tuple[_Table, list[dt.datetime]]]


def _begin(
    connection: duckdb.DuckDBPyConnection, copy: Path, published: Path, before: Path, made_of: str
) -> str | None:
    """Puts an earlier copy where the next one is made; returns where what it lacks is noted, None if there is none."""
    if _is_as_left(connection, before, made_of) and not _is_in_use(before):
        before.replace(copy)
        copy.chmod(0o644)
        return "(FROM cdr.unpublished_hours UNION FROM raw.newly_published_hours)"
    # Programs that read it keep it until they close it; its room is needed.
    before.unlink(missing_ok=True)
    if not _is_as_left(connection, published, made_of):
        return None
    _copy(published, copy)
    return "cdr.unpublished_hours"


def _build(
    connection: duckdb.DuckDBPyConnection,
    copy: Path,
    tables: list[_Table],
    callers: Callers,
    secret_key: str,
    changed: str | None,
    compared: Sequence[dt.datetime],
    log_own: Callable[[str], object],
) -> _Hours:
    """Writes all tables into `copy`; of the large ones what `changed` names, if they are in it already.

    Of these the hours that `compared` holds are compared. Returns those that had changed and were not noted, by table.
    """
    found: _Hours = []
    (unlimited,) = connection.execute("SELECT current_setting('memory_limit')").fetchone() or ("",)
    connection.execute(f"SET memory_limit = '{memory_limit()}'")
    # With DuckDB's own size of row groups: in the warehouse's smaller ones, the copy of ten million calls is a quarter
    # larger.
    # Without DuckDB's log: it would be another copy of each text in memory, for a file that is discarded if a run dies.
    options = f"STORAGE_VERSION '{_STORAGE_VERSION}', RECOVERY_MODE no_wal_writes"
    connection.execute(f"ATTACH {quoted(str(copy))} AS copy ({options})")
    (in_use,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    try:
        for schema in ("cdr", "marts"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS copy.{schema}")

        def build(some: Sequence[_Table]) -> None:
            # A connection of the thread's own, to the same databases.
            with connection.cursor() as cursor:
                cursor.execute(f"USE {in_use}")
                # A variable, since the key must not stand in the text of a query. It ends with the cursor.
                cursor.execute("SET VARIABLE secret_key = ?", [secret_key])
                with transaction(cursor):
                    for table in some:
                        shown = _shown(table, callers)
                        if not (changed and table.name in _BY_HOUR and _renew(cursor, table, shown, changed)):
                            _write(cursor, table, shown)
                        elif hours := _correct(cursor, table, shown, changed, compared):
                            found.append((table, hours))

        # The large tables side by side, and all others in one transaction: each of its own would wait for the disk, as
        # each statement by itself would, and a table has a comment a column.
        large = [[table] for table in tables if table.name in _BY_HOUR]
        small = [table for table in tables if table.name not in _BY_HOUR]

        def build_all() -> None:
            with ThreadPoolExecutor(processors()) as threads:
                list(threads.map(build, [*large, small]))
            _write_own(connection, callers, secret_key, log_own)
            connection.execute("CHECKPOINT copy")

        try:
            build_all()
        except duckdb.OutOfMemoryException:
            # A text of 60 MB, say: with as much as DuckDB takes by itself, as the marts are built. What is written
            # already comes out the same when it is written again.
            connection.execute(f"SET memory_limit = '{unlimited}'")
            build_all()
    finally:
        # After a full disk this may not work, which must not hide the reason.
        with suppress(duckdb.Error):
            connection.execute("DETACH copy")
    return found


def _write_own(
    connection: duckdb.DuckDBPyConnection, callers: Callers, secret_key: str, log_own: Callable[[str], object]
) -> None:
    """The user's own tables and views, each as a table: what one of them holds may not be there any more."""
    connection.execute(f"DROP SCHEMA IF EXISTS copy.{OWN} CASCADE; CREATE SCHEMA copy.{OWN}")
    connection.execute("SET VARIABLE secret_key = ?", [secret_key])
    try:
        for table in _tables(connection, (OWN,)):
            try:
                with transaction(connection):
                    _write(connection, table, _shown(table, callers))
            except (duckdb.ProgrammingError, duckdb.DataError) as error:
                log_own(f"{table.name} cannot be published: {str(error).splitlines()[0]}")
    finally:
        connection.execute("RESET VARIABLE secret_key")


def _write(connection: duckdb.DuckDBPyConnection, table: _Table, shown: str) -> None:
    """The whole table, and what it and its columns hold."""
    name = table.full_name
    columns = ", ".join(declaration(column, type_of_column) for column, type_of_column, _ in table.columns)
    connection.execute(f"CREATE OR REPLACE TABLE copy.{name} ({columns})")
    connection.execute(f"INSERT INTO copy.{name} SELECT {shown} FROM {name}")
    if table.description:
        connection.execute(f"COMMENT ON TABLE copy.{name} IS {quoted(table.description)}")
    for column, _, description in table.columns:
        if description:
            connection.execute(f'COMMENT ON COLUMN copy.{name}."{column}" IS {quoted(description)}')


def _renew(connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, changed: str) -> bool:
    """Writes the hours that changed; False if that cannot make the tables equal."""
    hours = f"FROM {changed} WHERE table_name = {quoted(table.noted_as)}"
    if connection.execute(f"{hours} AND hour IS NULL").fetchone():
        return False
    name = table.full_name
    _replace(connection, table, shown, f"SELECT hour {hours}")
    counts = connection.execute(f"SELECT (SELECT count(*) FROM copy.{name}) = (SELECT count(*) FROM {name})")
    return counts.fetchone() == (True,)


def _correct(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, changed: str, compared: Sequence[dt.datetime]
) -> list[dt.datetime]:
    """Writes the hours whose rows differ though they were not noted, and returns them.

    Looked at are the hours `compared`, and those in which calls changed: there, a model that notes nothing is found at
    once.
    """
    of_calls = connection.execute(
        f"""SELECT hour FROM {changed} WHERE table_name = {quoted(CALLS.name)}
            EXCEPT SELECT hour FROM {changed} WHERE table_name = {quoted(table.noted_as)} ORDER BY hour"""
    ).fetchall()
    # One after the other: of hours that lie near each other, DuckDB reads no others.
    found = [
        hour
        for hours in ([hour for (hour,) in of_calls], compared)
        if hours
        for hour in _differing(connection, table, shown, hours)
    ]
    if found:
        _replace(connection, table, shown, "SELECT unnest(?::TIMESTAMP[])", [found])
    return sorted(set(found))


def _differing(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, hours: Sequence[dt.datetime]
) -> list[dt.datetime]:
    """Those of the hours whose rows are others in the warehouse, as it would show them, and in the copy.

    Hashes of both sides, made now: of a phone number in clear none may be kept that others could try numbers on.
    """
    columns = ", ".join(f'"{column}"' for column, _, _ in table.columns)

    def hashes(selected: str, name: str) -> str:
        # A sum of hashes, in which a row that is there twice counts twice.
        return f"""SELECT partition_hour, sum(hash({columns})) AS rows_hash FROM (
                       SELECT {selected} FROM {name} WHERE partition_hour IN (SELECT unnest($hours::TIMESTAMP[]))
                   ) GROUP BY partition_hour"""

    rows = connection.execute(
        f"""SELECT partition_hour FROM ({hashes(shown, table.full_name)}) AS ours
            FULL JOIN ({hashes("*", f"copy.{table.full_name}")}) AS theirs USING (partition_hour)
            WHERE ours.rows_hash IS DISTINCT FROM theirs.rows_hash""",
        {"hours": list(hours)},
    ).fetchall()
    return [hour for (hour,) in rows]


def _replace(
    connection: duckdb.DuckDBPyConnection, table: _Table, shown: str, hours: str, values: Sequence[object] = ()
) -> None:
    """Writes the rows of the hours that a query gives, in place of those that the copy had of them."""
    is_changed = f"partition_hour IN ({hours})"
    connection.execute(f"DELETE FROM copy.{table.full_name} WHERE {is_changed}", values)
    connection.execute(
        f"INSERT INTO copy.{table.full_name} SELECT {shown} FROM {table.full_name} WHERE {is_changed}", values
    )


def _hours_to_compare(connection: duckdb.DuckDBPyConnection) -> list[dt.datetime]:
    """The hours whose turn it is; after the last ones, the first again."""
    (until,) = connection.execute("SELECT max(compared_until) FROM raw.published_copy").fetchone() or (None,)
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


def _made_of(tables: list[_Table], callers: Callers, secret_key: str) -> str:
    """The same as long as a row of the warehouse would look the same in the copy."""
    return hashlib.sha256(repr((_STORAGE_VERSION, tables, callers.value, secret_key)).encode()).hexdigest()


def _is_as_left(connection: duckdb.DuckDBPyConnection, file: Path, made_of: str) -> bool:
    left = connection.execute("SELECT inode, size, modified, made_of FROM raw.published_copy").fetchall()
    return file.exists() and (*_identity(file), made_of) in left


def _is_in_use(file: Path) -> bool:
    """Whether a program has it open, or it has another name: what is written to it would be seen there.

    The system gives a lease for writing on a file that is open nowhere else. That includes programs that take none of
    DuckDB's locks, such as a backup that is half through. Where there are no leases, nobody can tell.
    """
    try:
        import fcntl

        with file.open("rb") as opened:
            # The signal for who holds a lease on a file that is opened meanwhile; the usual one ends the process.
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
    # After the copy is in place. A run that is killed between the two leaves a file that is not known there: the next
    # one brings the copy before it forward, if that was kept, or writes everything.
    with transaction(connection):
        connection.execute("DELETE FROM raw.published_copy")
        for file in files:
            if file.exists():
                connection.execute(
                    "INSERT INTO raw.published_copy VALUES (?, ?, ?, ?, ?)",
                    [*_identity(file), made_of, compared[-1] if compared else None],
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


def _tables(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str] = ("cdr", "marts")) -> list[_Table]:
    rows = connection.execute(
        """SELECT schema_name, table_name, any_value(tables.comment),
                  list((column_name, data_type, columns.comment) ORDER BY column_index)
           FROM (
               SELECT database_name, schema_name, table_name, comment FROM duckdb_tables()
               UNION ALL SELECT database_name, schema_name, view_name, comment FROM duckdb_views()
           ) AS tables JOIN duckdb_columns() AS columns USING (database_name, schema_name, table_name)
           WHERE database_name = current_database() AND contains(?, schema_name) AND NOT contains(?, table_name)
           GROUP BY schema_name, table_name ORDER BY schema_name, table_name""",
        [list(schemas), list(_INTERNAL)],
    ).fetchall()
    return [_Table(*row) for row in rows]


def _shown(table: _Table, callers: Callers) -> str:
    """The select list that shows phone numbers as `callers` says: by their columns' names, and in texts."""
    if callers is Callers.CLEAR:
        return "*"
    columns = {column: type_of_column for column, type_of_column, _ in table.columns}
    inbound = next((column for column in columns if column in ("inbound", "is_inbound")), None)
    replaced = []
    for column, type_of_column in columns.items():
        if column in _NUMBERS:
            if callers is Callers.NONE:
                shown = "NULL::VARCHAR"
            else:
                shown = f"left(sha256(getvariable('secret_key') || {column}), 12) || '-' || right({column}, 2)"
            if column.startswith("called") and inbound:
                # The number called by an inbound call is a line of the centre's own.
                shown = f"CASE WHEN {inbound} THEN {column} ELSE {shown} END"
        elif column in _TEXTS or (table.schema == OWN and type_of_column in ("VARCHAR", "JSON")):
            # Any run of seven digits or more may be a number. Digits in its place keep JSON readable as JSON.
            shown = f"regexp_replace(\"{column}\", '[0-9]{{5,}}([0-9]{{2}})', '99999\\1', 'g')"
            if type_of_column == "JSON":
                shown += "::JSON"
        else:
            continue
        replaced.append(f'{shown} AS "{column}"')
    return f"* REPLACE ({', '.join(replaced)})" if replaced else "*"


def _copy(source: Path, target: Path) -> None:
    """Where the file system can (XFS, Btrfs), the copy shares the blocks of the original: no time, and no room."""
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while os.copy_file_range(read.fileno(), written.fileno(), _COPIED_AT_ONCE):
                pass
    except (AttributeError, OSError):
        # Not on this system, or not between these files.
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    """On disk, not only in the cache: else a power cut after the replacement could leave an empty file in place."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
