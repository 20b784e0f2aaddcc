"""Runs `cdr dev` against a sandbox: the web server, the daemon and their runs, each in its own process."""

import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from cdr_assets.domain.settings import Settings
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.sandbox.faults.base import Exchange
from cdr_assets.sandbox.faults.refusals import RefusedDate
from cdr_assets_tests.conftest import TOKEN, record, settings_for, share_parsed

CALLS_AN_HOUR = 3
_HOURS = 12
_PATIENCE_SECONDS = 240

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# No screen, no graphics card and no requests of the browser's own to the network.
_CHROMIUM_ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A site that points its name at this machine.
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]  # fmt: skip

_AUTOMATION = """{
    workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on RepositoryLocation {
        repositories {
            schedules { name scheduleState { id status } }
            sensors { name sensorState { id status } }
        }
    } ... on PythonError { message } } } } }
}"""


class RefusesAnHour(RefusedDate):
    """Refuses requests for the window in which the hour begins, until it is mended. Every answer takes `seconds`.

    While `holds_all` is set, no request is answered; while `holds_others` is set, only those for the refused hour are.
    """

    def __init__(self, hour: dt.datetime) -> None:
        super().__init__()
        self.refuse(hour)
        self.seconds = 0.0
        self.holds_all = self.holds_others = False

    def refuse(self, hour: dt.datetime) -> None:
        self._start = f"{hour:%Y-%m-%d %H:%M:%S}"
        self.mended = False

    def is_meant(self, exchange: Exchange) -> bool:
        time.sleep(self.seconds)
        asked = exchange.parameters
        is_refused = not self.mended and asked["startdate"] <= self._start < asked["finishdate"]
        while self.holds_all or (self.holds_others and not is_refused):
            time.sleep(0.05)
        return is_refused


@dataclass
class Dev:
    """A running `cdr dev`. `hours` are its partitions, which have all ended. The sandbox refuses the hour `refused`."""

    address: str
    settings: Settings
    hours: list[dt.datetime]
    refused: RefusesAnHour
    # The states that schedules and sensors had at the start. The fixture stops them afterwards.
    automation: dict[str, str]

    @property
    def keys(self) -> list[str]:
        return [f"{hour:%Y-%m-%d-%H:%M}" for hour in self.hours]

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60)
        told = answer.json()
        assert "errors" not in told, told["errors"]
        return told["data"]

    def wait_for(self, is_done: Callable[[], bool], what: str) -> None:
        _wait(is_done, what)

    def published(self) -> dict[dt.datetime, int]:
        """The number of calls of each hour in the published copy."""
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{self.settings.published_path}' AS published (READ_ONLY)")
            return dict(
                connection.execute(
                    "SELECT partition_hour, count(*) FROM published.cdr.calls GROUP BY ALL ORDER BY ALL"
                ).fetchall()
            )


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    # Relative to now, because the UI shows the last 90 days; local time of Europe/Istanbul, which has no clock changes.
    ended = dt.datetime.now(dt.UTC).astimezone(Settings().zone).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    hours = [ended - dt.timedelta(hours=n) for n in range(_HOURS, 0, -1)]
    calls = ListedCalls()
    for hour in hours:
        for n in range(CALLS_AN_HOUR):
            calls.add(record(f"{hour:%d-%H}-{n}", hour + dt.timedelta(minutes=10 * n)))
    refused = RefusesAnHour(hours[2])
    with Sandbox(calls, token=TOKEN, fault=refused) as sandbox:
        settings = settings_for(sandbox.base_url, folder / "data", cdr_start=hours[0])
        with _running(settings, folder / "log") as address:
            dev = Dev(address, settings, hours, refused, automation={})
            # Stop schedules and sensors, because they would run the tests' hours too.
            dev.automation = _stop_automation(dev)
            yield dev


@pytest.fixture
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if _CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=_CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1400, "height": 850})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def open_dialog(page: Any, dev: Dev) -> Any:
    """Opens the dialog that launches the job's hours, as in README.md: Jobs, hourly, "Materialize all…"."""
    page.goto(f"{dev.address}/locations/cdr_assets/jobs/hourly")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Partition selection").wait_for()
    return dialog


@contextmanager
def _running(settings: Settings, log: Path) -> Iterator[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ALOTECH_", "CDR_"))}
    environment |= {
        "ALOTECH_BASE_URL": settings.base_url,
        "ALOTECH_APP_TOKEN": settings.token,
        "ALOTECH_TIMEZONE": settings.alotech_timezone,
        "CDR_START": f"{settings.cdr_start:%Y-%m-%d %H:%M}",
        "CDR_DATA_DIR": str(share_parsed(settings.cdr_data_dir)),
        "CDR_WAREHOUSE": str(settings.warehouse_path),
        "CDR_PUBLISHED": str(settings.published_path),
        "DAGSTER_HOME": str(settings.cdr_data_dir / "dagster"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cdr_assets.cli.commands", "dev", "--port", str(port)],
            env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, f"cdr dev ended:\n{log.read_text(encoding='utf-8')[-4000:]}"
        try:
            return requests.get(f"{address}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        _wait(answers, "cdr dev to answer")
        yield address
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and everything it started, running runs too."""

    def is_gone() -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    for how, seconds in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 20.0)):
        if not is_gone():
            os.killpg(process.pid, how)
        deadline = time.monotonic() + seconds
        while not is_gone():
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        else:
            return


def _stop_automation(dev: Dev) -> dict[str, str]:
    """Stops all schedules and sensors; returns the state that each had."""
    [entry] = dev.ask(_AUTOMATION)["workspaceOrError"]["locationEntries"]
    [repository] = entry["locationOrLoadError"]["repositories"]
    states = {}
    for kind, stop in (("schedule", "stopRunningSchedule"), ("sensor", "stopSensor")):
        for each in repository[f"{kind}s"]:
            state = each[f"{kind}State"]
            states[each["name"]] = state["status"]
            stopped = dev.ask(f"mutation($id: String!) {{ {stop}(id: $id) {{ __typename }} }}", id=state["id"])
            assert not stopped[stop]["__typename"].endswith("Error"), stopped
    return states


def _wait(is_done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline, f"waited {_PATIENCE_SECONDS} s for {what}"
        time.sleep(0.5)
