"""Older versions named both files cdr.duckdb. They are renamed once, and only at the default paths."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.old_names import take_over_old_names
from cdr_assets.publishing.reading import open_published
from cdr_assets.warehouse import Warehouse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(cdr_data_dir=tmp_path)
    for path in (settings.warehouse_path, settings.published_path):
        old = path.with_name("cdr.duckdb")
        old.parent.mkdir()
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{old}' AS old; CREATE TABLE old.named AS SELECT 'old' AS name")
    settings.published_path.with_name(".cdr.before").write_bytes(b"the copy before")
    return settings


def test_both_files_are_taken_over_once(settings: Settings) -> None:
    with open_published(settings.published_path.with_name("cdr.duckdb")) as reader:
        take_over_old_names(settings)
        # An open connection to the old copy still works.
        assert reader.execute("FROM named").fetchall() == [("old",)]
    with Warehouse(settings.warehouse_path).connect("test") as connection:
        assert connection.execute("FROM named").fetchall() == [("old",)]
    with open_published(settings.published_path) as connection:
        assert connection.execute("FROM named").fetchall() == [("old",)]
    assert {path.name for path in settings.published_path.parent.iterdir()} == {
        "callcentre.duckdb", ".callcentre.before",
    }  # fmt: skip
    # A file that later appears under the old name must not replace the new one.
    settings.published_path.with_name("cdr.duckdb").write_bytes(b"somebody's")
    take_over_old_names(settings)
    assert settings.published_path.stat().st_size > 100


def test_a_run_of_an_older_version_keeps_its_warehouse(settings: Settings) -> None:
    old = settings.warehouse_path.with_name("cdr.duckdb")
    holds = f"""
from filelock import FileLock
with FileLock({f"{old}.lock"!r}):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        take_over_old_names(settings)
        assert old.exists()
        assert not settings.warehouse_path.exists()
        run.communicate("\n")
    take_over_old_names(settings)
    assert settings.warehouse_path.exists()


def test_files_that_a_setting_names_stay(settings: Settings) -> None:
    warehouse = settings.warehouse_path.with_name("cdr.duckdb")
    published = settings.published_path.with_name("cdr.duckdb")
    take_over_old_names(Settings(cdr_data_dir=settings.cdr_data_dir, cdr_warehouse=warehouse, cdr_published=published))
    assert warehouse.exists()
    assert published.exists()
    assert not FileLock(f"{warehouse}.lock").is_locked


def test_a_user_who_may_not_rename_is_told_in_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, _: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OperatorError, match=r"cannot rename .*cdr\.duckdb.*: Permission denied; run `cdr check` once"):
        take_over_old_names(settings)
