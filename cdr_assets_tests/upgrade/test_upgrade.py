"""What an old version wrote runs on with today's code, and afterwards equals what today's code writes from the start.

The small test reads files that the old code made once; the large one makes them again from the history of git. Single
migrations are tested in `warehouse/test_migrations.py` and `orchestration/test_retyping.py`.
"""

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.home import open_instance
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.sandbox import RecordsFile, Sandbox
from cdr_assets_tests.cli.command import cdr
from cdr_assets_tests.conftest import TOKEN
from cdr_assets_tests.orchestration.field_calls import DAY
from cdr_assets_tests.tables import digests
from cdr_assets_tests.upgrade import old_code

# Columns: times and IDs of runs.
_OF_RUNS = ("loaded_at", "fetched_at", "noticed_at", "run_id")

# Tables that differ because there were two runs and not one: the counts of each load, hours that newer rules restated,
# which hours were published last; and by which code pages were hashed and typed.
_HISTORY = ("cdr.loads", "cdr.restatements", "raw.published_copy", "raw.newly_published_hours")
_OF_CODE = ("raw.cdr_pages.content_hash", "raw.typed_hours")


def make(folder: Path) -> int:
    old_code.make(folder, 72, 120)
    return 72


def unpack(folder: Path) -> int:
    old_code.unpack(folder)
    return 12


@pytest.mark.parametrize("old", [unpack, pytest.param(make, marks=pytest.mark.campaign)])
def test_an_old_installation_runs_on_and_equals_a_fresh_one(
    old: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = old(tmp_path)
    last, finish = (f"{DAY + dt.timedelta(hours=n):%Y-%m-%d %H:%M}" for n in (hours - 1, hours))
    upgraded, restored, fresh = (Settings(cdr_data_dir=tmp_path / name) for name in ("data", "restored", "fresh"))
    os.chmod(upgraded.secret_key_path, 0o600)  # noqa: PTH101
    fresh.cdr_data_dir.mkdir()
    # The same key, and so the same pseudonyms.
    shutil.copy(upgraded.secret_key_path, fresh.secret_key_path)
    with Sandbox(RecordsFile(tmp_path / "records.jsonl"), token=TOKEN) as sandbox:
        environment = old_code.ENVIRONMENT | {"ALOTECH_BASE_URL": sandbox.base_url}
        # A backup of before the upgrade holds the tables of the old version.
        done = cdr(upgraded.cdr_data_dir, "backup", str(tmp_path / "backup"), **environment)
        assert done.returncode == 0, done.stderr
        done = cdr(restored.cdr_data_dir, "restore", str(tmp_path / "backup"), **environment)
        assert done.returncode == 0, done.stderr
        for settings, start in ((upgraded, last), (restored, last), (fresh, f"{DAY:%Y-%m-%d}")):
            done = cdr(settings.cdr_data_dir, "backfill", start, finish, **environment)
            assert done.returncode == 0, done.stderr

    in_copy, in_warehouse = (
        [digests(getattr(settings, path), *_OF_RUNS, *_HISTORY, *_OF_CODE) for settings in (fresh, upgraded, restored)]
        for path in ("published_path", "warehouse_path")
    )
    for expected, *others in (in_copy, in_warehouse):
        print({table: count for table, (count, _) in expected.items()})
        assert others == [expected, expected]

    monkeypatch.setenv("DAGSTER_HOME", str(upgraded.cdr_data_dir / "dagster"))
    with open_instance(upgraded) as instance:
        # The gap sensor asks for none of the old hours again.
        assert len(instance.get_materialized_partitions(PUBLISHED_KEY)) == hours
        assert [run.job_name for run in instance.get_runs()] == ["hourly", "hourly"]
        assert all(instance.all_logs(run.run_id) for run in instance.get_runs())
