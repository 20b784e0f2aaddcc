"""Who can open what in a data folder: as it was left by an older version, and as it is made now."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.protection import prepare_published, protect
from cdr_assets.domain.settings import Readers, Settings
from cdr_assets_tests.conftest import give_away

FILES = (
    "warehouse/warehouse.duckdb", "warehouse/warehouse.duckdb.wal", "warehouse/warehouse.duckdb.lock",
    "published/callcentre.duckdb", "published/.callcentre.before", "published/.callcentre.building/callcentre.duckdb",
    "dagster/history/runs.db", "reports/2026-03-02.html", "limits/requests", "dbt/target/file", "secret_key",
    "README.md",
)  # fmt: skip


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder as older versions left it with the usual umask, where other users can reach it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        before = os.umask(0o022)
        try:
            for name in FILES:
                file = Path(folder) / "data" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("")
        finally:
            os.umask(before)
        (Path(folder) / "data" / "secret_key").chmod(0o600)
        yield Path(folder) / "data"


def settings_of(data: Path, readers: Readers = Readers.OWNER) -> Settings:
    return Settings(cdr_data_dir=data, cdr_published_readers=readers)


def readable_by_others(data: Path) -> set[str]:
    """The files that another user, who is in no group of ours, can read."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    command = ["find", str(data), "-type", "f", "-readable"]
    found = subprocess.run(
        command, user=54321, group=54321, extra_groups=[], capture_output=True, text=True, check=False
    )
    return {str(Path(line).relative_to(data)) for line in found.stdout.splitlines()}


def test_an_older_data_folder_is_closed_and_that_is_said_once(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert readable_by_others(data) == {*FILES} - {"secret_key"}
    for _ in range(2):
        protect(settings_of(data))
    assert readable_by_others(data) == set()
    assert data.stat().st_mode & 0o777 == 0o700
    [line] = caplog.messages
    assert line.startswith(f"other users of this machine could read {data}; now only ")
    # Each folder is closed itself: the data folder may be opened again.
    data.chmod(0o755)
    assert readable_by_others(data) == {"README.md"}


@pytest.mark.parametrize("make", ["protect", "prepare"])
def test_the_copy_is_read_by_those_whom_the_setting_names(data: Path, make: str) -> None:
    settings = settings_of(data, Readers.ALL)
    protect(settings)
    if make == "prepare":
        prepare_published(settings)
    # Others pass through the data folder, and see nothing else: `find` cannot list it.
    assert data.stat().st_mode & 0o777 == 0o711
    assert readable_by_others(data) == set()
    assert readable_by_others(data / "published") == {"callcentre.duckdb"}
    for folder in ("warehouse", "dagster", "reports", "limits", "dbt"):
        assert readable_by_others(data / folder) == set()
    protect(settings_of(data, Readers.GROUP))
    assert readable_by_others(data / "published") == set()
    modes = [
        (data / "published" / name).stat().st_mode & 0o077 for name in ("", "callcentre.duckdb", ".callcentre.before")
    ]
    assert modes == [0o050, 0o040, 0]


def test_a_groups_folder_hands_its_group_on(data: Path) -> None:
    (data / "published").chmod(0o2700)
    protect(settings_of(data, Readers.GROUP))
    assert (data / "published").stat().st_mode & 0o7777 == 0o2750


def test_a_folder_that_was_locked_stays_locked(data: Path) -> None:
    (data / "warehouse").chmod(0o555)
    protect(settings_of(data))
    assert (data / "warehouse").stat().st_mode & 0o777 == 0o500


def test_a_fresh_checkout_is_closed_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data" / "README.md").touch()
    protect(settings_of(tmp_path / "data"))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert caplog.messages == []


def test_a_folder_that_holds_other_things_stays_as_it_is(data: Path) -> None:
    (data / "thesis.odt").touch()
    protect(settings_of(data))
    assert data.stat().st_mode & 0o777 == 0o755
    assert readable_by_others(data) == {"README.md", "thesis.odt"}


@pytest.mark.parametrize("part", ["", "warehouse"])
def test_a_folder_of_another_user_is_refused(data: Path, part: str) -> None:
    give_away(data / part)
    with pytest.raises(OperatorError, match=f"^{data / part} belongs to user 54321 and this process runs as "):
        protect(settings_of(data))


def test_a_folder_in_which_all_can_write_is_mended_or_refused(data: Path, tmp_path: Path) -> None:
    data.chmod(0o777)
    protect(settings_of(data))
    assert data.stat().st_mode & 0o777 == 0o700
    (tmp_path / "all").mkdir()
    (tmp_path / "all").chmod(0o777)
    elsewhere = Settings(cdr_data_dir=data, cdr_warehouse=tmp_path / "all" / "w", cdr_published=tmp_path / "all" / "c")
    for check in (protect, prepare_published):
        with pytest.raises(OperatorError, match=r"^every user of this machine can replace the files in "):
            check(elsewhere)
    # In a sticky folder, nobody can replace another's files.
    (tmp_path / "all").chmod(0o1777)
    protect(elsewhere)
    prepare_published(elsewhere)
    assert (tmp_path / "all").stat().st_mode & 0o7777 == 0o1777
