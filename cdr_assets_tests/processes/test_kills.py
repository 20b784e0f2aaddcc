"""Backfills whose whole process group is killed at random moments, as in a power cut.

The next run needs no repair, readers notice nothing, and in the end the warehouse equals that of undisturbed runs.
"""

import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from cdr_assets.domain.settings import Settings
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, settings_for
from cdr_assets_tests.processes.conftest import Machine, hours_of_calls, reading

_HOURS = 3

# All files that may be in the data folder when no run is running, besides Dagster's own.
_FILES = {
    "warehouse/warehouse.duckdb", "warehouse/warehouse.duckdb.lock", "published/callcentre.duckdb",
    "published/.callcentre.before",
    "secret_key", "secret_key.lock", "limits/requests", *(f"limits/request-{n}.lock" for n in range(4)),
}  # fmt: skip


def holder(settings: Settings) -> str:
    """The step for which the killed run held the warehouse's lock, if it held it."""
    path = settings.warehouse_path.with_name("warehouse.duckdb.holder")
    return path.read_text().split('"')[3].split(", ")[-1] if path.exists() else "nothing"


def files(settings: Settings) -> set[str]:
    found = (path.relative_to(settings.cdr_data_dir) for path in settings.cdr_data_dir.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if path.parts[0] not in ("dagster", "dbt")}


def kill_runs(kills: int, seed: int, folder: Path, pause: float = 0.05) -> None:
    choose = random.Random(seed)
    calls = hours_of_calls(_HOURS, calls_an_hour=20)
    keys = [f"{hour}-{n}" for hour in range(_HOURS) for n in range(0, 20, 5)]
    with Sandbox(calls, token=TOKEN, latency_ms=30) as sandbox:
        machine = Machine(settings_for(sandbox.base_url, folder / "killed" / "data"))
        # Starts the server that forks the runs. Its imports take seconds, in which there would be nothing to kill.
        assert machine.run("--help") == 0
        began = time.monotonic()
        assert machine.backfill(HOUR, _HOURS) == 0
        duration = time.monotonic() - began
        held: Counter[str] = Counter()
        runs = 0
        with reading(machine.settings.published_path, pause) as met:
            while held.total() < kills:
                runs += 1
                change(calls, choose.sample(keys, 3), runs)
                # Let one run of ten end: if every run is killed, the backfill never finishes.
                code = machine.backfill(
                    HOUR, _HOURS, kill_after=None if runs % 10 == 0 else choose.uniform(0, duration)
                )
                assert code in (0, -signal.SIGKILL)
                if code:
                    held[holder(machine.settings)] += 1
                    if choose.random() < 0.3:
                        assert machine.half_hours() == []
                else:
                    assert files(machine.settings) <= _FILES
            assert machine.backfill(HOUR, _HOURS) == 0
        print(f"seed {seed}: {kills} kills in {runs} runs; the warehouse was held for {dict(held)}")
        print(f"{met.reads} reads, {len(met.failed)} failed, {len(met.torn)} torn")
        assert met.reads > 0
        assert (met.failed, met.torn) == ([], [])
        assert files(machine.settings) <= _FILES
        undisturbed = Machine(settings_for(sandbox.base_url, folder / "undisturbed" / "data"))
        # Use the same key, so that the pseudonyms are the same.
        undisturbed.settings.cdr_data_dir.mkdir(parents=True)
        shutil.copy(machine.settings.cdr_data_dir / "secret_key", undisturbed.settings.cdr_data_dir)
        assert undisturbed.backfill(HOUR, _HOURS) == 0
    assert machine.digests() == undisturbed.digests()


def change(calls: ListedCalls, keys: list[str], version: int) -> None:
    for key in keys:
        calls.edit(key, call_tags=[f"tag {version}"], holdduration=version)


def test_runs_killed_at_random_leave_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    kill_runs(kills=2, seed=1, folder=tmp_path, pause=0.25)


@pytest.mark.campaign
def test_200_runs_killed_at_random_leave_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    kill_runs(kills=200, seed=2, folder=tmp_path)
