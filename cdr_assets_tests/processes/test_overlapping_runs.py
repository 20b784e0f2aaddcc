"""Several runs at the same time, with both executors, while readers query: no run fails, no reader sees half a
change."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdr_assets.sandbox import Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, settings_for
from cdr_assets_tests.processes.conftest import (
    ONE_HOUR,
    await_success,
    changing,
    environment_for,
    hours_of_calls,
    reading,
    start_backfill,
    start_multiprocess,
)

# They have imported everything already, so that they create the databases at the same time.
_OPENS_DAGSTER = """
import dagster, dagster._core.storage.event_log.sqlite, dagster._core.storage.runs.sqlite
from cdr_assets.domain.settings import read_settings
from cdr_assets.orchestration.home import open_instance
print("ready", flush=True)
input()
with open_instance(read_settings()) as instance:
    instance.get_runs(limit=1)
"""


@pytest.mark.parametrize("stages", [["raw"], pytest.param(["raw", "cdr"], marks=pytest.mark.campaign)])
def test_runs_of_both_executors_overlap_with_a_reader(
    stages: list[str], make_pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    """The run with a process for each step writes the warehouse; each of its steps takes seconds to start."""
    calls = hours_of_calls(4)
    with Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url)
        settings = pipeline.settings
        with reading(settings.published_path, pause=0.25) as met, changing(calls, ["1-0", "2-0"]):
            processes = [
                start_backfill(settings, HOUR, 2),
                start_multiprocess(settings, HOUR + ONE_HOUR, 2, tmp_path / "home of dagster", *stages),
            ]
            assert pipeline.run(HOUR + ONE_HOUR, 3).success
            for process in processes:
                await_success(process)
        if "cdr" in stages:
            # What that run was the last to load.
            assert pipeline.run(HOUR + 3 * ONE_HOUR).success
    assert pipeline.ask_published("SELECT count(*), count(DISTINCT key) FROM cdr.calls") == [(12, 12)]
    assert pipeline.ask("SELECT count(*) FROM cdr.stale_hours") == [(0,)]
    assert met.reads > 0
    assert (met.failed, met.torn) == ([], [])


@pytest.mark.parametrize("number", [3, pytest.param(6, marks=pytest.mark.campaign)])
def test_processes_that_start_together_in_a_fresh_folder(number: int, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1/api/", tmp_path / "data")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPENS_DAGSTER],
            env=environment_for(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        await_success(process)


@pytest.mark.campaign
def test_six_overlapping_backfills_of_72_hours_with_readers(
    make_pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    calls = hours_of_calls(72, calls_an_hour=10)
    edited = [f"{hour}-{n}" for hour in range(72) for n in (1, 2)]
    look_backs = 0
    with Sandbox(calls, token=TOKEN, latency_ms=20) as sandbox:
        pipeline = make_pipeline(sandbox.base_url)
        settings = pipeline.settings
        with (
            reading(settings.published_path) as one,
            reading(settings.published_path) as other,
            changing(calls, edited),
        ):
            # Each run shares four hours with the next.
            processes = [start_backfill(settings, HOUR + 12 * n * ONE_HOUR, min(16, 72 - 12 * n)) for n in range(6)]
            # A process for each step, in an instance without dagster.yaml.
            processes.append(start_multiprocess(settings, HOUR, 24, tmp_path / "home of dagster"))
            while any(process.poll() is None for process in processes):
                assert pipeline.run(HOUR, 12).success
                look_backs += 1
            for process in processes:
                await_success(process)
    assert not (tmp_path / "home of dagster" / "dagster.yaml").exists()
    assert pipeline.ask_published("SELECT count(*), count(DISTINCT key) FROM cdr.calls") == [(720, 720)]
    assert pipeline.ask("SELECT count(*) FROM cdr.stale_hours") == [(0,)]
    for met in (one, other):
        print(f"{met.reads} reads, {len(met.failed)} failed, {len(met.torn)} torn, beside {7 + look_backs} runs")
        assert met.reads > 0
        assert (met.failed, met.torn) == ([], [])
