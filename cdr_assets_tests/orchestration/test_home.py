"""Dagster's home: what stands in its dagster.yaml, on versions of Dagster that were tested and on others."""

import os
from pathlib import Path

import dagster
import pytest
import yaml
from dagster import DagsterInstance

from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.event_log import EventLog
from cdr_assets.orchestration.home import open_instance, use_dagster_home


@pytest.fixture(autouse=True)
def _environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.pop("DAGSTER_HOME", None)


def storage(settings: Settings) -> type:
    with open_instance(settings) as instance:
        assert isinstance(instance, DagsterInstance)
        return type(instance.event_log_storage)


def test_a_tested_dagster_keeps_its_events_in_our_storage(tmp_path: Path) -> None:
    assert storage(Settings(cdr_data_dir=tmp_path)) is EventLog


def test_another_dagster_keeps_them_in_its_own_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cdr_data_dir=tmp_path)
    before = yaml.safe_load((use_dagster_home(settings) / "dagster.yaml").read_text(encoding="utf-8"))
    monkeypatch.setattr(dagster, "__version__", "1.13.999")
    with pytest.warns(UserWarning, match=r"Dagster 1\.13\.999 .*install a tested version, or upgrade cdr_assets"):
        home = use_dagster_home(settings)
    after = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    assert after == {name: value for name, value in before.items() if name != "event_log_storage"}
    with pytest.warns(UserWarning, match="never tested|not tested|1.13.999"):
        assert storage(settings) is not EventLog
