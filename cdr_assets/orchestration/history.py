"""Removes a forgotten person's number from Dagster's history: the files below its home.

The number gets there in the configuration of a run of `refresh_call`, by the ID of a transaction, and in messages of
runs of older versions. Runs and events stay; the number in them is replaced.
"""

import re
import sqlite3
from pathlib import Path

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.home import dagster_home
from cdr_assets.transforms import (
    Forgotten,
    blank_text,
    digits_of,
    forgotten_of,
    pattern_in_python,
    pattern_of,
    unescaped,
)

_SQLITE = b"SQLite format 3\0"

# `dagster dev` may be writing to the same files.
_BUSY_SECONDS = 60


def forget_in_history(settings: Settings, number: str) -> int:
    """Removes the number (in its E.164 form); returns how many files held it.

    Raises OperatorError if a file cannot be written.
    """
    pattern, forgotten = pattern_in_python(pattern_of(digits_of(number))), forgotten_of(number, settings.cdr_country)
    changed = 0
    for file in sorted(dagster_home(settings).rglob("*")):
        if not file.is_file() or file.is_symlink() or file.name.endswith(("-wal", "-shm")):
            continue
        try:
            with file.open("rb") as opened:
                is_sqlite = opened.read(len(_SQLITE)) == _SQLITE
            changed += (_clean_database if is_sqlite else _clean_text)(file, pattern, forgotten)
        except (OSError, sqlite3.Error) as error:
            raise OperatorError(
                f"cannot remove the number from {file}: {error}; end `cdr dev` and other runs, then run this again"
            ) from None
    return changed


def _clean_text(file: Path, pattern: re.Pattern[str], forgotten: Forgotten) -> bool:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeError:
        return False
    if not pattern.search(unescaped(text)):
        return False
    # In place: `dagster dev` may have it open, and a new file would leave the old one to it.
    with file.open("r+", encoding="utf-8") as opened:
        opened.write(blank_text(text, forgotten))
        opened.truncate()
    return True


def _clean_database(file: Path, pattern: re.Pattern[str], forgotten: Forgotten) -> bool:
    def holds(value: object) -> bool:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return isinstance(text, str) and pattern.search(unescaped(text)) is not None

    def without(value: str | bytes) -> str | bytes:
        if isinstance(value, bytes):
            return blank_text(value.decode("utf-8", "replace"), forgotten).encode()
        return blank_text(value, forgotten)

    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.create_function("holds", 1, holds, deterministic=True)
        connection.create_function("without_it", 1, without, deterministic=True)
        # Zeros in place of what is deleted.
        connection.execute("PRAGMA secure_delete = ON")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        changed = 0
        for (table,) in tables:
            for column in [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]:
                changed += connection.execute(
                    f'UPDATE "{table}" SET "{column}" = without_it("{column}") WHERE holds("{column}")'
                ).rowcount
        if changed:
            connection.execute("VACUUM")
            # Its log would keep the old pages until others have written as many.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return changed > 0
