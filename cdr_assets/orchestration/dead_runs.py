"""Ends runs whose process is gone. Dagster does not notice if the machine, the service or `cdr backfill` was killed.

Such a run would look alive for ever: the gap sensor would not ask for its hours, and it would keep one of the two
places for runs, so that after two of them no run would start any more. Runs that die while their code server lives are
ended by that server.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from cdr_assets.domain.files import open_private
from cdr_assets.orchestration.private import GRPC_INFO_TAG

#: The tag of runs that a terminal started, in the process of the command.
TERMINAL_TAG = "cdr/terminal"

#: The statuses of runs that keep a place.
IN_PROGRESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]

_TERMINALS = ".terminals.lock"


@contextmanager
def alive(home: Path) -> Iterator[None]:
    """Says, while the block runs, that a terminal's run may be alive. The operating system ends it with the process."""
    with open_private(home / _TERMINALS) as file:
        # Shared, because several terminals may run.
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def end_runs_of_service(instance: DagsterInstance) -> list[str]:
    """Ends the runs that a service before this one had started. Only the one process that serves the home may call it.

    Returns their IDs.
    """
    return _end(instance, [run for run in _in_progress(instance) if GRPC_INFO_TAG in run.tags])


def end_runs_of_terminals(instance: DagsterInstance, home: Path) -> list[str]:
    """Ends the runs of killed terminals, unless another terminal runs. Returns their IDs."""
    runs = [run for run in _in_progress(instance) if TERMINAL_TAG in run.tags]
    if not runs or not os.path.lexists(home / _TERMINALS):
        return []
    with open_private(home / _TERMINALS) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        return _end(instance, runs)


def _in_progress(instance: DagsterInstance) -> list[DagsterRun]:
    return list(instance.get_runs(RunsFilter(statuses=IN_PROGRESS)))


def _end(instance: DagsterInstance, runs: list[DagsterRun]) -> list[str]:
    for run in runs:
        instance.report_run_failed(run, "Its process was killed; the gap sensor asks for the hours that are missing.")
    return [run.run_id for run in runs]
