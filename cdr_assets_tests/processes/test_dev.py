"""`cdr dev` as a process: it refuses other sites' pages, ends with all its children, and says that a port is in use."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from cdr_assets_tests.conftest import share_parsed


@contextmanager
def dev(data_dir: Path, port: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs `cdr dev` with its own sandbox in a new process group, and kills the group after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cdr_assets.cli.commands", "dev", "--port", str(port), *options],
        env=os.environ | {"CDR_DATA_DIR": str(share_parsed(data_dir)), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if group_lives(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def group_lives(process: "subprocess.Popen[str]") -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def await_answer(port: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            if requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail("cdr dev does not answer")


def ends_whole(process: "subprocess.Popen[str]", how: signal.Signals = signal.SIGTERM) -> bool:
    """Sends the group's first process a signal; returns whether the whole group ends."""
    process.send_signal(how)
    return group_ends(process)


def group_ends(process: "subprocess.Popen[str]") -> bool:
    # Half a minute, and more on a busy machine.
    deadline = time.monotonic() + 240
    while group_lives(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not group_lives(process)


def test_a_terminated_dev_takes_dagster_and_the_sandbox_with_it(tmp_path: Path) -> None:
    port = free_port()
    with dev(tmp_path, port) as process:
        assert process.stdout is not None
        while "Dagster at" not in (line := process.stdout.readline()):
            assert line, "cdr dev ended"
        assert ends_whole(process)
        assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.campaign
def test_a_terminated_dev_that_serves_takes_all_with_it(tmp_path: Path) -> None:
    port = free_port()
    with dev(tmp_path, port) as process:
        await_answer(port)
        assert ends_whole(process)
        assert process.returncode == 128 + signal.SIGTERM


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A code location of its own, which loads sooner than ours."""
    workspace = tmp_path / "workspace.yaml"
    (tmp_path / "small.py").write_text(
        "import dagster\n\n@dagster.job\ndef small():\n    pass\n\ndefs = dagster.Definitions(jobs=[small])\n",
        encoding="utf-8",
    )
    workspace.write_text("load_from: [{python_file: small.py}]", encoding="utf-8")
    return workspace


LAUNCH = """mutation { launchRun(executionParams: {selector: {
    repositoryLocationName: "small.py", repositoryName: "__repository__", jobName: "small"
}}) { ... on LaunchRunSuccess { run { runId } } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"


def test_dev_refuses_the_pages_of_other_sites_and_runs_what_its_own_launch(tmp_path: Path, workspace: Path) -> None:
    port = free_port()
    ui = f"http://127.0.0.1:{port}"
    with dev(tmp_path / "data", port, "--workspace", str(workspace)) as process:
        await_answer(port)

        def ask(query: str) -> Any:
            return requests.post(f"{ui}/graphql", json={"query": query}, headers={"Origin": ui}, timeout=60).json()[
                "data"
            ]

        for address in (f"/graphql?query={quote(LAUNCH)}", f"/%67raphql?query={quote(LAUNCH)}"):
            assert requests.get(ui + address, timeout=60).status_code == 403
        for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            refused = requests.post(f"{ui}/graphql", json={"query": LAUNCH}, headers=foreign, timeout=60)
            assert (refused.status_code, refused.text.count("\n")) == (403, 1)
            with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port}/graphql", additional_headers=foreign):
                pass
        assert ask(RUNS)["runsOrError"]["results"] == []
        assert requests.get(ui, timeout=60).headers["X-Frame-Options"] == "SAMEORIGIN"

        run_id = ask(LAUNCH)["launchRun"]["run"]["runId"]
        deadline = time.monotonic() + 120
        while ask(RUNS)["runsOrError"]["results"] != [{"runId": run_id, "status": "SUCCESS"}]:
            assert time.monotonic() < deadline, "the run does not end"
            time.sleep(0.2)
        assert ends_whole(process, signal.SIGINT)
        assert process.returncode == 0


@pytest.mark.campaign
def test_a_run_that_was_killed_with_dev_is_ended_by_the_next(tmp_path: Path, workspace: Path) -> None:
    """Otherwise it would keep a place for runs for ever, as if it were alive."""
    small = tmp_path / "small.py"
    small.write_text(
        "import time\nimport dagster\n\n@dagster.op\ndef sleep():\n    time.sleep(600)\n\n"
        "@dagster.job\ndef small():\n    sleep()\n\ndefs = dagster.Definitions(jobs=[small])\n",
        encoding="utf-8",
    )

    def statuses(port: int) -> list[str]:
        asked = requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": RUNS}, timeout=60).json()["data"]
        return [run["status"] for run in asked["runsOrError"]["results"]]

    def await_status(port: int, status: str) -> None:
        deadline = time.monotonic() + 90
        while statuses(port) != [status]:
            assert time.monotonic() < deadline, statuses(port)
            time.sleep(0.5)

    port = free_port()
    with dev(tmp_path / "data", port, "--workspace", str(workspace)) as process:
        await_answer(port)
        requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": LAUNCH}, timeout=60)
        await_status(port, "STARTED")
        os.killpg(process.pid, signal.SIGKILL)
        assert group_ends(process)
    port = free_port()
    with dev(tmp_path / "data", port, "--workspace", str(workspace)):
        await_answer(port)
        await_status(port, "FAILURE")


@pytest.mark.campaign
def test_dev_ends_if_its_daemon_ends(tmp_path: Path, workspace: Path) -> None:
    port = free_port()
    with dev(tmp_path / "data", port, "--workspace", str(workspace)) as process:
        await_answer(port)
        daemon = ["pkill", "-KILL", "-g", str(process.pid), "-f", "dagster._daemon"]
        subprocess.run(daemon, check=True)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out.splitlines()[-1].startswith("cdr: Dagster's daemon ended, so no run would start: look at its last")
        assert group_ends(process)


def test_a_second_dev_says_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with dev(tmp_path, port) as process:
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == (
        f"cdr: port {port} cannot be used (Address already in use); if `make dev` runs already, open "
        f"http://127.0.0.1:{port}, otherwise end the program that uses the port\n"
    )
    # Nothing but what the test put there itself.
    assert {path.name for path in tmp_path.iterdir()} == {"dbt"}
