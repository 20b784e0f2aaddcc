"""Files that are put in place whole: a reader, or a process that starts after a crash, never sees half of one."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Writes the text beside the path and renames it into place; `mode` is what the umask leaves of it.

    On disk before it gets its name: after a power cut the file is the old one or the new one, and never empty.
    """
    # Two processes that write the same file at once must not write into each other's.
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
