"""Where the partitions begin: with CDR_START, otherwise with the first hour that a new installation is asked for."""

import datetime as dt
from pathlib import Path

import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import Settings, ask_from, read_settings
from cdr_assets.orchestration.partitions import hourly_partitions

ALWAYS = dt.datetime(2025, 1, 1)
MARCH, FEBRUARY = dt.datetime(2026, 3, 2, 5), dt.datetime(2026, 2, 1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDR_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def first_key(settings: Settings) -> str | None:
    return hourly_partitions(settings).get_first_partition_key()


def test_a_new_installation_begins_with_the_first_hour_that_is_asked_for(data: Path) -> None:
    settings = read_settings()
    # Reading settings and loading definitions write nothing.
    assert not data.exists()
    ask_from(settings, MARCH)
    assert settings.cdr_start == MARCH
    # A later question moves nothing, an earlier one does, and every process reads the same.
    (settings.warehouse_path.parent).mkdir()
    settings.warehouse_path.touch()
    ask_from(read_settings(), MARCH + dt.timedelta(days=30))
    assert first_key(read_settings()) == "2026-03-02-05:00"
    ask_from(read_settings(), FEBRUARY)
    assert first_key(read_settings()) == "2026-02-01-00:00"
    assert (data / "first_hour").stat().st_mode & 0o777 == 0o600


def test_an_installation_that_was_there_before_keeps_its_partitions(data: Path) -> None:
    settings = read_settings()
    settings.warehouse_path.parent.mkdir(parents=True)
    settings.warehouse_path.touch()
    ask_from(settings, MARCH)
    assert settings.cdr_start == read_settings().cdr_start == ALWAYS
    assert not (data / "first_hour").exists()


def test_cdr_start_decides_where_it_is_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_from(read_settings(), MARCH)
    monkeypatch.setenv("CDR_START", "2026-04-01")
    settings = read_settings()
    ask_from(settings, FEBRUARY)
    assert settings.cdr_start == read_settings().cdr_start == dt.datetime(2026, 4, 1)
    assert (data / "first_hour").read_text() == "2026-03-02 05:00\n"


def test_a_damaged_file_and_a_folder_that_cannot_be_written_are_one_line(data: Path) -> None:
    data.mkdir()
    (data / "first_hour").write_text("yesterday")
    with pytest.raises(OperatorError, match="first_hour does not hold an hour: write the first hour of the partitions"):
        read_settings()
    (data / "first_hour").unlink()
    data.rmdir()
    data.touch()
    with pytest.raises(OperatorError, match="CDR_DATA_DIR: cannot write to "):
        ask_from(read_settings(), MARCH)


def test_an_installation_whose_warehouse_has_the_old_name_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_DATA_DIR", str(tmp_path))
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "cdr.duckdb").touch()
    settings = read_settings()
    ask_from(settings, dt.datetime(2026, 3, 2))
    assert settings.cdr_start == dt.datetime(2025, 1, 1)
    assert not settings.first_hour_path.exists()
