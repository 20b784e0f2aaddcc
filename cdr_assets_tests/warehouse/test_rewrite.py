"""Rewriting the warehouse removes deleted values from the disk, keeps everything else, and survives a kill."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from cdr_assets.warehouse import Warehouse, place, rewrite
from cdr_assets.warehouse.rewrite import cost_of_rewriting

SECRET = "+905329876543"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse whose file still has a value that was deleted from its table; nothing is compressed."""
    monkeypatch.setattr(place, "_SETTINGS", f"{place._SETTINGS}; SET force_compression = 'uncompressed'")
    made = Warehouse(tmp_path / "warehouse.duckdb")
    with made.connect("test") as connection:
        connection.execute(
            f"""CREATE SCHEMA marts; CREATE TABLE marts.m AS
                SELECT n, if(n % 2 = 0, '{SECRET}', 'x') AS number, repeat('y', 100) AS y FROM range(50000) AS t (n)"""
        )
        connection.execute("CREATE SCHEMA staging; CREATE VIEW staging.v AS SELECT n FROM warehouse.marts.m")
        connection.execute("COMMENT ON COLUMN marts.m.n IS 'a number'")
    with made.connect("test") as connection:
        connection.execute("UPDATE marts.m SET number = NULL WHERE n % 2 = 0; CHECKPOINT")
    assert SECRET.encode() in made.path.read_bytes()
    return made


def content(warehouse: Warehouse) -> list[object]:
    with warehouse.connect("test") as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT count(*), count(number), sum(n) FROM marts.m",
                "SELECT count(*) FROM staging.v",
                "SELECT schema_name, table_name, comment FROM duckdb_tables() ORDER BY ALL",
                "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() "
                "WHERE NOT internal ORDER BY ALL",
                "FROM raw.warehouse",
            )
        ]


def test_deleted_values_are_gone_and_all_else_is_there(warehouse: Warehouse) -> None:
    before = content(warehouse)
    cost = cost_of_rewriting(warehouse)
    assert cost.fits
    assert cost.size == warehouse.path.stat().st_size
    with warehouse.held("test"):
        rewrite.rewrite(warehouse, "UPDATE raw.warehouse SET source = ?", ["new"])
    assert content(warehouse) == [*before[:-1], [(place.SCHEMA_VERSION, "new", None)]]
    assert [path.name for path in warehouse.path.parent.iterdir() if SECRET.encode() in path.read_bytes()] == []


def _rewrite_and_die(path: Path, moment: str) -> None:
    warehouse = Warehouse(path)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_in_the_middle() -> None:
        while not warehouse.rewriting_path.exists() or not warehouse.rewriting_path.stat().st_size:
            time.sleep(0.0005)
        die()

    if moment == "in the middle":
        threading.Thread(target=die_in_the_middle, daemon=True).start()
    else:
        rewrite.sync = die
    with warehouse.held("test"):
        rewrite.rewrite(warehouse)


@pytest.mark.parametrize("moment", ["in the middle", "before the new file is in place"])
def test_a_kill_loses_nothing_and_the_next_try_finishes(warehouse: Warehouse, moment: str) -> None:
    before = content(warehouse)
    process = multiprocessing.get_context("spawn").Process(target=_rewrite_and_die, args=(warehouse.path, moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert warehouse.rewriting_path.exists()
    assert content(warehouse) == before
    assert not warehouse.rewriting_path.exists()
    with warehouse.held("test"):
        rewrite.rewrite(warehouse)
    assert SECRET.encode() not in warehouse.path.read_bytes()
