"""The first hour of a new installation: the first one that it is asked for, kept in a file in the data folder.

With an earlier one, Dagster's bar of partitions would show thousands of hours as missing that nobody ever asked for.
CDR_START decides where it is set. An installation that was there before this file keeps the old default, because hours
before its first one can be chosen in its UI.
"""

import datetime as dt
from pathlib import Path

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private, write_whole


def read_first_hour(file: Path) -> dt.datetime | None:
    """The first local hour, naive; None if there is no such file, or this user may not read it."""
    try:
        return dt.datetime.fromisoformat(file.read_text(encoding="utf-8").strip())
    except OSError:
        # An analyst may not read it, and needs it for nothing.
        return None
    except ValueError:
        raise OperatorError(
            f"{file} does not hold an hour: write the first hour of the partitions there, like 2026-03-02 05:00, "
            "or set CDR_START"
        ) from None


def begin_with(file: Path, hour: dt.datetime, *, is_new: bool) -> dt.datetime | None:
    """Moves the first hour to `hour` if that is earlier, and returns it.

    Without the file, it is made if `is_new`, and otherwise None is returned. Raises OperatorError if the folder cannot
    be written.
    """
    if not is_new and not file.exists():
        return None
    try:
        make_private(file.parent)
        with lock(file.with_name(f"{file.name}.lock")):
            known = read_first_hour(file)
            if known is None or hour < known:
                write_whole(file, f"{hour:%Y-%m-%d %H:%M}\n")
                return hour
            return known
    except OSError as error:
        raise OperatorError(
            f"CDR_DATA_DIR: cannot write to {file.parent}: {error.strerror}; name a folder that this user can write"
        ) from None
