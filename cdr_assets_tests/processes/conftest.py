"""A folder that several processes share, the sandbox they fetch from, and readers of what they publish."""

import datetime as dt
import hashlib
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
from pathlib import Path

from cdr_assets.domain.schema import CHILDREN
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.balance import find_wrong, find_wrong_children
from cdr_assets.publishing.reading import open_published
from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, record, share_parsed

ONE_HOUR = dt.timedelta(hours=1)


def hours_of_calls(hours: int, calls_an_hour: int = 3, start: dt.datetime = HOUR) -> ListedCalls:
    calls = ListedCalls()
    for n in range(hours):
        for m in range(calls_an_hour):
            calls.add(record(f"{n}-{m}", start + n * ONE_HOUR + dt.timedelta(minutes=5 * m)))
    return calls


def environment_for(settings: Settings, home: Path | None = None) -> dict[str, str]:
    """The environment of a process that is to have these settings."""
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
    """`cdr backfill` over the hours, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cdr_assets.cli.commands", *_backfill(start, hours)],
        env=environment_for(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _backfill(start: dt.datetime, hours: int) -> list[str]:
    return ["backfill", *(f"{moment:%Y-%m-%d %H:%M}" for moment in (start, start + hours * ONE_HOUR))]


# A server that has the imports behind it and forks: a command that is to be killed starts in no time.
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["cdr_assets_tests.processes.warm"])


@dataclass
class Machine:
    """A data folder, and `cdr backfill` on it as often as one likes. `told` is what the last one printed.

    `output` is the file that it prints to, by default beside the data folder.
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
        """Runs it, kills it if it takes longer than so many seconds, and returns the exit code, -9 if it was killed."""
        from cdr_assets_tests.processes.warm import cdr

        output = self.output or self.settings.cdr_data_dir.with_name("told")
        output.parent.mkdir(parents=True, exist_ok=True)
        process = _WARM.Process(
            target=cdr, args=(_backfill(start, hours), environment_for(self.settings), output, file_size)
        )
        process.start()
        process.join(kill_after)
        if process.is_alive() and process.pid is not None:
            # The whole group, as a power cut would; it is none yet in its first moment.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        self.told = output.read_text(encoding="utf-8")
        assert process.exitcode is not None
        return process.exitcode

    def problems(self) -> list[str]:
        """The lines in which the last backfill told what went wrong."""
        assert "Traceback" not in self.told, self.told
        return [line.removeprefix("cdr: ") for line in self.told.splitlines() if line.startswith("cdr: ")]

    def half_hours(self) -> list[object]:
        """Hours of the warehouse that do not balance: there is none unless a transaction was torn."""
        with Warehouse(self.settings.warehouse_path).connect("test") as connection:
            wrong = [*find_wrong(connection, None), *(find_wrong_children(connection, name, None) for name in CHILDREN)]
        return [each for rows in wrong for each in rows]

    def digests(self) -> dict[str, str]:
        """A hash of each published table, ordered, without the times and names of loads."""
        rows = "SELECT COLUMNS(c -> c NOT IN ('loaded_at', 'fetched_at', 'run_id')) FROM {} ORDER BY ALL"
        with open_published(self.settings.published_path) as connection:
            tables = connection.execute(
                "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
                "WHERE database_name = 'published' AND table_name <> 'loads' ORDER BY ALL"
            ).fetchall()
            return {
                table: hashlib.sha256(repr(connection.execute(rows.format(table)).fetchall()).encode()).hexdigest()
                for (table,) in tables
            }


def start_multiprocess(
    settings: Settings, start: dt.datetime, hours: int, home: Path, *stages: str
) -> "subprocess.Popen[str]":
    """A run with a process for each step, of all stages or the named ones, in an instance without dagster.yaml."""
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
    """What a reader met: queries answered, queries that failed, and queries that saw two states at once."""

    reads: int = 0
    failed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)


@contextmanager
def reading(published: Path) -> Iterator[Read]:
    """A process that queries the copy in a loop while the block runs; the figures are there when it ends.

    They stay at zero if nothing was published meanwhile.
    """
    met = Read()
    with subprocess.Popen(
        [sys.executable, "-m", "cdr_assets_tests.processes.reader", str(published)],
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
    """The vendor's calls get a new tag and hold time again and again while the block runs."""
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
