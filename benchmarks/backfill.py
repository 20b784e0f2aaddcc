"""Compares this pipeline with other ways to load the same hours of calls from the same server into tables.

    python -m benchmarks.backfill [--calls heavy] [--hours 24 ...] [--latency-ms 0 ...] [--rounds 3] [--only floor ...]

Every contender runs in its own process and starts with an empty database. Each round runs all contenders, so that a
busy moment of the machine affects them all. After each run the loaded rows, keys, durations and details are compared
with the server's. Ratios are ratios of medians. The contenders are in `benchmarks.contenders`.
"""

import datetime as dt
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import duckdb
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.calls import START, Weight
from benchmarks.server import Calls
from cdr_assets.domain.schema import ARRAYS

# The names of the tables that contenders fill. CONTENDERS adds the module and its extra argument.
_OURS = {"calls": "cdr.calls"} | {name: f"cdr.{name}" for name in ("call_history", "csat_answers", "call_tags")}
_PLAIN = {name: name for name in ("calls", "call_history", "csat_answers", "call_tags")}
_DLT = {"calls": "records.calls"} | {
    name: f"records.calls__{name}" for name in ("call_history", "csat_answers", "call_tags")
}
CONTENDERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "floor": ("floor", "", _PLAIN),
    "cdr_assets, tables": ("ours", "tables", _OURS),
    "cdr_assets, whole": ("ours", "", _OURS),
    "script with pandas, tuned": ("pandas_script", "tuned", _PLAIN),
    "script with pandas": ("pandas_script", "", _PLAIN),
    "dlt with Arrow tables": ("dlt_tables", "arrow", _DLT),
    "dlt, tuned": ("dlt_tables", "tuned", _DLT),
    "dlt as it comes": ("dlt_tables", "", _DLT),
}

# A pipe has no width; 120 columns cut nothing off.
console = Console(width=None if Console().is_terminal else 120)


@dataclass(frozen=True)
class Measured:
    """One run: elapsed seconds, CPU seconds, and peak memory of its largest process in MB."""

    wall: float
    cpu: float
    memory: float


@contextmanager
def served(
    calls: Weight, start: dt.datetime, hours: int, latencies: Sequence[int] = (0,)
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Runs a server while the block runs. Yields its URL for each latency, and the rows and keys of a correct load."""
    options = [f"--calls={calls}", f"--start={start}", f"--hours={hours}", *(f"--latency-ms={n}" for n in latencies)]
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        urls = [server.stdout.readline().strip() for _ in latencies]
        yield urls, msgspec.json.decode(server.stdout.readline())
    finally:
        server.kill()
        server.wait()


def measured(*command: str) -> Measured:
    """Runs a Python module with its arguments in its own process. Raises RuntimeError with its output if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed: {output.read()[-2000:]}")
    return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def run(name: str, url: str, finish: dt.datetime, truth: dict[str, Any]) -> Measured:
    """Runs a contender. Raises RuntimeError if it fails or loads anything else than `truth`."""
    module, argument, tables = CONTENDERS[name]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        database = Path(folder) / "calls.duckdb"
        command = [f"benchmarks.contenders.{module}", url, f"{START}", f"{finish}", f"{database}"]
        if module == "ours":
            measured(*command, "parse")
        taken = measured(*command, *filter(None, [argument]))
        _check(name, database, tables, truth)
    return taken


def _check(name: str, database: Path, tables: dict[str, str], truth: dict[str, Any]) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{database}' AS loaded (READ_ONLY)")
        connection.execute("USE loaded")

        def value(sql: str) -> Any:
            return (connection.execute(sql).fetchone() or (None,))[0]

        keys = connection.execute(f"SELECT key FROM {tables['calls']} ORDER BY key").fetchall()
        detail = "extra ->> 'detail'" if tables is _OURS else "detail"
        loaded = {
            "rows": {table: value(f"SELECT count(*) FROM {stored}") for table, stored in tables.items()},
            "keys": hashlib.md5("".join(key for (key,) in keys).encode()).hexdigest(),
            # A tool that guesses types keeps numbers that are written as texts as texts.
            "seconds": value(f"SELECT sum(TRY_CAST(duration AS BIGINT)) FROM {tables['calls']}"),
            # Light calls have no details; then some contenders have no such column.
            "characters": value(f"SELECT sum(length({detail})) FROM {tables['call_history']}")
            if truth["characters"]
            else 0,
        }
    expected = {fact: truth[fact] for fact in loaded}
    if loaded != expected:
        raise RuntimeError(f"{name} loaded {loaded}, but the server holds {expected}")


def main(
    calls: Calls = Weight.HEAVY,
    hours: Annotated[list[int], typer.Option(help="Lengths of the backfill in hours.")] = [24, 168],  # noqa: B006
    latency_ms: Annotated[list[int], typer.Option(help="The server waits this long.")] = [0, 50],  # noqa: B006
    rounds: int = 3,
    only: Annotated[list[str] | None, typer.Option(help="Run these contenders only.")] = None,
) -> None:
    names = only or list(CONTENDERS)
    for length in hours:
        finish = START + dt.timedelta(hours=length)
        with served(calls, START, length, latency_ms) as (urls, truth):
            for latency, url in zip(latency_ms, urls, strict=True):
                runs: dict[str, list[Measured]] = {name: [] for name in names}
                for number in range(rounds):
                    for name in names:
                        runs[name].append(run(name, url, finish, truth))
                        last = runs[name][-1]
                        done = f"round {number + 1}, {name}: {last.wall:.1f} s, {last.cpu:.1f} s of CPU"
                        console.print(done, style="dim", highlight=False)
                title = f"{length} hours, latency {latency} ms, {described(calls, truth)}"
                _print(title, truth["rows"]["calls"], runs)


def described(calls: Weight, truth: dict[str, Any]) -> str:
    """The number of calls and how heavy they are, for the title of a table."""
    rows = truth["rows"]
    events, answers, tags = (rows[name] / rows["calls"] for name in ARRAYS)
    return (
        f"{rows['calls']:,} {calls} calls ({truth['bytes'] / 1000:.1f} kB, {events:.1f} events, {answers:.2f} answers, "
        f"{tags:.2f} tags each)"
    )


def _print(title: str, calls: int, measured_by_name: dict[str, list[Measured]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("", "best", "median s", "CPU s", "peak MB", "calls a second", "of the floor", "of ours, tables"):
        table.add_column(column, justify="right" if column else "left")
    walls = {name: median(run.wall for run in runs) for name, runs in measured_by_name.items()}
    floor, ours = walls.get("floor"), walls.get("cdr_assets, tables")
    for name, runs in measured_by_name.items():
        table.add_row(
            name,
            f"{min(run.wall for run in runs):.1f}",
            f"{walls[name]:.1f}",
            f"{median(run.cpu for run in runs):.1f}",
            f"{max(run.memory for run in runs):.0f}",
            f"{calls / walls[name]:,.0f}",
            f"{walls[name] / floor:.2f}" if floor else "",
            f"{walls[name] / ours:.2f}" if ours else "",
        )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
