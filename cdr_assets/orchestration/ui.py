"""Runs Dagster's UI, behind the guard, with its daemon and code servers: what `dagster dev` does without a guard.

`dagster dev` starts the web server in a process of its own and has no place for a guard. So the web server runs in this
process, and the rest as `dagster dev` runs it. What the guard refuses is in `guard`.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
import yaml
from dagster import DagsterInstance
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from filelock import Timeout

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock
from cdr_assets.domain.settings import Settings, SettingsError
from cdr_assets.orchestration.dead_runs import end_runs_of_service
from cdr_assets.orchestration.guard import guard
from cdr_assets.orchestration.home import dagster_home, open_instance
from cdr_assets.orchestration.private import (
    DAEMON_MODULE,
    ProxyServerManager,
    WorkspaceFileTarget,
    WorkspaceProcessContext,
    configure_loggers,
)

_HOST = "127.0.0.1"
_PATIENCE_SECONDS = 60
# The code location's errors, and no more: its processes log much about themselves.
_CODE_LOG_LEVEL = "warning"
_POLL_MILLISECONDS = 2000


def listen(port: int) -> socket.socket:
    """A socket that listens on this port of 127.0.0.1. Raises SettingsError if the port is in use."""
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise SettingsError(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}); if `make dev` runs already, open "
            f"http://{_HOST}:{port}, otherwise end the program that uses the port"
        ) from None


def serve(settings: Settings, workspace: Path, port: int) -> None:
    """Serves the UI of the workspace's code locations until SIGINT or SIGTERM, whose handlers it then calls.

    Raises OperatorError if the port is in use or the daemon ends.
    """
    # Dagster's processes then print a code location's error in a few lines.
    os.environ |= {"DAGSTER_IS_DEV_CLI": "1", "DAGSTER_verbose": ""}
    configure_loggers()
    with (
        open_instance(settings) as instance,
        _alone(settings, instance),
        # Code servers that the UI and the daemon share. "Reload" in the UI restarts the code behind the same address.
        ProxyServerManager(instance, WorkspaceFileTarget([str(workspace)]), _CODE_LOG_LEVEL) as code_servers,
        _workspace_of(code_servers) as shared,
        _daemon(shared) as daemon,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(shared)]), __version__) as context,
        listen(port) as listening,
    ):
        app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MILLISECONDS)
        # A page of another site must not show the UI in a frame, where it could have the operator click unawares.
        headers = [("X-Frame-Options", "SAMEORIGIN")]
        config = uvicorn.Config(
            guard(app), log_level="warning", headers=headers, timeout_graceful_shutdown=_PATIENCE_SECONDS
        )
        server = uvicorn.Server(config)
        threading.Thread(target=_stop_after, args=(daemon, server), daemon=True).start()
        server.run([listening])
    raise OperatorError(
        "Dagster's daemon ended, so no run would start: look at its last lines above, then start `cdr dev` again"
    )


@contextmanager
def _alone(settings: Settings, instance: DagsterInstance) -> Iterator[None]:
    """Raises OperatorError if another process serves the same home: two daemons would start every run twice.

    Otherwise nobody else is left who could have started runs, and those of a killed service are ended.
    """
    home = dagster_home(settings)
    serving = lock(home / ".serving.lock")
    try:
        serving.acquire(timeout=0)
    except Timeout:
        raise OperatorError(
            f"another `cdr dev` runs with {home}, perhaps as a service: use its UI, or end it first"
        ) from None
    try:
        end_runs_of_service(instance)
        yield
    finally:
        serving.release()


@contextmanager
def _workspace_of(code_servers: ProxyServerManager) -> Iterator[Path]:
    """A workspace.yaml that names the running code servers."""
    with TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace.yaml"
        workspace.write_text(
            yaml.safe_dump({"load_from": list(code_servers.get_code_server_specs())}), encoding="utf-8"
        )
        yield workspace


@contextmanager
def _daemon(workspace: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Dagster's daemon, which starts queued runs and judges schedules and sensors, in its own process."""
    process = subprocess.Popen([sys.executable, "-m", DAEMON_MODULE, "run", "--workspace", str(workspace)])
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop_after(daemon: "subprocess.Popen[bytes]", server: uvicorn.Server) -> None:
    daemon.wait()
    server.should_exit = True
