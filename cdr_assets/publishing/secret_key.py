"""Secret keys that are made once and kept in the data folder: those of the pseudonyms and of the suppression list.

CDR_SECRET_KEY may set the first one. `shown` computes the pseudonyms; `ingest/suppression.py` uses the second one.
"""

import os
import secrets
from pathlib import Path

from cdr_assets.domain.files import lock, make_private, read_secret, write_whole
from cdr_assets.domain.settings import KEY_LENGTH
from cdr_assets.warehouse import WarehouseError


def read_or_make_secret_key(path: Path) -> str:
    """The key in the file, which only this user can read. The first call creates it.

    Raises WarehouseError if the key is not whole, or does not exist and cannot be written; OperatorError if other users
    could know it.
    """
    try:
        make_private(path.parent)
        # If two processes start together, one creates the key and the other reads it.
        with lock(path.with_name(path.name + ".lock")):
            if not os.path.lexists(path):
                write_whole(path, secrets.token_hex(KEY_LENGTH))
            key = read_secret(path).strip()
    except OSError as error:
        raise WarehouseError(
            f"cannot write a key to {path}: {error.strerror}; let this user write there, or, for the key of the "
            "pseudonyms, set CDR_SECRET_KEY"
        ) from None
    if len(key) < KEY_LENGTH:
        # Not replaced: with another key all pseudonyms change, and the whole one may lie in a backup.
        raise WarehouseError(
            f"{path} holds {len(key)} characters and no whole key ({KEY_LENGTH} or more): copy it from a backup; or "
            "delete it for a new key, with which all pseudonyms change"
        )
    return key


def replace_secret_key(path: Path) -> None:
    """Writes a new key in place of the one in the file. The next publishing makes all pseudonyms with it.

    Raises WarehouseError if it cannot be written; OperatorError if the file is not this user's.
    """
    try:
        with lock(path.with_name(path.name + ".lock")):
            write_whole(path, secrets.token_hex(KEY_LENGTH))
    except OSError as error:
        raise WarehouseError(
            f"cannot write a new key of the pseudonyms to {path}: {error.strerror}; let this user write there"
        ) from None
