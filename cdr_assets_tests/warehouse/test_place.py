"""The warehouse's lock, with several real processes: one writer at a time; other programs, killed holders, wrong
files."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.schema import TABLES
from cdr_assets.publishing.reading import open_published
from cdr_assets.warehouse import Warehouse, WarehouseError, check_source, claim, memory_limit
from cdr_assets.warehouse import place as module
from cdr_assets.warehouse.place import transaction
from cdr_assets_tests.conftest import give_away

_ADD_ONE = """
import sys
from pathlib import Path
from cdr_assets.warehouse import Warehouse
for _ in range(10):
    with Warehouse(Path(sys.argv[1])).connect("adder") as connection:
        connection.execute("UPDATE counter SET n = n + 1")
"""

_HOLD = """
import sys, time
from pathlib import Path
from cdr_assets.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).connect("run of the test"):
    print("held", flush=True)
    time.sleep(600)
"""

_HOLD_AS_ANOTHER_PROGRAM = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse" / "cdr.duckdb"


def start(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)


def hold(script: str, path: Path) -> subprocess.Popen[str]:
    process = start(script, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("suffix", [".holder", ".lock", ".wal", ".tmp"])
def test_a_planted_link_is_refused_and_nothing_is_written_where_it_leads(path: Path, suffix: str) -> None:
    with Warehouse(path).connect("test"):
        pass
    victim = path.with_name("victim")
    victim.mkdir() if suffix == ".tmp" else victim.write_text("kept")
    planted = path.with_name(path.name + suffix)
    planted.unlink(missing_ok=True)
    planted.symlink_to(victim)
    with pytest.raises(OperatorError, match=f"^{planted} is a link"), Warehouse(path).connect("test"):
        pass
    assert victim.is_dir() or victim.read_text() == "kept"
    assert planted.is_symlink()


@pytest.mark.parametrize("suffix", ["", ".holder", ".lock", ".wal"])
def test_a_file_of_another_user_is_refused(path: Path, suffix: str) -> None:
    with Warehouse(path).connect("test"):
        pass
    planted = path.with_name(path.name + suffix)
    planted.touch()
    give_away(planted)
    with pytest.raises(OperatorError, match=f"^{planted} belongs to user 54321 "), Warehouse(path).connect("test"):
        pass
    assert planted.exists()


def test_writers_of_several_processes_queue(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        connection.execute("CREATE TABLE counter AS SELECT 0 AS n")
    processes = [start(_ADD_ONE, path) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with Warehouse(path).connect("test") as connection:
        assert connection.execute("FROM counter").fetchall() == [(30,)]


def test_a_wait_is_told_and_a_killed_holder_blocks_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAY_EVERY_SECONDS", 0.05)
    holder = hold(_HOLD, path)
    said: list[str] = []

    def log(message: str) -> None:
        said.append(message)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

    with Warehouse(path, log=log).connect("test") as connection:
        assert connection.execute("SELECT count(*) FROM cdr.calls").fetchall() == [(0,)]
    assert said[0].startswith(f"waiting for the warehouse, held by run of the test (process {holder.pid}), for ")


def test_a_wait_for_a_live_holder_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAY_EVERY_SECONDS", 0.05)
    holder = hold(_HOLD, path)
    try:
        with (
            pytest.raises(WarehouseError, match=r"held by run of the test .* end it, then try again"),
            Warehouse(path, longest_wait_seconds=0.01).connect("test"),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_another_program_that_holds_the_file_is_named(path: Path) -> None:
    with Warehouse(path).connect("test"):
        pass
    holder = hold(_HOLD_AS_ANOTHER_PROGRAM, path)
    try:
        with (
            pytest.raises(WarehouseError, match=rf"held open by another program .*PID {holder.pid}.*; close it there"),
            Warehouse(path, patience_seconds=0).connect("test"),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_every_table_has_its_columns_and_descriptions(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        for table in TABLES:
            columns = connection.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
                "AND database_name = current_database() ORDER BY column_index",
                [table.schema, table.name],
            ).fetchall()
            assert columns == [(column.name, column.description) for column in table.columns]


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        connection.execute("UPDATE raw.warehouse SET version = 99")
    with (
        pytest.raises(WarehouseError, match=r"newer version of cdr_assets .* upgrade"),
        Warehouse(path).connect("test"),
    ):
        pass


def test_a_file_that_is_no_warehouse_is_told(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match="cannot open"), Warehouse(path, patience_seconds=0).connect("test"):
        pass
    assert path.read_bytes().startswith(b"not a database")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WarehouseError, match=r"cannot use .*CDR_DATA_DIR"),
        Warehouse(tmp_path / "file" / "cdr.duckdb").connect("test"),
    ):
        pass


def test_the_published_copy_reads_under_both_schemas(path: Path) -> None:
    with Warehouse(path).connect("test"):
        pass
    with open_published(path) as connection:
        assert connection.execute("SELECT count(*) FROM cdr.calls").fetchall() == [(0,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("DELETE FROM cdr.calls")


def test_a_warehouse_holds_the_calls_of_one_tenant(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        claim(connection, "acme.alo-tech.com", path)
        claim(connection, "acme.alo-tech.com", path)
        with pytest.raises(
            WarehouseError, match=r"calls of acme\.alo-tech\.com, not of 127\.0\.0\.1; set CDR_DATA_DIR"
        ):
            claim(connection, "127.0.0.1", path)


def test_a_warehouse_that_notes_a_host_opens_for_its_endpoints_until_one_has_loaded(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        connection.execute("UPDATE raw.warehouse SET source = '127.0.0.1'")
        with pytest.raises(WarehouseError, match=r"holds the calls of 127\.0\.0\.1, not of acme\.alo-tech\.com/api"):
            claim(connection, "acme.alo-tech.com/api", path)
        assert check_source(connection, "127.0.0.1:8000/api", path) == "127.0.0.1"
        claim(connection, "127.0.0.1:8000/api", path)
        for other in ("127.0.0.1:8001/api", "127.0.0.1:8000/b/api"):
            with pytest.raises(WarehouseError, match=r"holds the calls of 127\.0\.0\.1:8000/api, not of "):
                claim(connection, other, path)


def test_what_a_killed_run_spilled_is_cleared_away(path: Path) -> None:
    spilled = path.with_name("cdr.duckdb.tmp")
    spilled.mkdir(parents=True)
    (spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"half")
    with Warehouse(path).connect("test") as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [(str(spilled),)]
        assert not spilled.exists()


def test_a_disk_that_is_full_is_told_and_what_was_there_stays(path: Path) -> None:
    with Warehouse(path).connect("test") as connection:
        connection.execute("CREATE TABLE filler AS SELECT 1::UBIGINT AS n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 200_000, hard))
    try:
        with (
            pytest.raises(WarehouseError, match=r"cannot use .*File too large; mend this and run again; what was"),
            Warehouse(path).connect("test") as connection,
            transaction(connection),
        ):
            connection.execute("INSERT INTO filler SELECT hash(range) FROM range(1_000_000)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Warehouse(path).connect("test") as connection:
        assert connection.execute("FROM filler").fetchall() == [(1,)]


def test_a_connection_keeps_to_the_memory_of_a_run(path: Path) -> None:
    with duckdb.connect() as other, Warehouse(path).connect("test") as connection:
        other.execute(f"SET memory_limit = '{memory_limit()}'")
        setting = "SELECT current_setting('memory_limit')"
        assert connection.execute(setting).fetchone() == other.execute(setting).fetchone()
