"""Secret keys that are made once and kept in the data folder: those of the pseudonyms and of the suppression list.

CDR_SECRET_KEY may set the first one. `copy` computes the pseudonyms; `ingest/suppression.py` uses the second one.
"""

import secrets
from pathlib import Path

from filelock import FileLock

from cdr_assets.domain.files import write_whole
from cdr_assets.warehouse import WarehouseError


def read_or_make_secret_key(path: Path) -> str:
    """The key in the file, which only this user can read. The first call creates it.

    Raises WarehouseError if the key does not exist and cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # If two processes start together, one creates the key and the other reads it.
        with FileLock(path.with_name(path.name + ".lock")):
            key = path.read_text(encoding="ascii").strip() if path.exists() else ""
            if not key:
                key = secrets.token_hex(32)
                write_whole(path, key, mode=0o600)
            return key
    except OSError as error:
        raise WarehouseError(
            f"cannot write a key to {path}: {error.strerror}; let this user write there, or, for the key of the "
            "pseudonyms, set CDR_SECRET_KEY"
        ) from None
