"""Runs whose process was killed are ended; runs that live are left alone."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from cdr_assets.orchestration.dead_runs import TERMINAL_TAG, alive, end_runs_of_service, end_runs_of_terminals
from cdr_assets.orchestration.private import GRPC_INFO_TAG

_LIVES = """
import sys
from pathlib import Path
from cdr_assets.orchestration.dead_runs import alive
with alive(Path(sys.argv[1])):
    print("ready", flush=True)
    input()
"""


@pytest.fixture
def runs(instance: DagsterInstance) -> dict[str, str]:
    """The IDs of runs in progress: of a service, of a terminal, and of a program of somebody else's."""
    tags = {"service": {GRPC_INFO_TAG: "{}"}, "terminal": {TERMINAL_TAG: "true"}, "foreign": {}}
    ids = {name: str(uuid4()) for name in tags}
    for name, run_id in ids.items():
        instance.add_run(DagsterRun("hourly", run_id=run_id, tags=tags[name], status=DagsterRunStatus.STARTED))
    return ids


def statuses(instance: DagsterInstance) -> dict[str, DagsterRunStatus]:
    return {run.run_id: run.status for run in instance.get_runs()}


def test_runs_of_a_killed_service_are_ended_when_the_next_one_starts(
    instance: DagsterInstance, runs: dict[str, str]
) -> None:
    assert end_runs_of_service(instance) == [runs["service"]]
    assert statuses(instance) == {
        runs["service"]: DagsterRunStatus.FAILURE,
        runs["terminal"]: DagsterRunStatus.STARTED,
        runs["foreign"]: DagsterRunStatus.STARTED,
    }


def test_the_run_of_a_killed_terminal_is_ended_once_no_terminal_runs(
    instance: DagsterInstance, runs: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LIVES, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as terminal:
        assert terminal.stdout
        terminal.stdout.readline()
        with alive(tmp_path):
            # Two terminals at a time.
            assert end_runs_of_terminals(instance, tmp_path) == []
        assert end_runs_of_terminals(instance, tmp_path) == []
        terminal.kill()
        terminal.wait()
        assert end_runs_of_terminals(instance, tmp_path) == [runs["terminal"]]
    assert statuses(instance)[runs["foreign"]] is DagsterRunStatus.STARTED
