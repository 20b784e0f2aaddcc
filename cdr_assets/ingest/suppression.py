"""The suppression list: the numbers of forgotten people, which no later fetch may bring back.

It is the file `suppressed` in the data folder, next to its key: if the warehouse is deleted and loaded again, the list
stays. It has keyed hashes, but whoever has the key can try all numbers, so that only this user can read either file.
How a number is found is in `transforms/forgotten.py`; `cdr forget` is in `forgetting`.
"""

from dataclasses import astuple
from pathlib import Path

from cdr_assets.domain.files import write_whole
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.secret_key import read_or_make_secret_key
from cdr_assets.transforms import Entry, Forgotten, digits_of, keyed
from cdr_assets.warehouse import WarehouseError

_LIST, _KEY = "suppressed", "suppression_key"

#: What a backup holds of it.
LIST_FILES = (_LIST, _KEY)


def read_forgotten(settings: Settings) -> Forgotten:
    """The forgotten numbers. Raises WarehouseError if the list or its key cannot be read."""
    path = settings.cdr_data_dir / _LIST
    try:
        lines = _lines(path)
        if not lines:
            return Forgotten()
        if not path.with_name(_KEY).exists():
            raise WarehouseError(
                f"{path.with_name(_KEY)} is missing, so that the forgotten callers in {path} cannot be recognised; "
                "restore it from a backup: nothing is loaded without it"
            )
        entries = [
            Entry(number, digits, int(length), is_line == "True")
            for number, digits, length, is_line in (line.split() for line in lines)
        ]
    except (OSError, ValueError) as error:
        raise WarehouseError(
            f"cannot read the list of forgotten callers, {path}: {error}; restore it from a backup: nothing is loaded "
            "without it"
        ) from None
    return Forgotten(_key(settings), entries, settings.cdr_country)


def suppress(settings: Settings, number: str, *, is_line: bool) -> None:
    """Adds a number in its E.164 form, if it is not in the list. The caller must hold the warehouse.

    `is_line`: calls were made to it as one of the centre's own lines.
    """
    read_forgotten(settings)  # Raises if the list cannot be used.
    path, key = settings.cdr_data_dir / _LIST, _key(settings)
    digits = digits_of(number)
    entry = Entry(keyed(key, number), keyed(key, digits), len(digits), is_line)
    lines = _lines(path)
    if not any(line.startswith(entry.number) for line in lines):
        write_whole(path, "".join(f"{line}\n" for line in [*lines, " ".join(map(str, astuple(entry)))]))


def merge_list(settings: Settings, backup: Path) -> None:
    """Adds the list of a backup to that of the data folder, so that whom either names stays forgotten.

    Raises WarehouseError if the two have different keys, because one list could not hold both.
    """
    folder = settings.cdr_data_dir
    (theirs, their_key), (ours, our_key) = ([_lines(at / name) for name in LIST_FILES] for at in (backup, folder))
    if theirs and ours and their_key != our_key:
        raise WarehouseError(
            f"{folder / _LIST} and the list of forgotten callers in {backup} have different keys, and one list cannot "
            f"hold both: move {folder / _LIST} and {folder / _KEY} away, restore, then `cdr forget` whom they named"
        )
    if theirs:
        # The key first: nothing can be loaded with a list without its key.
        write_whole(folder / _KEY, "\n".join(their_key))
        write_whole(folder / _LIST, "".join(f"{line}\n" for line in dict.fromkeys([*ours, *theirs])))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []


def _key(settings: Settings) -> bytes:
    return read_or_make_secret_key(settings.cdr_data_dir / _KEY).encode()
