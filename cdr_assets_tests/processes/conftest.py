"""A data folder that several processes share, a sandbox to fetch from, and programs that read the published copy."""

import datetime as dt
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from cdr_assets.domain.schema import CHILDREN
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.balance import find_wrong, find_wrong_children
from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, record, share_parsed
from cdr_assets_tests.tables import digests

ONE_HOUR = dt.timedelta(hours=1)


def hours_of_calls(hours: int, calls_an_hour: int = 3, start: dt.datetime = HOUR) -> ListedCalls:
    calls = ListedCalls()
    for n in range(hours):
        for m in range(calls_an_hour):
            calls.add(record(f"{n}-{m}", start + n * ONE_HOUR + dt.timedelta(minutes=5 * m)))
    return calls


def environment_for(settings: Settings, home: Path | None = None) -> dict[str, str]:
    """The environment for a process with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALOTECH_", "CDR_"))}
    return kept | {
        "ALOTECH_BASE_URL": settings.base_url,
        "ALOTECH_APP_TOKEN": settings.token,
        "ALOTECH_REQUESTS_PER_SECOND": "0",
        "CDR_START": f"{settings.cdr_start:%Y-%m-%d %H:%M}",
        "CDR_DATA_DIR": str(share_parsed(settings.cdr_data_dir)),
        "CDR_WAREHOUSE": str(settings.warehouse_path),
        "CDR_PUBLISHED": str(settings.published_path),
        "DAGSTER_HOME": str(home or settings.cdr_data_dir / "dagster"),
    }


def start_backfill(settings: Settings, start: dt.datetime, hours: int) -> "subprocess.Popen[str]":
    """Starts `cdr backfill` over the hours in its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "cdr_assets.cli.commands", *backfill_of(start, hours)],
        env=environment_for(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def backfill_of(start: dt.datetime, hours: int) -> list[str]:
    return ["backfill", *(f"{moment:%Y-%m-%d %H:%M}" for moment in (start, start + hours * ONE_HOUR))]


# A server process imports everything once and forks, so that a command that will be killed starts at once.
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["cdr_assets_tests.processes.warm"])


@dataclass
class Machine:
    """A data folder on which `cdr backfill` runs any number of times. `told` is the output of the last run.

    `output` is the file for the output, by default next to the data folder.
    """

    settings: Settings
    output: Path | None = None
    told: str = ""

    def backfill(
        self,
        start: dt.datetime,
        hours: int,
        *,
        kill_after: float | None = None,
        file_size: int | None = None,
    ) -> int:
        """Runs it, kills it after this many seconds, and returns the exit code, which is -9 if it was killed."""
        return self.run(*backfill_of(start, hours), kill_after=kill_after, file_size=file_size)

    def run(self, *args: str, kill_after: float | None = None, file_size: int | None = None) -> int:
        """Runs any command of `cdr` in the same way."""
        process = self.start(*args, file_size=file_size)
        process.join(kill_after)
        if process.is_alive() and process.pid is not None:
            # Kill the whole process group, as a power cut would. In its first moment the process has no group yet.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        self.told = self._output.read_text(encoding="utf-8")
        assert process.exitcode is not None
        return process.exitcode

    def start(self, *args: str, file_size: int | None = None) -> ForkServerProcess:
        """Starts a command of `cdr` and returns its process. One machine runs one at a time."""
        from cdr_assets_tests.processes.warm import cdr

        self._output.parent.mkdir(parents=True, exist_ok=True)
        process = _WARM.Process(target=cdr, args=(args, environment_for(self.settings), self._output, file_size))
        process.start()
        return process

    @property
    def _output(self) -> Path:
        return self.output or self.settings.cdr_data_dir.with_name("told")

    def problems(self) -> list[str]:
        """The lines in which the last backfill reported problems."""
        assert "Traceback" not in self.told, self.told
        return [line.removeprefix("cdr: ") for line in self.told.splitlines() if line.startswith("cdr: ")]

    def half_hours(self) -> list[object]:
        """Hours in the warehouse whose counts do not balance. There are none, unless a transaction was written in
        part."""
        with Warehouse(self.settings.warehouse_path).connect("test") as connection:
            wrong = [*find_wrong(connection, None), *(find_wrong_children(connection, name, None) for name in CHILDREN)]
        return [each for rows in wrong for each in rows]

    def digests(self) -> dict[str, tuple[int, str]]:
        """A hash of each published table's sorted rows, without the times and run IDs of loads."""
        return digests(self.settings.published_path, "loaded_at", "fetched_at", "run_id", "cdr.loads")


def start_multiprocess(
    settings: Settings, start: dt.datetime, hours: int, home: Path, *stages: str
) -> "subprocess.Popen[str]":
    """Starts a run with a process for each step, of all or the named steps, in an instance without dagster.yaml."""
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "cdr_assets_tests.processes.multiprocess", f"{start}", f"{hours}", *stages],
        env=environment_for(settings, home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_success(process: "subprocess.Popen[str]") -> None:
    out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err[-4000:]}"


@dataclass
class Read:
    """A reader's counts: queries answered, queries that failed, and queries that saw two states at once."""

    reads: int = 0
    failed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)


@contextmanager
def reading(published: Path, pause: float = 0.05) -> Iterator[Read]:
    """Runs a process that queries the copy in a loop while the block runs. The counts are set when the block ends.

    `pause` is how many seconds it waits after each query.

    They stay at zero if nothing was published in the meantime.
    """
    met = Read()
    with subprocess.Popen(
        [sys.executable, "-m", "cdr_assets_tests.processes.reader", str(published), str(pause)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield met
        finally:
            told, _ = process.communicate()
    if told:
        vars(met).update(json.loads(told))


@contextmanager
def changing(calls: ListedCalls, keys: list[str]) -> Iterator[None]:
    """Gives the vendor's calls new tags and hold times in a loop while the block runs."""
    ended = threading.Event()

    def change() -> None:
        n = 0
        while not ended.wait(0.2):
            n += 1
            for key in keys:
                calls.edit(key, call_tags=[f"tag {n}"], holdduration=n)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
