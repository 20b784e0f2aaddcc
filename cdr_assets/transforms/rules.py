"""By which rules pages are typed: the same pages give the same calls as long as these are the same.

The rules themselves are in the other modules of this package.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cdr_assets.domain import schema

_LIBRARIES = ("polars", "pyarrow", "msgspec", "duckdb", "phonenumbers")


def rules(time_zone: str, country: str) -> str:
    """A hash of the code that types pages, of its libraries' versions, and of these settings."""
    return hashlib.sha256(f"{_code()} {time_zone} {country}".encode()).hexdigest()


@cache
def _code() -> str:
    files = [Path(schema.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
    told = ([version(name) for name in _LIBRARIES], [(file.name, file.read_bytes()) for file in files])
    return hashlib.sha256(repr(told).encode()).hexdigest()
