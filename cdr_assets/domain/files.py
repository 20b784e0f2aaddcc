"""Files and folders that belong to this user alone: creating, locking, reading and replacing them.

Other users of the machine may try to read the calls, or to plant something in a place that we use: a link that makes us
overwrite another file, a key that they know. Every path of ours that is opened for writing, locked or trusted goes
through here first. Which modes a whole data folder has is in `protection`. Database files are opened in
`warehouse/place.py` and `publishing/copy.py`.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from cdr_assets.domain.errors import OperatorError


def keep_private() -> None:
    """From now on, what this process and its children create can be read by this user alone: DuckDB's, dbt's and
    Dagster's files too. For processes of our own only, because the umask counts for all code of a process."""
    os.umask(0o077)


def refuse_planted(path: Path, *, is_link_allowed: bool = False) -> None:
    """Raises OperatorError if the path is another user's, a link, or neither a file nor a folder; not if it is missing.

    Root's files are trusted, because root could do anything anyway. With `is_link_allowed`, for paths that a user may
    have linked to another disk, the link and what it leads to must both be this user's.
    """
    try:
        found = path.lstat()
        refuse_foreign(path, found)
        if stat.S_ISLNK(found.st_mode) and is_link_allowed:
            found = path.stat()
            refuse_foreign(path, found)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise OperatorError(
            f"{path} is a link, which may lead anywhere; find out who made it, remove it, and run again"
        )
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OperatorError(f"{path} is neither a file nor a folder; find out who made it, remove it, and run again")


def refuse_foreign(path: Path, found: os.stat_result) -> None:
    """Raises OperatorError if `found` belongs to another user, who is not root."""
    if found.st_uid not in (os.geteuid(), 0):
        owner, us = user_name(found.st_uid), user_name(os.geteuid())
        raise OperatorError(
            f"{path} belongs to {owner} and this process runs as {us}: run it as {owner}; or, if {us} shall own it, "
            f"look at what it holds, then `chown {us} {path}`"
        )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        # In a container, the users of the machine have no names.
        return f"user {uid}"


def make_private(folder: Path, mode: int = 0o700) -> None:
    """Creates the folder, and those above it that are missing, for this user alone, whatever the umask.

    Raises OperatorError if the folder is another user's.
    """
    for parent in reversed(folder.parents):
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=mode, exist_ok=True)
    refuse_planted(folder, is_link_allowed=True)


def lock(path: Path, **options: Any) -> FileLock:
    """A lock on a file of ours. Nobody else can open it, because who can open it can hold it too."""
    refuse_planted(path)
    return FileLock(path, mode=0o600, **options)


def open_private(path: Path) -> TextIO:
    """Opens a text file of ours for reading and writing; creates it if it is missing."""
    refuse_planted(path)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8")


def read_secret(path: Path) -> str:
    """The text of a file that nobody else can read. Raises OperatorError if others can, or could have written it."""
    refuse_planted(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "r", encoding="utf-8", errors="replace") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise OperatorError(
                f"other users of this machine can open {path}: if none of them did, `chmod 600 {path}`; "
                "otherwise replace it"
            )
        return file.read()


def write_whole(path: Path, text: str) -> None:
    """Writes the text to a temporary file and renames it to `path`, so that nobody ever reads half of it.

    The text is on disk before the rename, so that a power cut leaves the old file or the new one, never an empty one.
    """
    refuse_planted(path)
    # The process ID keeps two processes that write the same file at once out of each other's temporary file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Forces a file or a folder to disk. Otherwise a power cut after a rename could leave an empty file in place."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
