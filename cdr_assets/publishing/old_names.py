"""Renames the warehouse and the published copy of older versions to today's names. Today's names are in `Settings`.

Both files were called cdr.duckdb. Opened directly, such a file becomes the catalogue `cdr`, and DuckDB refuses
`cdr.calls`, because `cdr` may be the catalogue or the schema.
"""

from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock
from cdr_assets.domain.settings import Settings


def take_over_old_names(settings: Settings) -> None:
    """Renames the two files if they have the default paths of older versions.

    A file stays if CDR_WAREHOUSE or CDR_PUBLISHED sets its path. The warehouse also stays while a run of an older
    version holds it. Raises OperatorError if this user may not rename a file.
    """
    try:
        if not settings.cdr_warehouse:
            _take_over_warehouse(settings.warehouse_path)
        if not settings.cdr_published:
            published = settings.published_path
            # Renaming does not disturb programs that have the file open.
            _rename(published.with_name("cdr.duckdb"), published)
            _rename(published.with_name(".cdr.before"), published.with_name(f".{published.stem}.before"))
    except OSError as error:
        raise OperatorError(
            f"cannot rename {error.filename}, which an older version called so: {error.strerror}; run `cdr check` once "
            "as the user that runs the pipeline"
        ) from None


def _take_over_warehouse(path: Path) -> None:
    old = path.with_name("cdr.duckdb")
    if path.exists() or not old.exists():
        return
    lock_path = old.with_name("cdr.duckdb.lock")
    with suppress(Timeout), lock(lock_path, timeout=0):
        # After a killed run, DuckDB's log has changes that are not yet in the file, and must be renamed with it.
        _rename(old.with_name("cdr.duckdb.wal"), path.with_name(f"{path.name}.wal"))
        _rename(old, path)
        lock_path.unlink(missing_ok=True)


def _rename(old: Path, new: Path) -> None:
    if old.exists() and not new.exists():
        # Another process may have renamed it since.
        with suppress(FileNotFoundError):
            old.rename(new)
