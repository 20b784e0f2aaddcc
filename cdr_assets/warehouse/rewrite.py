"""Writes the warehouse into a new file, which replaces the old one: DuckDB keeps deleted values in its file.

UPDATE, DELETE and CHECKPOINT leave old values in blocks that are free or only half used.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cdr_assets.domain.files import sync
from cdr_assets.warehouse.place import WRITING, Warehouse, WarehouseError, memory_limit, quoted

# Bytes a second that are read and written, as measured on two cores; see DECISIONS.md.
_BYTES_A_SECOND = 40e6


@dataclass(frozen=True)
class Cost:
    """What rewriting costs: bytes of the files, bytes that are free on the warehouse's disk, and seconds."""

    size: int
    free: int

    @property
    def seconds(self) -> float:
        return self.size / _BYTES_A_SECOND

    @property
    def fits(self) -> bool:
        return self.size < self.free


def cost_of_rewriting(warehouse: Warehouse, *others: Path) -> Cost:
    """The cost of rewriting the warehouse, and of writing other files of the size that they have now.

    Raises WarehouseError if there is no warehouse.
    """
    if not warehouse.path.exists():
        raise WarehouseError(f"there is no {warehouse.path} yet, and nobody's calls to forget")
    size = sum(path.stat().st_size for path in (warehouse.path, *others) if path.exists())
    return Cost(size, shutil.disk_usage(warehouse.path.parent).free)


def rewrite(warehouse: Warehouse, last: str = "", values: Sequence[object] = ()) -> None:
    """Copies all tables into a new file and puts it in the warehouse's place. The caller must hold the warehouse.

    The old file stays until the new one is on disk and whole, so that a kill at any moment loses nothing. `last` is a
    statement for the new file only: what it writes is there if the file was replaced, and only then.
    """
    new = warehouse.rewriting_path
    log = warehouse.path.with_name(warehouse.path.name + ".wal")
    try:
        with warehouse.opened() as connection:
            connection.execute(f"SET memory_limit = '{memory_limit()}'")
            # Without DuckDB's log: an unfinished file is thrown away in any case.
            connection.execute(f"ATTACH {quoted(str(new))} AS rewritten ({WRITING}, RECOVERY_MODE no_wal_writes)")
            connection.execute("COPY FROM DATABASE warehouse TO rewritten")
            if last:
                connection.execute("USE rewritten")
                connection.execute(last, values)
                connection.execute("USE warehouse")
            connection.execute("CHECKPOINT rewritten")
            connection.execute("DETACH rewritten")
        if log.exists():
            # DuckDB writes its log into the file when it closes it. It would replay a log that is left on the new file.
            raise WarehouseError(f"{log} is still there after {warehouse.path} was closed; run this again")
        sync(new)
        new.replace(warehouse.path)
        sync(warehouse.path.parent)
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(
            f"cannot rewrite {warehouse.path}: {str(error).splitlines()[0]}; its calls are still there: mend this and "
            "run again"
        ) from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
