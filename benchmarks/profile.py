"""Profiles a day's backfill: how many seconds the main thread spends in each part. Each second is counted once.

python -m benchmarks.profile [--calls heavy] [--hours 24]
"""

import datetime as dt
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pyinstrument import Profiler
from pyinstrument.frame import Frame
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import described, served
from benchmarks.calls import START, Weight
from benchmarks.contenders.ours import backfill, configure
from benchmarks.server import Calls

# The outermost function of each part, if it is in one of these places. All other time is Dagster's, or our code's
# between the parts.
_PLACES = ("cdr_assets", "dagster/_core/instance")
_PARTS = {
    "build_defs": "start-up: definitions, the parsed dbt project",
    "open_instance": "start-up: Dagster's databases",
    "fetch_all": "fetch: waiting for pages",
    "pages_frame": "fetch: compressing pages",
    "replace_pages": "write: pages",
    "read_pages_of": "parse: stored pages",
    # Another thread types the next pages while the main thread writes. If that is slower, the main thread waits here.
    "finished": "parse: waiting for tables, counting them",
    "load_hours": "write: calls and their arrays",
    "opened": "write: opening and closing the warehouse",
    "_log_asset_planned_events": "hours planned and reported to Dagster",
    "report": "hours planned and reported to Dagster",
    "build": "dbt: marts and their tests",
    "find_wrong": "checks",
    "find_wrong_children": "checks",
    "publish": "publish",
}


def parts(frame: Frame) -> Iterator[tuple[str, float]]:
    if frame.function in _PARTS and any(place in (frame.file_path or "") for place in _PLACES):
        yield _PARTS[frame.function], frame.time
        return
    between = frame.time - sum(child.time for child in frame.children)
    yield "Dagster, and our code between the parts", between
    for child in frame.children:
        yield from parts(child)


def main(
    calls: Calls = Weight.HEAVY, hours: Annotated[int, typer.Option(help="Length of the backfill in hours.")] = 24
) -> None:
    finish = START + dt.timedelta(hours=hours)
    with tempfile.TemporaryDirectory(prefix="profile-") as folder, served(calls, START, hours) as (urls, truth):
        configure(urls[0], START, Path(folder) / "cdr.duckdb")
        subprocess.run([sys.executable, "-c", "from benchmarks.contenders.ours import *; parse_project()"], check=True)
        began = time.perf_counter()
        import cdr_assets.definitions
        import cdr_assets.orchestration.runs  # noqa: F401

        imports = time.perf_counter() - began
        profiler = Profiler(interval=0.002)
        profiler.start()
        try:
            backfill(START, finish)
        except SystemExit:
            pass
        finally:
            session = profiler.stop()
        root = session.root_frame(trim_stem=False)
        assert root is not None
        seconds = {"start-up: imports": imports}
        for part, taken in parts(root):
            seconds[part] = seconds.get(part, 0) + taken
    table = Table(title=f"{hours} hours, {described(calls, truth)}", title_justify="left")
    table.add_column("part")
    for column in ("s", "%"):
        table.add_column(column, justify="right")
    whole = sum(seconds.values())
    for part, taken in sorted(seconds.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{taken:.2f}", f"{100 * taken / whole:.0f}")
    table.add_row("whole", f"{whole:.2f}", "100")
    Console().print(table)


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    typer.run(main)
