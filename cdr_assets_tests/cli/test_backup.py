"""`cdr backup` and `cdr restore` as commands: what is equal afterwards, what is refused, what a kill leaves, and that
the forgotten stay forgotten. A backup while runs write and analysts read is in `processes/test_backup.py`."""

import json
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from filelock import FileLock

from cdr_assets.domain.files import write_whole
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.suppression import suppress
from cdr_assets.orchestration.home import open_instance
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.transforms import decompress
from cdr_assets.warehouse import open_as
from cdr_assets.warehouse.migrations import SCHEMA_VERSION
from cdr_assets_tests.cli.command import cdr, environment_for
from cdr_assets_tests.cli.test_cli import Filled
from cdr_assets_tests.cli.test_forget import HOURS
from cdr_assets_tests.conftest import HOUR, TOKEN, record
from cdr_assets_tests.ingest.test_forgetting import OTHER, traces
from cdr_assets_tests.tables import digests

NUMBER = "05329876543"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("loaded") / "data"
    calls = ListedCalls(
        [
            record("theirs", callerid=NUMBER, call_tags=["fatura"]),
            # Another's call that only mentions the number, as a caller from abroad who is mentioned nowhere else.
            record("other", HOUR.replace(minute=10), callerid=OTHER, call_tags=["+49 30 901820 aradı"]),
        ]
    )
    with Sandbox(calls, token=TOKEN) as sandbox:
        base = {"ALOTECH_BASE_URL": sandbox.base_url, "ALOTECH_APP_TOKEN": TOKEN, "CDR_START": "2026-03-01"}
        done = cdr(folder, "backfill", *HOURS, **base)
        assert done.returncode == 0, done.stderr
        yield Filled(folder, calls, base, done)


@pytest.fixture
def filled(loaded: Filled, tmp_path: Path) -> Filled:
    """A data folder of its own."""
    shutil.copytree(loaded.folder, tmp_path / "data", symlinks=True)
    return Filled(tmp_path / "data", loaded.calls, loaded.environment, loaded.backfill)


@pytest.fixture
def place(filled: Filled) -> Filled:
    """Another machine, with an empty data folder."""
    return Filled(filled.folder.parent / "restored", filled.calls, filled.environment, filled.backfill)


@pytest.fixture
def folder(filled: Filled, tmp_path: Path) -> Path:
    """A backup of it."""
    done = filled.cdr("backup", str(tmp_path / "backup"))
    assert done.returncode == 0, done.stderr
    return tmp_path / "backup"


def warehouse(machine: Filled) -> Path:
    return machine.folder / "warehouse" / "warehouse.duckdb"


def published(machine: Filled) -> Path:
    return machine.folder / "published" / "callcentre.duckdb"


def instance_of(machine: Filled, patch: pytest.MonkeyPatch) -> DagsterInstance:
    patch.setenv("DAGSTER_HOME", str(machine.folder / "dagster"))
    return open_instance(Settings(cdr_data_dir=machine.folder))


def kill_at(moment: str, machine: Filled, *args: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "cdr_assets_tests.cli.killed", moment, *args],
        env=environment_for(machine.folder, **machine.environment),
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, (moment, killed.stdout, killed.stderr)


def test_what_is_restored_equals_what_was_backed_up(
    filled: Filled, place: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance_of(filled, monkeypatch) as instance:
        [run] = instance.get_runs()
        hours = instance.get_materialized_partitions(PUBLISHED_KEY)
        # As if the backup were made in the middle of a run.
        under_way = instance.create_run_for_job(_job(), status=DagsterRunStatus.STARTED)
    monkeypatch.delenv("DAGSTER_HOME")
    write_whole(filled.folder / "first_hour", f"{HOUR}\n")
    folder = tmp_path / "backups" / "2026-03-03"
    made = filled.cdr("backup", str(folder))
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1].startswith("backed up 2 calls of 127.0.0.1:")
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "manifest.json", "warehouse.duckdb", "secret_key", "first_hour",
        "dagster/history/runs.db", "dagster/history/runs/index.db", "dagster/schedules/schedules.db",
    }  # fmt: skip
    rows = json.loads((folder / "manifest.json").read_text())["rows"]

    done = place.cdr("restore", str(folder))
    assert done.returncode == 0, done.stderr
    # Publishing notes what the copies of this place hold.
    of_the_copies = ("raw.published_copy", "raw.newly_published_hours")
    before = digests(warehouse(filled), *of_the_copies)
    assert digests(warehouse(place), *of_the_copies) == before
    assert {table: count for table, (count, _) in before.items()}.items() <= rows.items()
    assert digests(published(place)) == digests(published(filled))
    with instance_of(place, monkeypatch) as instance:
        assert instance.get_materialized_partitions(PUBLISHED_KEY) == hours
        statuses = {each.run_id: each.status for each in instance.get_runs()}
    assert statuses == {run.run_id: DagsterRunStatus.SUCCESS, under_way.run_id: DagsterRunStatus.CANCELED}
    monkeypatch.delenv("DAGSTER_HOME")
    assert (place.folder / "first_hour").read_text() == f"{HOUR}\n"
    assert "ok    warehouse: " in place.cdr("check").stdout
    assert not (place.folder / "restoring").exists()


def _job() -> object:
    import dagster

    @dagster.job
    def hourly() -> None:
        pass

    return hourly


def test_a_backup_goes_into_a_new_folder_elsewhere(filled: Filled, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    for wrong, told in (
        (folder, "holds a backup already: name a new folder"),
        (other, "holds other files: name a new folder"),
        (filled.folder / "backup", "lies in the data folder, and would be lost with it"),
    ):
        refused = filled.cdr("backup", str(wrong))
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert told in refused.stderr
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    refused = Filled(tmp_path / "empty", filled.calls, filled.environment, filled.backfill).cdr("backup", str(other))
    assert "there is no" in refused.stderr


def test_what_cannot_be_restored_is_refused_and_nothing_is_written(
    filled: Filled, place: Filled, folder: Path, tmp_path: Path
) -> None:
    def refusal(machine: Filled, changed: Path = folder, **environment: str) -> str:
        refused = machine.cdr("restore", str(changed), **environment)
        assert (refused.returncode, refused.stdout) == (1, "")
        *_, line = refused.stderr.splitlines()
        return line

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    def with_manifest(name: str, **changes: object) -> Path:
        changed = copy(name)
        manifest = json.loads((changed / "manifest.json").read_text())
        (changed / "manifest.json").write_text(json.dumps(manifest | changes))
        return changed

    damaged = copy("damaged")
    with (damaged / "warehouse.duckdb").open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    assert "is damaged: warehouse.duckdb changed since the backup was made" in refusal(place, damaged)
    for missing in ("manifest.json", "secret_key"):
        unfinished = copy(f"without {missing}")
        (unfinished / missing).unlink()
        assert f"is not a whole backup: there is no {unfinished / missing}" in refusal(place, unfinished)
    assert "made by a newer version of cdr_assets" in refusal(
        place, with_manifest("newer", schema_version=SCHEMA_VERSION + 1)
    )
    assert "holds the calls of 127.0.0.1:" in refusal(place, ALOTECH_TENANT="globex")
    assert "cannot read the backup" in refusal(place, with_manifest("of tomorrow", encryption="none"))
    assert not any(path.is_file() for path in place.folder.rglob("*") if "dbt" not in path.parts)

    # The place: not empty, or in use.
    before = digests(warehouse(filled))
    assert "would be replaced: end `cdr dev` and all runs" in refusal(filled)
    assert digests(warehouse(filled)) == before
    warehouse(place).parent.mkdir(parents=True)
    with FileLock(f"{warehouse(place)}.lock"):
        assert "the warehouse was held by another run for 0 s; end it" in refusal(place)
    assert not (place.folder / "restoring").exists()


def test_a_killed_backup_is_not_whole_and_a_killed_restore_lets_nothing_run(
    filled: Filled, place: Filled, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    kill_at("backup.sync", filled, "backup", str(folder))
    assert (folder / "warehouse.duckdb").exists()
    assert "is not a whole backup" in place.cdr("restore", str(folder)).stderr
    assert filled.cdr("backup", str(folder)).returncode == 0
    assert not (folder / "unfinished").exists()

    kill_at("backup.publish_copy", place, "restore", str(folder))
    for command in ("check", "backfill"):
        refused = place.cdr(command, *(HOURS if command == "backfill" else ()))
        assert refused.returncode == 1
        assert f"a restore of {folder} has not ended" in refused.stdout + refused.stderr
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    assert f"run `cdr restore {folder}` again first" in place.cdr("restore", str(other)).stderr
    done = place.cdr("restore", str(folder))
    assert done.returncode == 0, done.stderr
    assert digests(published(place)) == digests(published(filled))
    assert place.cdr("audit", *HOURS).returncode == 0


@pytest.mark.campaign
def test_a_restore_that_is_killed_anywhere_begins_again(filled: Filled, place: Filled, folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("original"))
    assert filled.cdr("forget", "--yes", NUMBER).returncode == 0
    keep_list(filled, place)
    for moment in ("merge_list", "_end_runs", "forgotten_that_came_back", "forget_in_history", "publish_copy"):
        kill_at(f"backup.{moment}", place, "restore", str(folder))
    done = place.cdr("restore", str(folder))
    assert done.returncode == 0, done.stderr
    assert digests(published(place), "cdr.erasures", "loaded_at") == digests(
        published(filled), "cdr.erasures", "loaded_at"
    )
    assert traces(place.folder) == {}


def keep_list(machine: Filled, place: Filled) -> None:
    """The newest suppression list stays in the data folder, or is copied there."""
    place.folder.mkdir(exist_ok=True)
    for name in ("suppressed", "suppression_key"):
        shutil.copy(machine.folder / name, place.folder)


def list_as_forgotten(machine: Filled, number: str) -> None:
    """As `cdr forget` does first; its other steps take seconds."""
    suppress(Settings(cdr_data_dir=machine.folder), number, is_line=False)


def test_the_forgotten_stay_forgotten(filled: Filled, place: Filled, folder: Path, tmp_path: Path) -> None:
    # One was being forgotten when the second backup was made, another was forgotten later.
    list_as_forgotten(filled, "+905329876543")
    second = tmp_path / "second"
    assert filled.cdr("backup", str(second)).returncode == 0
    assert stat.S_IMODE((second / "suppressed").stat().st_mode) == 0o600
    list_as_forgotten(filled, "+4930901820")

    # Without the newest list both are back, and the command says what to do.
    done = place.cdr("restore", str(folder))
    assert "`cdr forget` again whom you have forgotten since" in done.stdout
    assert traces(place.folder) != {}
    assert b"901820" in texts_of(warehouse(place))

    shutil.rmtree(place.folder)
    keep_list(filled, place)
    done = place.cdr("restore", str(second))
    assert (done.returncode, done.stdout.count("forgetting again")) == (0, 2)
    assert traces(place.folder) == {}
    assert b"901820" not in texts_of(warehouse(place))
    assert NUMBER not in done.stdout + done.stderr
    assert (place.folder / "suppressed").read_text() == (filled.folder / "suppressed").read_text()


def test_a_suppression_list_with_another_key_is_not_joined(filled: Filled, place: Filled, tmp_path: Path) -> None:
    for machine in (filled, place):
        machine.folder.mkdir(exist_ok=True)
        list_as_forgotten(machine, "+905329876543")
    assert filled.cdr("backup", str(tmp_path / "backup")).returncode == 0
    before = (place.folder / "suppressed").read_text()
    refused = place.cdr("restore", str(tmp_path / "backup"))
    assert refused.returncode == 1
    assert "have different keys" in refused.stderr
    assert (place.folder / "suppressed").read_text() == before


def texts_of(path: Path) -> bytes:
    """The tags and the raw pages of a warehouse, without blanks."""
    with open_as("read", path, "READ_ONLY") as connection:
        bodies = connection.execute("SELECT body, body_size FROM raw.cdr_pages").fetchall()
        tags = connection.execute("SELECT tag FROM cdr.call_tags").fetchall()
    return (b"".join(decompress(*body) for body in bodies) + repr(tags).encode()).replace(b" ", b"")
