"""The files in `deploy/`: their commands exist and work as a user without rights, and are killed and started again."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from filelock import FileLock

from cdr_assets.domain.project import PROJECT
from cdr_assets.sandbox import Sandbox
from cdr_assets_tests.cli.command import cdr, outside
from cdr_assets_tests.conftest import TOKEN
from cdr_assets_tests.processes.conftest import hours_of_calls
from cdr_assets_tests.processes.test_dev import await_answer, dev, ends_whole, free_port, group_ends

DEPLOY = PROJECT / "deploy"
UNITS = [DEPLOY / "systemd" / "cdr.service", DEPLOY / "systemd" / "user" / "cdr.service"]
NOBODY = 54321


def unit(path: Path) -> dict[str, str]:
    # systemd reads $ and % itself, and lines may repeat.
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return dict(parser["Service"])


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def commands() -> dict[str, list[str]]:
    """By file, the command that it starts, without its folder."""
    found = {path.relative_to(DEPLOY).as_posix(): shlex.split(unit(path)["ExecStart"]) for path in UNITS}
    found["compose.yaml"] = compose()["services"]["cdr"]["command"]
    [line] = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("CMD ")]
    found["Dockerfile"] = yaml.safe_load(line.removeprefix("CMD "))
    return {name: [Path(command[0]).name, *command[1:]] for name, command in found.items()}


def test_all_start_the_guarded_ui_with_its_daemon_and_no_made_up_calls(tmp_path: Path) -> None:
    assert set(map(tuple, commands().values())) == {("cdr", "dev", "--no-sandbox")}
    refused = cdr(tmp_path / "data", "dev", "--no-sandbox")
    assert refused.returncode == 1
    assert refused.stderr.startswith("cdr: ALOTECH_TENANT is not set: write the tenant's name")
    assert not (tmp_path / "data" / "dagster").exists()


def test_the_container_has_no_rights_and_its_log_is_bounded() -> None:
    service = compose()["services"]["cdr"]
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "10001:10001")
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    # The UI has no login: the container must not publish its port, or listen on another address.
    assert (service["network_mode"], "ports" in service) == ("host", False)
    assert (DEPLOY / service["build"]["context"]).resolve() == PROJECT
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert f"USER {service['user']}" in lines
    for line in lines:
        if line.startswith("COPY "):
            assert (PROJECT / line.split()[1]).exists()


@pytest.mark.parametrize("path", UNITS, ids=["system", "user"])
def test_systemd_finds_nothing_wrong_with_the_units(path: Path, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    program, home = unit(path)["ExecStart"].split()[0], tmp_path / "home"
    installed = tmp_path / path.name
    # It also looks for the program.
    installed.write_text(path.read_text().replace(program, f"{Path(sys.executable).parent / 'cdr'}"))
    home.mkdir()
    verified = subprocess.run(
        ["systemd-analyze", *(["--user"] if path.parent.name == "user" else []), "verify", str(installed)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(home), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    # Complaints about other units of the machine name those.
    assert "cdr.service" not in verified.stdout + verified.stderr, verified.stderr


def test_a_second_daemon_of_a_home_is_refused(tmp_path: Path) -> None:
    """A service runs, and somebody starts `cdr dev` with another port: each run would be started twice."""
    (tmp_path / "data" / "dagster").mkdir(parents=True)
    with FileLock(tmp_path / "data" / "dagster" / ".serving.lock"), dev(tmp_path / "data", free_port()) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.splitlines()[-1].startswith("cdr: another `cdr dev` runs with")


@contextmanager
def service(folder: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Runs the system unit's command as systemd does: in its folder, as a user without rights, in its own group."""
    command = unit(UNITS[0])["ExecStart"].split()
    command[0] = f"{Path(sys.executable).parent / 'cdr'}"
    without_rights = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    with subprocess.Popen(
        [*without_rights, "--bounding-set=-all", "--inh-caps=-all", *command, "--port", str(port)],
        cwd=folder,
        env=outside() | {"HOME": "/", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if not group_ends_at_once(process):
                os.killpg(process.pid, signal.SIGKILL)


def group_ends_at_once(process: "subprocess.Popen[str]") -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.campaign
def test_a_service_without_rights_serves_is_killed_and_serves_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become a user without rights")
    folder = tmp_path_factory.mktemp("state")
    # Pytest's folders are closed to others.
    for parent in (folder, folder.parent):
        parent.chmod(0o711)
    port = free_port()
    with Sandbox(hours_of_calls(3), token=TOKEN) as sandbox:
        (folder / ".env").write_text(f"ALOTECH_BASE_URL={sandbox.base_url}\nALOTECH_APP_TOKEN={TOKEN}\n")
        (folder / ".env").chmod(0o600)
        for path in (folder, folder / ".env"):
            os.chown(path, NOBODY, NOBODY)
        with service(folder, port) as process:
            await_answer(port)
            # As systemd does: the whole group, or what is left of it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert group_ends(process)
        with service(folder, port) as process:
            await_answer(port)
            assert (
                requests.get(f"http://127.0.0.1:{port}/", headers={"Host": "x.example"}, timeout=60).status_code == 403
            )
            assert ends_whole(process)
            assert process.returncode == int(unit(UNITS[0])["SuccessExitStatus"])
    owners = {path.stat().st_uid for path in (folder / "data").rglob("*")}
    assert owners == {NOBODY}
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
