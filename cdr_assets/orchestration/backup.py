"""`cdr backup` and `cdr restore`: all that cannot be made again, copied while runs write and analysts read.

A backup is a folder with the warehouse, the key of the pseudonyms, the suppression list with its key, the first hour of
the partitions, and those databases of Dagster's home that say which hours were published, which runs there were and
how far schedules and sensors are. The published copy and the reports are made again from the warehouse. Dagster's logs
of single runs are left out: they are most of its files, and nothing depends on them. The `.env` is the operator's.

How the warehouse is locked and opened is in `warehouse/place.py`; who is forgotten again, in `ingest/forgetting.py`.
"""

import datetime as dt
import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
from dagster import DagsterRunStatus, RunsFilter
from filelock import Timeout

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private, read_secret, refuse_planted, sync, write_whole
from cdr_assets.domain.protection import RESTORING
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.building import publish_copy
from cdr_assets.ingest.forgetting import forget, forgotten_that_came_back
from cdr_assets.ingest.suppression import LIST_FILES, merge_list
from cdr_assets.orchestration.history import forget_in_history
from cdr_assets.orchestration.home import dagster_home, open_instance
from cdr_assets.warehouse import Warehouse
from cdr_assets.warehouse.migrations import SCHEMA_VERSION
from cdr_assets.warehouse.place import is_source

# Written last: a folder without it is no whole backup.
_MANIFEST = "manifest.json"

# A lock while the backup is made. If it is still there and free, the backup was killed.
_UNFINISHED = "unfinished"

_WAREHOUSE, _SECRET_KEY, _FIRST_HOUR, _DAGSTER = "warehouse.duckdb", "secret_key", "first_hour", "dagster"

# What Dagster goes on from. The files next to index.db are the logs of single runs.
_DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")

# `cdr dev` may be writing to the same database.
_BUSY_SECONDS = 60

_ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


@dataclass(frozen=True)
class Backup:
    """What the manifest says of a backup: when it was made, of which tables and whose calls, and each file's hash."""

    made_at: str
    schema_version: int
    source: str | None
    rows: dict[str, int]
    sha256: dict[str, str]

    def __str__(self) -> str:
        return f"{self.rows.get('cdr.calls', 0):,} calls of {self.source or 'no tenant yet'}, as of {self.made_at}"


def backup(settings: Settings, folder: Path, log: Callable[[str], object]) -> Backup:
    """Copies what a restore needs into a new folder. Only while the warehouse is copied do other runs wait.

    Raises OperatorError if there is no warehouse, the folder is not empty, or it cannot be written or has no room.
    """
    warehouse, home = Warehouse(settings.warehouse_path, log=log), dagster_home(settings)
    if not warehouse.path.exists():
        raise OperatorError(f"there is no {warehouse.path} yet, and nothing to back up")
    if folder.absolute().is_relative_to(settings.cdr_data_dir.absolute()):
        raise OperatorError(f"{folder} lies in the data folder, and would be lost with it: name a folder elsewhere")
    try:
        with _new_folder(folder):
            databases = [(home / name, folder / _DAGSTER / name) for name in _DATABASES if (home / name).exists()]
            _refuse_without_room(folder, [warehouse.path, *(original for original, _ in databases)])
            # Before the warehouse: an hour that Dagster does not know yet is read once more; one that only Dagster
            # knew would be missing.
            for original, copy in databases:
                _copy_database(original, copy)
            version, source, rows = _copy_warehouse(warehouse, settings, folder, log)
            made = Backup(
                made_at=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC",
                schema_version=version,
                source=source,
                rows=rows,
                sha256={
                    path.relative_to(folder).as_posix(): _sha256(path)
                    for path in sorted(folder.rglob("*"))
                    if path.is_file() and path.name != _UNFINISHED
                },
            )
            for path in sorted(folder.rglob("*")):
                sync(path)
            sync(folder)
            write_whole(folder / _MANIFEST, json.dumps(asdict(made), indent=1))
            sync(folder)
    except (OSError, sqlite3.Error, duckdb.Error) as error:
        raise OperatorError(f"cannot write the backup to {folder}: {error}; mend this and run again") from None
    return made


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """An empty folder of this user alone; a backup that was killed is deleted from it first.

    Raises OperatorError if it has other files, or another process makes a backup there.
    """
    make_private(folder)
    unfinished = folder / _UNFINISHED
    names = {path.name for path in folder.iterdir()}
    if names and _UNFINISHED not in names:
        what = "a backup already" if _MANIFEST in names else "other files"
        raise OperatorError(f"{folder} holds {what}: name a new folder, for instance with the date in it")
    folder.chmod(0o700)
    held = lock(unfinished)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise OperatorError(f"another `cdr backup` is writing to {folder}: name another folder") from None
    try:
        # The manifest first, so that a kill in between leaves nothing that looks whole.
        for path in sorted(folder.iterdir(), key=lambda path: path.name != _MANIFEST):
            if path.is_dir():
                shutil.rmtree(path)
            elif path != unfinished:
                path.unlink()
        yield
        unfinished.unlink()
    finally:
        held.release()


def _refuse_without_room(folder: Path, sources: list[Path]) -> None:
    needed, free = sum(path.stat().st_size for path in sources), shutil.disk_usage(folder).free
    if needed > free:
        raise OperatorError(
            f"the backup takes {needed / 1e6:,.0f} MB, and {folder} has {free / 1e6:,.0f} MB free: make room there, or "
            "name a folder on another disk"
        )


def _copy_warehouse(
    warehouse: Warehouse, settings: Settings, folder: Path, log: Callable[[str], object]
) -> tuple[int, str | None, dict[str, int]]:
    """Copies the warehouse's file, the keys and the suppression list; returns version, source and rows by table.

    All under the warehouse's lock: `cdr forget` changes the list and the calls while it holds it.
    """
    with warehouse.held("cdr backup"):
        began = time.monotonic()
        # Opened by this process, the file is closed to other programs, such as a DuckDB shell, too.
        with warehouse.opened(is_upgraded=False) as connection:
            (version, source) = connection.execute("SELECT version, source FROM raw.warehouse").fetchone() or (0, None)
            tables = connection.execute(
                "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
                "WHERE database_name = 'warehouse' ORDER BY ALL"
            ).fetchall()
            rows = {
                table: (connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]
                for (table,) in tables
            }
            connection.execute("CHECKPOINT warehouse")
            _copy(warehouse.path, folder / _WAREHOUSE)
        for name in (_SECRET_KEY, _FIRST_HOUR, *LIST_FILES):
            if (settings.cdr_data_dir / name).exists():
                write_whole(folder / name, read_secret(settings.cdr_data_dir / name))
        log(f"the warehouse was copied, and other runs waited, for {time.monotonic() - began:.1f} s")
    return version, source, rows


def _copy(source: Path, target: Path) -> None:
    """Copies a file; the new one is this user's alone. A database's log that a killed restore left there is deleted:
    it would be replayed."""
    make_private(target.parent)
    for suffix in ("", ".wal", "-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    target.touch(mode=0o600)
    shutil.copyfile(source, target)


def _copy_database(source: Path, target: Path) -> None:
    """Copies a SQLite database that other processes may be writing to, as of one moment."""
    make_private(target.parent)
    target.touch(mode=0o600)
    with (
        closing(sqlite3.connect(source, timeout=_BUSY_SECONDS)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        # Otherwise the copy would leave its own log next to it.
        copy.execute("PRAGMA journal_mode = DELETE")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(settings: Settings, folder: Path, log: Callable[[str], object]) -> Backup:
    """Puts a backup into an empty place, forgets again who is forgotten, and publishes the copy.

    After a kill, the same command begins again; until it has ended, no run starts. Raises OperatorError if the backup
    is not whole, is another tenant's or of a newer version, or the place is not empty or in use.
    """
    manifest = _manifest_of(folder)
    _refuse_unfit(manifest, settings, folder)
    restoring = settings.cdr_data_dir / RESTORING
    try:
        make_private(settings.cdr_data_dir)
        with Warehouse(settings.warehouse_path, log=log, longest_wait_seconds=0).held("cdr restore"):
            _refuse_full(manifest, settings, folder)
            write_whole(restoring, f"{folder.absolute()}")
            merge_list(settings, folder)
            for original, place in _places(settings):
                if original in manifest.sha256:
                    _copy(folder / original, place)
                    sync(place)
        log(f"restored {manifest}")
        _end_runs(settings)
        for number in forgotten_that_came_back(settings, log):
            log("a caller of the suppression list is in this backup: forgetting again")
            forget(settings, number, log)
            forget_in_history(settings, number)
        log(publish_copy(Warehouse(settings.warehouse_path, log=log), settings, "cdr restore").told)
        restoring.unlink()
    except OSError as error:
        raise OperatorError(f"cannot restore {folder}: {error}; mend this and run again") from None
    return manifest


def _manifest_of(folder: Path) -> Backup:
    """What the backup holds. Raises OperatorError if a file is missing or has not the hash that the manifest says."""
    try:
        refuse_planted(folder, is_link_allowed=True)
        manifest = Backup(**json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))
        wrong = [name for name, digest in manifest.sha256.items() if _sha256(folder / name) != digest]
    except FileNotFoundError as error:
        if not folder.exists():
            raise OperatorError(f"there is no {folder}: name the folder of a backup") from None
        raise OperatorError(
            f"{folder} is not a whole backup: there is no {error.filename}; it was killed before it ended, or files "
            "were removed: restore another one"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise OperatorError(f"cannot read the backup {folder}: {error}; restore another one") from None
    if wrong:
        raise OperatorError(
            f"{folder} is damaged: {', '.join(wrong)} changed since the backup was made; nothing was restored: "
            "restore another one"
        )
    return manifest


def _refuse_unfit(manifest: Backup, settings: Settings, folder: Path) -> None:
    if manifest.schema_version > SCHEMA_VERSION:
        raise OperatorError(
            f"{folder} was made by a newer version of cdr_assets (tables of version {manifest.schema_version}, this "
            f"one knows {SCHEMA_VERSION}); upgrade cdr_assets, then restore"
        )
    is_known = settings.alotech_tenant or settings.alotech_base_url
    if is_known and not is_source(manifest.source, settings.source):
        raise OperatorError(
            f"{folder} holds the calls of {manifest.source}, not of {settings.source}; restore another backup, or set "
            "the tenant whose calls these are"
        )


def _refuse_full(manifest: Backup, settings: Settings, folder: Path) -> None:
    """Raises OperatorError if the place holds anything that a restore would replace, unless it was killed before."""
    restoring = settings.cdr_data_dir / RESTORING
    if restoring.exists():
        before = restoring.read_text(encoding="utf-8")
        if before != f"{folder.absolute()}":
            raise OperatorError(f"a restore of {before} has not ended: run `cdr restore {before}` again first")
        return
    there = [
        str(place)
        for original, place in _places(settings)
        if place.exists()
        and not (original in (_SECRET_KEY, _FIRST_HOUR) and manifest.sha256.get(original) == _sha256(place))
    ]
    if there:
        raise OperatorError(
            f"{', '.join(there)} would be replaced: end `cdr dev` and all runs, move what is there away (leave "
            f"{' and '.join(LIST_FILES)} where they are, so that the forgotten stay forgotten), and run again"
        )


def _places(settings: Settings) -> list[tuple[str, Path]]:
    """The files of a backup that replace others, and where they belong."""
    home = dagster_home(settings)
    return [
        (_SECRET_KEY, settings.secret_key_path),
        (_FIRST_HOUR, settings.first_hour_path),
        *((f"{_DAGSTER}/{name}", home / name) for name in _DATABASES),
        (_WAREHOUSE, settings.warehouse_path),
    ]


def _end_runs(settings: Settings) -> None:
    """Ends the runs that were under way when the backup was made, so that the gap sensor asks for their hours again."""
    with open_instance(settings) as instance:
        under_way = [status for status in DagsterRunStatus if status not in _ENDED]
        for run in instance.get_runs(RunsFilter(statuses=under_way)):
            instance.report_run_canceled(run, message="It was under way when the backup was made.")
