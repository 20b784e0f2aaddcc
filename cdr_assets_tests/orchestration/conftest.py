"""An instance of Dagster and settings for tests that start no runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from cdr_assets.domain.settings import Settings
from cdr_assets_tests.conftest import settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for("http://127.0.0.1:1", tmp_path / "data", cdr_start="2025-01-01")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    (tmp_path / "home").mkdir()
    events = {
        "module": "cdr_assets.orchestration.event_log",
        "class": "EventLog",
        "config": {"base_dir": str(tmp_path / "events")},
    }
    with DagsterInstance.local_temp(str(tmp_path / "home"), overrides={"event_log_storage": events}) as instance:
        yield instance
