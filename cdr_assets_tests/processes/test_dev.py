"""`cdr dev` as a process: it ends with all its children, and a second one says that the port is in use."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cdr_assets_tests.conftest import share_parsed


@contextmanager
def dev(data_dir: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Runs `cdr dev` with its own sandbox in a new process group, and kills the group after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cdr_assets.cli.commands", "dev", "--port", str(port)],
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


def ends_whole(process: "subprocess.Popen[str]") -> bool:
    """Terminates the group's first process; returns whether the whole group ends within a minute."""
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 60
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
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.5)
        else:
            pytest.fail("cdr dev does not answer")
        assert ends_whole(process)
        assert process.returncode == 128 + signal.SIGTERM


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
