"""The examples of docs/extending.md do what the document says. They are read from it, so that the two cannot differ."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from dagster import AssetKey, Definitions

from cdr_assets.domain.project import PROJECT
from cdr_assets.orchestration.keys import OWN_MARTS_CHECK, PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record

BLOCKS = re.findall(
    r"```\w+\n(.*?)```", (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
FILES = {
    named[1]: block for block in BLOCKS if (named := re.match(r"(?:#|--) (\S+\.(?:sql|yml|py|yaml|toml))\n", block))
}
QUERIES = [block for block in BLOCKS if block.startswith("SELECT")]
HOUR_KEY = HOUR.strftime("%Y-%m-%d-%H:%M")
MODULES = ("my_location", "my_checks")


@pytest.fixture
def folder(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with all files of the document, in which the settings are the pipeline's."""
    folder = tmp_path / "user"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    settings = pipeline.settings
    settings.cdr_own_marts = folder / "own_marts"
    environment = {
        "ALOTECH_BASE_URL": settings.base_url,
        "ALOTECH_APP_TOKEN": TOKEN,
        "CDR_DATA_DIR": str(settings.cdr_data_dir),
        "CDR_OWN_MARTS": str(settings.cdr_own_marts),
        "CDR_START": "2026-03-01",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def merged(folder: Path) -> Definitions:
    module = importlib.import_module("my_location")
    assert Path(str(module.__file__)).parent == folder
    return module.defs()


def test_the_document_has_these_examples() -> None:
    assert sorted(FILES) == [
        "my_checks.py",
        "my_location.py",
        "own_marts/busy_evenings.sql",
        "own_marts/calls_by_campaign.sql",
        "own_marts/evening_calls.sql",
        "own_marts/own.yml",
        "pyproject.toml",
        "workspace.yaml",
    ]
    assert len(QUERIES) == 1


@pytest.mark.usefixtures("folder")
def test_own_marts_and_a_field_of_extra_are_in_a_copy_that_clients_open(pipeline: Pipeline, calls: ListedCalls) -> None:
    evening = HOUR.replace(hour=18)
    calls.add(record("a", evening, campaign="spring"))
    calls.add(record("b", evening))
    run = pipeline.run(evening)
    assert run.success
    (check,) = (check for check in run.get_asset_check_evaluations() if check.check_name == OWN_MARTS_CHECK)
    assert check.asset_key == PUBLISHED_KEY
    assert check.passed, check.description
    for mart in ("evening_calls", "busy_evenings"):
        rows = pipeline.ask_published(f"SELECT local_date, queue_name, offered, abandoned FROM own.{mart}")
        assert rows == [(evening.date(), "Satış", 2, 0)]
    assert sorted(pipeline.ask_published("FROM own.calls_by_campaign"), key=repr) == [
        ("spring", 1, 60.0),
        (None, 1, 60.0),
    ]
    assert set(pipeline.ask_published(QUERIES[0])) == {("spring", 1), (None, 1)}
    assert pipeline.ask_published("SELECT table_name, name FROM cdr.unknown_fields") == [("calls", "campaign")]

    # Clients that we have ourselves open the copy directly.
    query = "SELECT count(*) FROM cdr.calls"
    with duckdb.connect(str(pipeline.settings.published_path), read_only=True) as connection:
        assert connection.sql(query).fetchall() == [(2,)]
        assert pl.read_database(query, connection).item() == 2
        assert connection.sql(query).pl().item() == 2


def test_an_own_check_runs_with_our_hours_after_they_are_published_and_an_own_asset_does_not(
    pipeline: Pipeline, calls: ListedCalls, merged: Definitions
) -> None:
    calls.add(record("a"))
    with_the_check = {
        job.name
        for job in merged.get_repository_def().get_all_jobs()
        if not job.name.startswith("__")
        and any(key.name == "abandoned_is_below_offered" for key in job.asset_layer.asset_graph.asset_check_keys)
    }
    assert with_the_check == {"hourly", "lookback"}
    run = merged.resolve_job_def("hourly").execute_in_process(instance=pipeline.instance, partition_key=HOUR_KEY)
    # There was no copy before this run: the check would have failed to open it.
    (check,) = (c for c in run.get_asset_check_evaluations() if c.check_name == "abandoned_is_below_offered")
    assert check.passed
    assert check.asset_key == AssetKey(["marts", "queue_daily"])
    assert "calls_of_day" not in {event.step_key for event in run.all_events}

    own = merged.resolve_job_def("own_daily").execute_in_process(
        instance=pipeline.instance, partition_key=f"{HOUR:%Y-%m-%d}"
    )
    (materialization,) = own.get_asset_materialization_events()
    assert materialization.materialization.metadata["offered"].value == 1
    assert merged.resolve_schedule_def("own_daily_schedule").execution_timezone == pipeline.settings.alotech_timezone


def test_dagster_loads_the_workspace(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "--workspace", "workspace.yaml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location cdr_assets" in done.stderr
