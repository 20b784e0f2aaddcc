"""`cdr backup` while runs write and analysts read. What it refuses, and kills, are in `cli/test_backup.py`."""

import shutil
import time
from pathlib import Path

import pytest

from cdr_assets.sandbox import Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, settings_for
from cdr_assets_tests.processes.conftest import (
    Machine,
    backfill_of,
    changing,
    hours_of_calls,
    reading,
)
from cdr_assets_tests.tables import digests


@pytest.mark.parametrize(
    ("hours", "pause", "is_each_restored"), [(2, 2.0, False), pytest.param(48, 0.5, True, marks=pytest.mark.campaign)]
)
def test_a_backup_while_a_run_writes_and_analysts_read(
    hours: int, pause: float, is_each_restored: bool, tmp_path: Path
) -> None:
    calls = hours_of_calls(hours, calls_an_hour=20)
    backups = []
    with Sandbox(calls, token=TOKEN, latency_ms=30) as sandbox:
        machine = Machine(settings_for(sandbox.base_url, tmp_path / "data"))
        assert machine.backfill(HOUR, 1) == 0
        with reading(machine.settings.published_path, pause=0.25) as met, changing(calls, ["0-0", "1-0"]):
            # A process on the same folder.
            writer = Machine(machine.settings, output=tmp_path / "writer").start(*backfill_of(HOUR, hours))
            while writer.is_alive():
                backups.append(tmp_path / f"backup {len(backups)}")
                assert machine.run("backup", str(backups[-1])) == 0, machine.told
                time.sleep(pause)
            assert writer.exitcode == 0
        assert machine.run("backup", str(tmp_path / "last")) == 0, machine.told
        print(f"{len(backups)} backups, {met.reads} reads")
        assert met.reads > 0
        assert (met.failed, met.torn) == ([], [])

        # Each has whole hours. A restore takes seconds, so that the small test restores the last one only.
        restored = Machine(settings_for(sandbox.base_url, tmp_path / "restored" / "data"))
        for backup in backups:
            if is_each_restored:
                assert restored.run("restore", str(backup)) == 0, restored.told
                assert restored.half_hours() == []
                shutil.rmtree(tmp_path / "restored")
            looked_at = settings_for(sandbox.base_url, tmp_path, cdr_warehouse=backup / "warehouse.duckdb")
            assert Machine(looked_at).half_hours() == []
        assert restored.run("restore", str(tmp_path / "last")) == 0, restored.told
        assert restored.digests() == machine.digests()
        of_the_copies = ("raw.published_copy", "raw.newly_published_hours")
        assert digests(restored.settings.warehouse_path, *of_the_copies) == digests(
            machine.settings.warehouse_path, *of_the_copies
        )
