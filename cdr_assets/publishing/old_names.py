"""Files of older versions get the names of today, once.

Both files were called cdr.duckdb. Opened directly, such a file is the catalogue `cdr`, and DuckDB refuses `cdr.calls`
as ambiguous between that catalogue and the schema `cdr`.
"""

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cdr_assets.domain.settings import Settings


def take_over_old_names(settings: Settings) -> None:
    """Renames the warehouse and the published copy where they lie at the defaults of older versions.

    Not where CDR_WAREHOUSE or CDR_PUBLISHED names a file, nor while a run of an older version holds the warehouse.
    """
    if not settings.cdr_warehouse:
        _take_over_warehouse(settings.warehouse_path)
    if not settings.cdr_published:
        published = settings.published_path
        # A reader that is open keeps the file; renaming does not touch it.
        _rename(published.with_name("cdr.duckdb"), published)
        _rename(published.with_name(".cdr.before"), published.with_name(f".{published.stem}.before"))


def _take_over_warehouse(path: Path) -> None:
    old = path.with_name("cdr.duckdb")
    if path.exists() or not old.exists():
        return
    lock = old.with_name("cdr.duckdb.lock")
    with suppress(Timeout), FileLock(lock, timeout=0):
        # What a killed run had not yet written into the file belongs to it.
        _rename(old.with_name("cdr.duckdb.wal"), path.with_name(f"{path.name}.wal"))
        _rename(old, path)
        lock.unlink(missing_ok=True)


def _rename(old: Path, new: Path) -> None:
    if old.exists() and not new.exists():
        old.rename(new)
