"""`cdr backup` while runs write and analysts read. What it refuses, and kills, are in `cli/test_backup.py`."""

import shutil
from pathlib import Path

import pytest

from cdr_assets.sandbox import Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, settings_for
from cdr_assets_tests.processes.conftest import (
    Machine,
    await_success,
    changing,
    hours_of_calls,
    reading,
    start_backfill,
)
from cdr_assets_tests.tables import digests


@pytest.mark.parametrize(("hours", "backups"), [(4, 2), pytest.param(48, 20, marks=pytest.mark.campaign)])
def test_a_backup_while_a_run_writes_and_analysts_read(hours: int, backups: int, tmp_path: Path) -> None:
    calls = hours_of_calls(hours, calls_an_hour=20)
    with Sandbox(calls, token=TOKEN, latency_ms=30) as sandbox:
        machine = Machine(settings_for(sandbox.base_url, tmp_path / "data"))
        assert machine.backfill(HOUR, 1) == 0
        with reading(machine.settings.published_path, pause=0.25) as met, changing(calls, ["1-0", "2-0"]):
            writer, made = start_backfill(machine.settings, HOUR, hours), 0
            while made < backups or writer.poll() is None:
                assert machine.run("backup", str(tmp_path / f"backup {made}")) == 0, machine.told
                made += 1
            await_success(writer)
        assert machine.run("backup", str(tmp_path / "last")) == 0
        print(f"{made} backups, {met.reads} reads")
        assert met.reads > 0
        assert (met.failed, met.torn) == ([], [])
        assert machine.half_hours() == []

        for n in range(made):
            restored = Machine(settings_for(sandbox.base_url, tmp_path / "restored" / "data"))
            assert restored.run("restore", str(tmp_path / f"backup {n}")) == 0, restored.told
            # Whole hours, and the run that was under way can be run again.
            assert restored.half_hours() == []
            if n == 0:
                assert restored.backfill(HOUR, hours) == 0
                assert restored.digests().keys() == machine.digests().keys()
            shutil.rmtree(tmp_path / "restored")
        assert restored.run("restore", str(tmp_path / "last")) == 0, restored.told
        assert restored.digests() == machine.digests()
        of_the_copies = ("raw.published_copy", "raw.newly_published_hours")
        assert digests(restored.settings.warehouse_path, *of_the_copies) == digests(
            machine.settings.warehouse_path, *of_the_copies
        )
