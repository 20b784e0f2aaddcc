"""A run that waits for another says so in its log and in the terminal."""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from dagster import EventLogEntry

from cdr_assets.definitions import build_defs
from cdr_assets.orchestration.runs import backfill
from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import place
from cdr_assets_tests.conftest import HOUR, UP_TO_THE_CALLS, Pipeline, record

_HOLD = """
import sys
from uuid import uuid4
from pathlib import Path
from cdr_assets.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).connect("run of the test"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the warehouse's lock until its input is closed."""
    monkeypatch.setattr(place, "_SAY_EVERY_SECONDS", 0.05)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(pipeline.settings.warehouse_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def let_go(holder: subprocess.Popen[str]) -> None:
    if holder.stdin is not None:
        holder.stdin.close()


def test_a_wait_is_told_in_the_runs_log(pipeline: Pipeline, calls: ListedCalls, holder: subprocess.Popen[str]) -> None:
    calls.add(record("a"))
    told = f"waiting for the warehouse, held by run of the test (process {holder.pid}), for "

    def watch(entry: EventLogEntry) -> None:
        if entry.user_message.startswith(told) and not holder.stdin.closed:
            let_go(holder)

    run_id = str(uuid4())
    pipeline.instance.add_event_listener(run_id, watch)
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS, run_id=run_id).success
    logged = [entry.user_message for entry in pipeline.instance.all_logs(run_id)]
    assert any(message.startswith(told) for message in logged)


def test_a_wait_is_told_in_the_terminal(
    pipeline: Pipeline,
    calls: ListedCalls,
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    calls.add(record("a"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        let_go(holder)

    done = backfill(
        build_defs(pipeline.settings),
        pipeline.settings,
        HOUR,
        HOUR + dt.timedelta(hours=1),
        begin=lambda _: None,
        progress=lambda _: None,
        warn=warn,
    )
    assert (done.hours, done.problems) == (1, [])
    assert warnings[0].startswith(f"waiting for the warehouse, held by run of the test (process {holder.pid}), for ")
