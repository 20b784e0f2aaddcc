"""Writing small text files so that nobody ever reads half of one, not even after a crash.

Database files are not written here: see `warehouse/place.py` and `publishing/copy.py`.
"""

import os
from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Writes the text to a temporary file and renames it to `path`. The umask applies to `mode`.

    The text is on disk before the rename, so that a power cut leaves the old file or the new one, never an empty one.
    """
    # The process ID keeps two processes that write the same file at once out of each other's temporary file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
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
