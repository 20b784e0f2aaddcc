"""Publishing: the copy is replaced in one step, updated in turns with the one before, and its pseudonyms have a key."""

import datetime as dt
import errno
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import duckdb
import pytest

from cdr_assets.domain import masking
from cdr_assets.domain.schema import Class
from cdr_assets.domain.settings import Callers
from cdr_assets.publishing.copy import publish
from cdr_assets.publishing.reading import open_published
from cdr_assets.warehouse import Warehouse, WarehouseError, clear_stale_hours
from cdr_assets_tests.conftest import HOUR
from cdr_assets_tests.publishing.privacy import privacy

_WRITE_AND_DIE = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("UPDATE cdr.cdr.rejected_records SET reason = 'scribbled'")
os._exit(9)
"""

_READ_TWICE = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in range(2):
    print(connection.execute("SELECT reason FROM cdr.cdr.rejected_records").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published copy with one row that identifies it."""
    path = tmp_path / "published" / "cdr.duckdb"
    republish(path, "first")
    return path


def opened(published: Path) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """The warehouse that is published."""
    return Warehouse(published.parents[1] / "warehouse" / "cdr.duckdb").connect("test")


def republish(path: Path, reason: str, memory: str = "200MB") -> None:
    with opened(path) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
        connection.execute("DELETE FROM cdr.rejected_records")
        connection.execute("INSERT INTO cdr.rejected_records (partition_hour, reason) VALUES (?, ?)", [HOUR, reason])
        connection.execute(f"SET memory_limit = '{memory}'")
        publish(connection, path, privacy())


def reasons(path: Path) -> list[tuple[str]]:
    with open_published(path) as connection:
        return connection.execute("SELECT reason FROM cdr.rejected_records").fetchall()


def test_a_reader_keeps_what_it_opened_and_the_next_sees_the_newest(published: Path) -> None:
    with open_published(published) as early:
        republish(published, "second")
        assert early.execute("SELECT reason FROM cdr.rejected_records").fetchall() == [("first",)]
        assert reasons(published) == [("second",)]


@pytest.fixture
def leases(tmp_path: Path) -> None:
    """Skips the test on a system without file leases."""
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "leased"
    path.touch()
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except (AttributeError, OSError):
        pytest.skip("no leases on this file system")


@pytest.mark.usefixtures("leases")
def test_two_files_are_brought_forward_in_turn(published: Path) -> None:
    files = []
    for n in range(6):
        republish(published, str(n))
        assert reasons(published) == [(str(n),)]
        assert published.stat().st_mode & 0o777 == 0o400
        files.append(published.stat().st_ino)
    assert len(set(files)) == 2
    assert files[0] == files[2] == files[4]


@pytest.mark.parametrize("how", ["a reader of DuckDB", "bytes alone", "another name"])
def test_a_copy_that_is_in_use_is_not_written_to(published: Path, how: str) -> None:
    with ExitStack() as stack:
        kept = published.with_name("kept")
        if how == "another name":
            kept.hardlink_to(published)
        elif how == "bytes alone":
            # Read half of the file now and half later, as a backup does.
            backup = stack.enter_context(published.open("rb", buffering=0))
            whole = published.read_bytes()
            kept.write_bytes(backup.read(len(whole) // 2))
        else:
            reader = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _READ_TWICE, str(published)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert reader.stdout
            assert reader.stdout.readline() == "first\n"
        for n in range(3):
            republish(published, str(n))
            assert reasons(published) == [(str(n),)]
        if how == "a reader of DuckDB":
            assert reader.communicate("\n")[0] == "first\n"
        elif how == "bytes alone":
            kept.write_bytes(kept.read_bytes() + backup.read())
            assert kept.read_bytes() == whole
    if kept.exists():
        assert reasons(kept) == [("first",)]


@pytest.mark.parametrize(
    ("turns", "deadly"), [(4, ()), (7, (4,)), (8, (2, 3, 5))], ids=["none dies", "one dies", "three die"]
)
def test_what_the_copies_took_in_by_turns_is_in_both(
    published: Path, monkeypatch: pytest.MonkeyPatch, turns: int, deadly: tuple[int, ...]
) -> None:
    """Also if a run dies after it has replaced the copy and before it has noted that."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def queues() -> list[tuple[str, str | None]]:
        with open_published(published) as connection:
            return connection.execute("SELECT key, queue FROM cdr.calls ORDER BY key").fetchall()

    hours = {f"{n}": HOUR + dt.timedelta(hours=n) for n in range(turns)}
    expected: dict[str, str | None] = dict.fromkeys(hours)
    with opened(published) as connection:
        for key, hour in hours.items():
            add_call(connection, key, hour)
        publish(connection, published, privacy())
        for turn, (key, hour) in enumerate(hours.items()):
            expected[key] = f"in turn {turn}"
            connection.execute("UPDATE cdr.calls SET queue = ? WHERE key = ?", [expected[key], key])
            connection.execute("INSERT INTO cdr.unpublished_hours VALUES ('calls', ?)", [hour])
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) if turn in deadly else nullcontext():
                if turn in deadly:
                    patch.setattr(sys.modules[publish.__module__], "_note", die)
                publish(connection, published, privacy())
            assert queues() == list(expected.items())


def add_call(connection: duckdb.DuckDBPyConnection, key: str, hour: dt.datetime, *, noted: bool = True) -> None:
    connection.execute("INSERT INTO cdr.calls (key, partition_hour) VALUES (?, ?)", [key, hour])
    if noted:
        connection.execute("INSERT INTO cdr.unpublished_hours VALUES ('calls', ?)", [hour])


@pytest.fixture
def nothing_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was changed and not noted stays as it was: so one can tell what was written."""
    monkeypatch.setattr(sys.modules[publish.__module__], "_COMPARED_AT_ONCE", 0)


@pytest.mark.usefixtures("nothing_compared")
def test_what_did_not_change_is_not_written_again(published: Path) -> None:
    def keys(callers: Callers = Callers.PSEUDONYM) -> list[str]:
        with opened(published) as connection:
            publish(connection, published, privacy(callers))
        with open_published(published) as connection:
            return [key for (key,) in connection.execute("SELECT key FROM cdr.calls ORDER BY key").fetchall()]

    later = HOUR + dt.timedelta(hours=1)
    with opened(published) as connection:
        add_call(connection, "a", HOUR)
        add_call(connection, "b", later)
    assert keys() == ["a", "b"]
    # The copy before this one lacks both hours. The next publishing adds them.
    assert keys() == ["a", "b"]
    with opened(published) as connection:
        connection.execute("UPDATE cdr.calls SET key = key || '2'")
        connection.execute("INSERT INTO cdr.unpublished_hours VALUES ('calls', ?)", [later])
    assert keys() == ["a", "b2"]
    # Everything is written again if the copy was made differently, was replaced, or has another number of rows.
    assert keys(Callers.CLEAR) == ["a2", "b2"]
    with opened(published) as connection:
        connection.execute("UPDATE cdr.calls SET key = 'c' WHERE key = 'a2'")
    other = published.with_name("other")
    other.write_bytes(published.read_bytes())
    other.replace(published)
    assert keys(Callers.CLEAR) == ["b2", "c"]
    with opened(published) as connection:
        add_call(connection, "d", HOUR, noted=False)
    assert keys(Callers.CLEAR) == ["b2", "c", "d"]


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("beside_its_calls", [True, False], ids=["of changed calls", "long ago"])
def test_an_hour_that_a_mart_changed_and_did_not_note_is_found(
    published: Path, monkeypatch: pytest.MonkeyPatch, beside_its_calls: bool
) -> None:
    """The same number of rows, other values: of calls that changed at once, else when the hour's turn comes."""
    hours = [HOUR + dt.timedelta(hours=n) for n in range(6)]
    told: list[str] = []
    # Each publishing compares two hours of the six, of a call each.
    monkeypatch.setattr(sys.modules[publish.__module__], "_COMPARED_AT_ONCE", 2)

    def republish_calls() -> list[tuple[dt.datetime, str, str]]:
        with opened(published) as connection:
            # As each build of the marts does.
            clear_stale_hours(connection)
            publish(connection, published, privacy(), log=told.append)
        with open_published(published) as connection:
            return connection.execute(
                "SELECT partition_hour, call_key, queue_name FROM marts.fct_calls ORDER BY ALL"
            ).fetchall()

    with opened(published) as connection:
        connection.execute(
            """CREATE TABLE marts.fct_calls (
                   partition_hour TIMESTAMP, call_key VARCHAR, callerid VARCHAR, queue_name VARCHAR)"""
        )
        for n, hour in enumerate(hours):
            add_call(connection, f"{n}", hour)
            connection.execute("INSERT INTO marts.fct_calls VALUES (?, ?, '905321112233', 'before')", [hour, f"{n}"])
    # Both files, and every hour's turn.
    for _ in range(4):
        before = republish_calls()
    assert told == []
    changed = hours[3]
    with opened(published) as connection:
        connection.execute("UPDATE marts.fct_calls SET queue_name = 'after' WHERE partition_hour = ?", [changed])
        if beside_its_calls:
            connection.execute("INSERT INTO cdr.unpublished_hours VALUES ('calls', ?)", [changed])
    after = [(hour, key, "after" if hour == changed else name) for hour, key, name in before]
    found = [republish_calls() == after for _ in range(6)]
    # Once found, it is in the other file too.
    assert found == sorted(found)
    assert found[0 if beside_its_calls else 3]
    assert told == [
        "marts.fct_calls: the published copy differed from the warehouse, and was corrected, in 1 of its hours (the "
        f"first {changed}, the last {changed}); what writes this table has to note its hours in cdr.unpublished_hours "
        "(in dbt, by the macro note_unpublished)"
    ]


@pytest.mark.usefixtures("leases")
def test_small_marts_are_written_after_a_build_and_readings_always(published: Path) -> None:
    """After a build, both files that take turns get them."""
    marts = ("dim_agents", "dim_hours")
    classes = {f"marts.{mart}": {"n": Class.MEASURE} for mart in marts}

    def publish_with(*, is_built: bool, number: int) -> tuple[int, ...]:
        with opened(published) as connection:
            for mart in marts:
                connection.execute(f"CREATE OR REPLACE TABLE marts.{mart} AS SELECT {number} AS n")
            if is_built:
                clear_stale_hours(connection)
            publish(connection, published, privacy(classes=classes))
        with open_published(published) as connection:
            return connection.execute("SELECT * FROM marts.dim_agents, marts.dim_hours").fetchall()[0]

    assert publish_with(is_built=False, number=1) == (1, 1)
    assert publish_with(is_built=False, number=1) == (1, 1)
    assert publish_with(is_built=False, number=2) == (1, 2)
    assert publish_with(is_built=True, number=3) == (3, 3)
    assert publish_with(is_built=False, number=3) == (3, 3)
    assert publish_with(is_built=False, number=4) == (3, 4)


def test_columns_are_compressed_as_suits_what_they_hold(published: Path) -> None:
    with opened(published) as connection:
        connection.execute(
            """INSERT INTO cdr.calls (key, partition_hour, callid, recordingurl)
               SELECT 'k' || n, ?, 'same', 'https://centre.example/' || md5(n::VARCHAR) FROM range(5000) AS _ (n)""",
            [HOUR],
        )
        connection.execute(
            """INSERT INTO cdr.call_history (key, partition_hour, extra)
               SELECT 'k' || n, ?, '{"event": "' || md5(n::VARCHAR) || '"}' FROM range(5000) AS _ (n)""",
            [HOUR],
        )
        connection.execute(
            """INSERT INTO raw.cdr_pages (partition_hour, body)
               SELECT ?, unhex(md5(n::VARCHAR)) FROM range(5000) AS _ (n)""",
            [HOUR],
        )
        publish(connection, published, privacy(Callers.CLEAR))
    with open_published(published) as copy, opened(published) as warehouse:
        # The pages' bodies are compressed already when they are stored.
        assert compressions(warehouse, "raw.cdr_pages", "body") == {"Uncompressed"}
        for connection in copy, warehouse:
            assert compressions(connection, "cdr.calls", "recordingurl") == {"ZSTD"}
            assert compressions(connection, "cdr.call_history", "extra") == {"ZSTD"}
            assert not compressions(connection, "cdr.calls", "callid") & {"ZSTD", "Uncompressed"}


def compressions(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> set[str]:
    rows = connection.execute(
        f"""SELECT DISTINCT compression FROM pragma_storage_info('{table}')
            WHERE column_name = ? AND segment_type <> 'VALIDITY'""",
        [column],
    ).fetchall()
    return {compression for (compression,) in rows}


def test_a_copy_in_another_format_is_written_anew(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_version(version: str) -> str:
        monkeypatch.setattr(sys.modules[publish.__module__], "_STORAGE_VERSION", version)
        with opened(published) as connection:
            publish(connection, published, privacy())
        with open_published(published) as connection:
            (tags,) = connection.execute(
                "SELECT tags FROM duckdb_databases() WHERE database_name = 'published'"
            ).fetchone() or ({},)
        return str(tags["storage_version"])

    assert in_version("v1.2.0").startswith("v1.2.0")
    assert in_version("v1.3.0").startswith("v1.3.0")


def test_a_text_of_three_eighths_of_the_memory_of_a_run_is_published(published: Path) -> None:
    republish(published, "x" * 12_000_000, memory="32MB")
    assert [len(reason) for (reason,) in reasons(published)] == [12_000_000]


def test_a_text_that_the_memory_of_a_run_cannot_hold_says_what_to_do(published: Path) -> None:
    with pytest.raises(WarehouseError, match=r"more memory than DuckDB may use.* more processors and run again: the"):
        republish(published, "x" * 12_000_000, memory="16MB")
    assert reasons(published) == [("first",)]


@pytest.mark.usefixtures("nothing_compared")
@pytest.mark.parametrize("reason", ["not on this system", "not between these files"])
def test_the_next_copy_is_made_where_no_blocks_can_be_shared(
    published: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, reason)

    # The file is being read, so it cannot be updated.
    with published.open("rb"), opened(published) as connection:
        add_call(connection, "a", HOUR)
        publish(connection, published, privacy())
        # This change is not noted for publishing. Only a copy that begins as the file in place would lack it.
        connection.execute("UPDATE cdr.calls SET key = 'b'")
        if reason == "not on this system":
            monkeypatch.delattr(os, "copy_file_range", raising=False)
        else:
            monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
        publish(connection, published, privacy())
    with open_published(published) as connection:
        assert connection.execute("SELECT key FROM cdr.calls").fetchall() == [("a",)]


def test_the_copy_does_not_grow_by_being_published(published: Path) -> None:
    sizes = []
    for _ in range(12):
        with opened(published) as connection:
            connection.execute("DELETE FROM cdr.calls")
            connection.execute(
                "INSERT INTO cdr.calls (key, partition_hour) SELECT md5(i::VARCHAR), ? FROM range(20000) AS r (i)",
                [HOUR],
            )
            connection.execute("INSERT INTO cdr.unpublished_hours VALUES ('calls', ?)", [HOUR])
            publish(connection, published, privacy())
        sizes.append(published.stat().st_size)
    assert max(sizes) < 3 * sizes[0], sizes


def test_what_a_program_wrote_into_the_copy_never_reaches_the_next_one(published: Path) -> None:
    published.chmod(0o644)
    subprocess.run([sys.executable, "-c", _WRITE_AND_DIE, str(published)], check=False)
    assert published.with_name("cdr.duckdb.wal").exists()
    republish(published, "second")
    assert reasons(published) == [("second",)]
    assert {path.name for path in published.parent.iterdir()} <= {"cdr.duckdb", ".cdr.before"}


def test_nobody_may_write_into_the_copy(published: Path) -> None:
    # Many programs open files for writing by default, and one that does would lock all others out. Nobody else may read
    # it unless CDR_PUBLISHED_READERS says so.
    assert published.stat().st_mode & 0o777 == 0o400


def test_what_a_killed_run_left_is_cleared_away(published: Path) -> None:
    building = published.parent / ".cdr.building"
    building.mkdir()
    for name in ("cdr.duckdb", "cdr.duckdb.wal", "other"):
        (building / name).write_bytes(b"half")
    republish(published, "second")
    assert reasons(published) == [("second",)]
    assert {path.name for path in published.parent.iterdir()} <= {"cdr.duckdb", ".cdr.before"}


def test_a_copy_that_cannot_be_built_is_told_and_the_one_before_stays(published: Path) -> None:
    (published.parent / ".cdr.building").touch()
    with pytest.raises(WarehouseError, match=r"cannot publish to .*; mend this and run again: the copy .* in place"):
        republish(published, "second")
    assert reasons(published) == [("first",)]


def test_a_copy_of_other_hiding_rules_is_written_from_scratch(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that hides more must not keep the rows that an earlier one published."""
    warehouse = Path(published.parents[1] / "warehouse" / "cdr.duckdb")
    with Warehouse(warehouse).connect("test") as connection:
        connection.execute(
            "INSERT INTO cdr.calls (key, partition_hour, channel) VALUES ('a', '2026-03-02 05:00', 'SIP/5321112233')"
        )
        monkeypatch.setattr(masking, "SURELY_WITHOUT", "")
        # Twice, so that both files that take turns hold the row.
        publish(connection, published, privacy())
        publish(connection, published, privacy())
        monkeypatch.undo()
        # Not hour by hour as the comparison finds them, with a warning of the wrong cause.
        publish(connection, published, privacy(), log=pytest.fail)
    with open_published(published) as connection:
        assert connection.execute("SELECT channel FROM cdr.calls").fetchall() == [("SIP/*****33",)]
