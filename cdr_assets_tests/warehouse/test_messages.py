"""DuckDB's own words for what it has no codes for, as the installed version writes them."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from cdr_assets.warehouse.messages import is_held_by_another, is_out_of_memory, program_that_holds

HOLD = "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"


def test_a_file_that_another_process_holds(tmp_path: Path) -> None:
    path = tmp_path / "held.duckdb"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(duckdb.IOException) as refused:
            duckdb.connect(str(path))
        assert is_held_by_another(str(refused.value))
        told = program_that_holds(str(refused.value))
        assert f"PID {holder.pid}" in told
        assert "python" in told
        holder.communicate("\n")
    with pytest.raises(duckdb.IOException) as missing:
        duckdb.connect(str(tmp_path / "no" / "such.duckdb"))
    assert not is_held_by_another(str(missing.value))
    assert program_that_holds(str(missing.value)) == ""


def test_a_statement_that_needs_more_than_its_memory() -> None:
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '20MB'; SET temp_directory = ''")
        with pytest.raises(duckdb.OutOfMemoryException) as refused:
            connection.execute("SELECT len(list(n)) FROM range(20_000_000) AS _ (n)")
    assert is_out_of_memory(str(refused.value))
    assert not is_out_of_memory("Binder Error: no such column")
