"""Full disks and read-only folders: the run fails with one line, nothing is lost, and the next run works once fixed."""

import random
import shutil
import string
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdr_assets.publishing.reading import open_published
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, record, settings_for
from cdr_assets_tests.processes.conftest import ONE_HOUR, Machine


def large_calls(hours: int, letters: int = 20_000) -> ListedCalls:
    """One small hour, then hours of large calls that cannot be compressed."""
    choose = random.Random(1)
    calls = ListedCalls([record("small", HOUR)])
    for hour in range(1, hours):
        for n in range(50):
            noise = "".join(choose.choices(string.ascii_letters, k=letters))
            calls.add(record(f"{hour}-{n}", HOUR + hour * ONE_HOUR, recordingurl=noise))
    return calls


def published_calls(machine: Machine) -> int:
    with open_published(machine.settings.published_path) as connection:
        [(calls,)] = connection.execute("SELECT count(*) FROM cdr.calls").fetchall()
    return int(calls)


@dataclass
class Loaded:
    """The calls of a small and a large hour, and a data folder into which the small one has been loaded."""

    calls: ListedCalls
    base_url: str
    data: Path

    def copied_to(self, data: Path) -> Machine:
        shutil.copytree(self.data, data, symlinks=True)
        return Machine(settings_for(self.base_url, data))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    calls, data = large_calls(2, letters=200_000), tmp_path_factory.mktemp("loaded") / "data"
    with Sandbox(calls, token=TOKEN) as sandbox:
        machine = Machine(settings_for(sandbox.base_url, data))
        assert machine.backfill(HOUR, 1) == 0, machine.told
        yield Loaded(calls, sandbox.base_url, data)


def test_a_full_disk_is_told_and_the_next_run_succeeds_when_there_is_room(loaded: Loaded, tmp_path: Path) -> None:
    machine = loaded.copied_to(tmp_path / "data")
    before = machine.digests()
    # The limit is smaller than the large hour, but larger than Dagster's files.
    assert machine.backfill(HOUR, 2, file_size=5_000_000) == 1
    [problem] = machine.problems()
    assert "File too large; mend this and run again; what was loaded before is still there" in problem
    assert machine.digests() == before
    assert machine.half_hours() == []
    assert machine.backfill(HOUR, 2) == 0, machine.told
    assert published_calls(machine) == 51


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and its files read-only while the block runs."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.iterdir())}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_a_folder_that_cannot_be_written_is_told_and_the_next_run_succeeds(loaded: Loaded, tmp_path: Path) -> None:
    data = tmp_path / "data"
    machine = loaded.copied_to(data)
    loaded.calls.edit("small", call_tags=["new"])
    before = machine.digests()
    for name, told in {
        "dagster/history/runs": "Dagster cannot write to",
        "warehouse": "give this user the right to write there",
        "limits": "make it writable, or choose another data folder",
        "published": "mend this and run again: the copy published before is still in place",
    }.items():
        with locked(data / name):
            assert machine.backfill(HOUR, 1) == 1, name
            [problem] = machine.problems()
            assert told in problem
        assert machine.digests() == before
    assert machine.half_hours() == []
    assert machine.backfill(HOUR, 1) == 0, machine.told
    with open_published(machine.settings.published_path) as connection:
        assert connection.execute("SELECT tag FROM marts.fct_call_tags").fetchall() == [("new",)]


@contextmanager
def disk(path: Path, megabytes: int) -> Iterator[None]:
    """Mounts a disk of this size at the path."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can make small disks")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.campaign
@pytest.mark.parametrize("megabytes", [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24])
def test_a_disk_that_fills_at_any_moment(tmp_path: Path, megabytes: int) -> None:
    data = tmp_path / "disk" / "data"
    with Sandbox(large_calls(4), token=TOKEN) as sandbox, disk(data.parent, megabytes):
        machine = Machine(settings_for(sandbox.base_url, data), output=tmp_path / "told")
        small = machine.backfill(HOUR, 1)
        large = machine.backfill(HOUR, 4)
        assert (small, large) in ((0, 1), (1, 1))
        [problem] = machine.problems()
        print(f"{megabytes} MB: {problem}")
        if machine.settings.published_path.exists():
            assert published_calls(machine) in (1, 151)
        subprocess.run(["mount", "-o", "remount,size=100m", data.parent], check=True)
        assert machine.backfill(HOUR, 4) == 0, machine.told
        assert machine.half_hours() == []
        assert published_calls(machine) == 151
