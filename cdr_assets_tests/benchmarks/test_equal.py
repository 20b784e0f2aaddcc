"""`benchmarks.equal` shows that two versions of the code make the same rows, so it must miss no difference."""

from pathlib import Path

import duckdb
import pytest
import typer

from benchmarks.equal import main

_MADE = """
CREATE SCHEMA raw; CREATE SCHEMA cdr;
CREATE TABLE raw.warehouse AS SELECT 3 AS version, 'http://localhost:1' AS source;
CREATE TABLE cdr.calls AS
    SELECT 'c' || n AS key, n AS duration, 'http://calls/' || n || '?signature=0a' AS recordingurl,
        'run 1' AS run_id, TIMESTAMPTZ '2026-03-02 00:00:00+00' AS fetched_at
    FROM range(5) AS numbers (n);
CREATE TABLE cdr.call_tags AS SELECT 'c1' AS key, 'iade' AS tag FROM range(2);
CREATE VIEW cdr.long_calls AS FROM warehouse.cdr.calls WHERE duration > 2;
"""


def _warehouse(path: Path, *changes: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS warehouse")
        connection.execute("USE warehouse")
        for statement in (_MADE, *changes):
            connection.execute(statement)
    return path


def _exit_code(before: Path, after: Path, *ignore: str) -> int:
    with pytest.raises(typer.Exit) as raised:
        main(before, after, list(ignore))
    return raised.value.exit_code


def test_equal_rows_of_two_runs_are_equal(tmp_path: Path) -> None:
    before = _warehouse(tmp_path / "before.duckdb")
    after = _warehouse(
        tmp_path / "after.duckdb",
        "UPDATE cdr.calls SET run_id = 'run 2', fetched_at = fetched_at + INTERVAL 1 DAY, "
        "recordingurl = replace(recordingurl, '0a', 'ff')",
        "UPDATE raw.warehouse SET source = 'http://localhost:2'",
        "CREATE OR REPLACE TABLE cdr.calls AS FROM cdr.calls ORDER BY key DESC",
    )
    assert _exit_code(before, after) == 0


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("UPDATE cdr.calls SET duration = 7 WHERE key = 'c3'", "in duration"),
        ("UPDATE cdr.calls SET duration = 5 - duration WHERE key IN ('c2', 'c3')", "how the columns are combined"),
        ("UPDATE cdr.calls SET fetched_at = NULL WHERE key = 'c3'", "in fetched_at"),
        ("UPDATE cdr.calls SET recordingurl = NULL WHERE key = 'c3'", "in recordingurl"),
        ("INSERT INTO cdr.call_tags VALUES ('c1', 'iade')", "0 rows only before, 1 only after"),
        ("ALTER TABLE cdr.call_tags ADD COLUMN item VARCHAR", "other columns or types: item"),
        ("CREATE TABLE cdr.more AS SELECT 1 AS one", "other columns or types: one"),
    ],
)
def test_a_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, shown: str) -> None:
    before, after = _warehouse(tmp_path / "before.duckdb"), _warehouse(tmp_path / "after.duckdb", change)
    assert _exit_code(before, after) == 1
    assert shown in capsys.readouterr().out


def test_an_ignored_column_is_not_compared(tmp_path: Path) -> None:
    before = _warehouse(tmp_path / "before.duckdb")
    after = _warehouse(tmp_path / "after.duckdb", "UPDATE cdr.calls SET duration = duration + 1 WHERE key <> 'c2'")
    # The view over the table has the column too.
    assert _exit_code(before, after, "cdr.calls.duration") == 1
    assert _exit_code(before, after, "duration") == 0
