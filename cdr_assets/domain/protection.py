"""Who may read the data folder: this user alone, and the published copy those whom CDR_PUBLISHED_READERS names.

Older versions left modes to the umask, so that every user of the machine could read the warehouse. The folders are
closed here; that closes everything in them. How single files are created is in `files`.
"""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import make_private, refuse_planted, user_name
from cdr_assets.domain.settings import Readers, Settings

_LOG = logging.getLogger(__name__).warning

# What the pipeline writes into the data folder. If anything else is there, the folder is somebody's own (/tmp, a home),
# and only these are closed.
_FOLDERS = ("warehouse", "reports", "dagster", "dbt", "limits", "demo")
_FILES = ("secret_key", "suppress", "first_hour", "restoring")
_OURS = (*_FOLDERS, "published", *_FILES, *(f".{name}" for name in _FILES))
_CHECKED_OUT = "README.md"

#: The file in the data folder that says which backup is being restored.
RESTORING = "restoring"


def protect(settings: Settings) -> None:
    """Closes what is there already; logs it if other users could have read the data folder.

    Raises OperatorError if the data folder or the warehouse is another user's, or every user could replace its files,
    and if a restore has not ended: until then the warehouse may hold forgotten callers.
    """
    # Whoever writes there says what is wrong.
    with suppress(PermissionError, NotADirectoryError):
        _protect(settings)
        if (settings.cdr_data_dir / RESTORING).exists():
            backup = (settings.cdr_data_dir / RESTORING).read_text(encoding="utf-8")
            raise OperatorError(
                f"a restore of {backup} has not ended: wait for it, or run `cdr restore {backup}` again"
            )


def _protect(settings: Settings) -> None:
    data, warehouse = settings.cdr_data_dir, settings.warehouse_path
    for folder in dict.fromkeys((data, warehouse.parent)):
        refuse_planted(folder, is_link_allowed=True)
    names = {path.name for path in data.iterdir()} if data.is_dir() else set()
    if all(name.startswith(_OURS) or name == _CHECKED_OUT for name in names):
        was_open = _set_mode(data, 0o711 if _others_pass(settings) else 0o700)
        if was_open and names != {_CHECKED_OUT}:
            _LOG(
                f"other users of this machine could read {data}; now only {user_name(os.geteuid())} can. If analysts "
                "read the copy as other users, set CDR_PUBLISHED_READERS"
            )
    for name in _FOLDERS:
        _set_mode(data / name, 0o700)
    _protect_published(settings)
    _set_mode(warehouse, 0o600)
    for suffix in (".wal", ".lock", ".holder"):
        beside = warehouse.with_name(warehouse.name + suffix)
        refuse_planted(beside)
        _set_mode(beside, 0o600)
    for folder in (data, warehouse.parent):
        _refuse_writable(folder)


def prepare_published(settings: Settings) -> None:
    """Creates the copy's folder for those who may read it. Raises OperatorError if another user planted it."""
    published = settings.published_path
    make_private(published.parent, settings.cdr_published_readers.folder_mode)
    refuse_planted(published, is_link_allowed=True)
    _protect_published(settings)
    _refuse_writable(published.parent)


def _protect_published(settings: Settings) -> None:
    published, readers = settings.published_path, settings.cdr_published_readers
    # Another folder is the user's own choice, and may hold files of theirs.
    if published.parent == settings.cdr_data_dir / "published":
        _set_mode(published.parent, readers.folder_mode)
    _set_mode(published, readers.file_mode)
    # What lies next to it may show what today's settings hide.
    _set_mode(published.with_name(f".{published.stem}.before"), 0o400)
    _set_mode(published.with_name(f".{published.stem}.building"), 0o700)


def _others_pass(settings: Settings) -> bool:
    """Whether others have to pass through the data folder to the copy. They do not see what else is in it."""
    is_inside = settings.published_path.is_relative_to(settings.cdr_data_dir)
    return is_inside and settings.cdr_published_readers is not Readers.OWNER


def _set_mode(path: Path, mode: int) -> bool:
    """Sets the mode of a file or folder of this user, as far as it says what others may do.

    The other bits stay: a folder that its user may not write was locked on purpose, and a group's folder may hand its
    group on to new files. Returns whether others could open it and can no longer.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    others = mode & 0o077
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 == others:
        return False
    # A read-only file system cannot be mended, and nothing is written there.
    with suppress(OSError):
        path.chmod(found.st_mode & 0o7700 | others)
    return bool(found.st_mode & 0o077 & ~others)


def _refuse_writable(folder: Path) -> None:
    """Raises OperatorError if every user may replace the files in the folder. In a sticky one, like /tmp, none may."""
    if folder.is_dir() and folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        raise OperatorError(
            f"every user of this machine can replace the files in {folder}: `chmod o-w {folder}`, or choose another "
            "folder (CDR_DATA_DIR, CDR_WAREHOUSE, CDR_PUBLISHED)"
        )
