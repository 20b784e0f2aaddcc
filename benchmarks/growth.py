"""Measures a fresh hour, publishing and the analysts' questions as the warehouse grows from empty to millions of calls.

    python -m benchmarks.growth [--calls heavy] [--weeks 0 --weeks 3 ...] [--first-build]

A week of 2,000 calls an hour is loaded and its marts are built once. SQL then copies that week's rows in every table,
with earlier dates and other keys, to make older weeks. Then three fresh hours are run and measured. The first publishes
everything, because such a warehouse was never published. The second publishes only changes, into a copy of the
published file. The third, like all later ones, publishes them into the file that was published before the current one.
At last six hours are read again, in which nothing has changed.
"""

import datetime as dt
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import Measured, described, measured, served
from benchmarks.calls import Weight
from benchmarks.contenders.ours import configure
from benchmarks.server import Calls
from cdr_assets.publishing.reading import open_published
from cdr_assets.warehouse.place import open_as

# The week begins and ends at ten in the morning, so that the fresh hours after it are busy ones.
START = dt.datetime(2026, 3, 2, 10)
HOUR = dt.timedelta(hours=1)
WEEK = 168 * HOUR
LOOK_BACK = 6 * HOUR

_QUESTIONS = Path(__file__).parents[1] / "docs" / "questions"
# Tables with a row per queue, agent or hour, which every build makes again, and tables that are not about calls.
_NOT_REPEATED = (
    "dim_agents", "dim_queues", "dim_hours", "warehouse", "thresholds",
    "stale_hours", "unpublished_hours", "newly_published_hours", "published_copy",
)  # fmt: skip
_KEYS = ("key", "callid", "call_key", "first_call_key")

# A pipe has no width; 180 columns cut nothing off.
console = Console(width=None if Console().is_terminal else 180)


def repeat_week(connection: duckdb.DuckDBPyConnection, weeks: int) -> None:
    """Adds `weeks` older weeks to a warehouse that holds one week."""
    tables = connection.execute(
        """SELECT schema_name, table_name, list((column_name, data_type)) FROM duckdb_columns()
           JOIN duckdb_tables() USING (database_name, schema_name, table_name)
           WHERE database_name = current_database() AND table_name NOT IN (SELECT unnest(?)) GROUP BY ALL""",
        [list(_NOT_REPEATED)],
    ).fetchall()
    for schema, table, columns in tables:
        name = f'{schema}."{table}"'
        moved = [f'{column} - to_days(7 * week) AS "{column}"' for column, kind in columns if kind.startswith("TIME")]
        moved += [f'({column} - to_days(7 * week))::DATE AS "{column}"' for column, kind in columns if kind == "DATE"]
        moved += [f"{column} || '-' || week AS \"{column}\"" for column, _ in columns if column in _KEYS]
        if moved:
            connection.execute(
                f"""INSERT INTO {name} SELECT * EXCLUDE (week) REPLACE ({", ".join(moved)})
                    FROM (FROM {name}) CROSS JOIN (SELECT unnest(range(1, {weeks + 1})) AS week)"""
            )


def cdr(*arguments: str) -> Measured:
    """Runs `cdr` in its own process."""
    return measured("cdr_assets.cli.commands", *arguments)


def publishing_seconds() -> float:
    """Seconds of the publishing step of the newest run."""
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        [run] = instance.get_runs(limit=1)
        [stats] = instance.get_run_step_stats(run.run_id, ["published__cdr"])
        assert stats.start_time
        assert stats.end_time
        return stats.end_time - stats.start_time


def shown(run: Measured) -> list[str]:
    return [f"{run.wall:.1f}", f"{run.cpu:.1f}", f"{run.memory:,.0f}"]


def ask(published: Path) -> dict[str, float]:
    """Seconds of each question in docs/questions, the median of three runs."""
    seconds = {}
    for question in sorted(_QUESTIONS.glob("*.sql")):
        taken = []
        for _ in range(3):
            with open_published(published) as connection:
                began = time.perf_counter()
                connection.execute(question.read_text(encoding="utf-8")).fetchall()
                taken.append(time.perf_counter() - began)
        seconds[question.stem] = median(taken)
    return seconds


def main(
    calls: Calls = Weight.HEAVY,
    weeks: Annotated[list[int], typer.Option(help="Older weeks; 3 make a million calls.")] = [0, 2, 14, 30],  # noqa: B006
    first_build: Annotated[bool, typer.Option(help="Build all marts from nothing too, which takes minutes.")] = False,
) -> None:
    table = Table(title_justify="left")
    for column in (
        "calls before",
        "s",
        "CPU s",
        "peak MB",
        "publishing s",
        "by copying s",
        "all of it s",
        "peak MB",
        "look-back s",
        "CPU s",
        "warehouse MB",
        "copy MB",
        *(("first build s", "CPU s", "peak MB") if first_build else ()),
    ):
        table.add_column(column, justify="right")
    answered: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="growth-") as folder,
        served(calls, START, (WEEK + 3 * HOUR) // HOUR) as (urls, truth),
    ):
        database = Path(folder) / "cdr.duckdb"
        first, second, third, end = (START + WEEK + n * HOUR for n in range(4))

        def measure(before: str, *more: str) -> None:
            all_of_it = cdr("backfill", f"{first}", f"{second}")
            publishing_all = publishing_seconds()
            cdr("backfill", f"{second}", f"{third}")
            by_copying = publishing_seconds()
            hour = cdr("backfill", f"{third}", f"{end}")
            publishing = publishing_seconds()
            # The server signs the links anew; nothing else differs. An empty warehouse does not have these hours yet.
            look_back = ["", ""] if before == "none" else shown(cdr("backfill", f"{end - LOOK_BACK}", f"{end}"))[:2]
            sizes = [f"{path.stat().st_size / 1e6:,.0f}" for path in (database, Path(os.environ["CDR_PUBLISHED"]))]
            row = [f"{seconds:.1f}" for seconds in (publishing, by_copying, publishing_all)]
            peak = f"{all_of_it.memory:,.0f}"
            table.add_row(before, *shown(hour), *row, peak, *look_back, *sizes, *more)
            console.print(f"{before} calls: {', '.join(shown(hour))}", style="dim", highlight=False)
            answered[before] = ask(Path(os.environ["CDR_PUBLISHED"]))

        week = described(calls, truth)
        table.title = f"A fresh hour of a busy morning, source to published copy, after weeks of {week}"
        begins = START - max(weeks) * WEEK
        configure(urls[0], begins, database)
        measure("none", *(["", "", ""] if first_build else ()))
        for path in Path(folder).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        cdr("backfill", f"{START}", f"{first}")
        base = Path(folder) / "base"
        database.rename(base)
        for count in weeks:
            shutil.copyfile(base, database)
            connection = open_as("warehouse", database, "STORAGE_VERSION 'v1.5.0'")
            repeat_week(connection, count)
            connection.execute("DELETE FROM raw.published_copy")
            (number,) = connection.execute("SELECT count(*) FROM cdr.calls").fetchone() or (0,)
            connection.close()
            command = ("benchmarks.contenders.ours", urls[0], f"{begins}", f"{end}", f"{database}", "build")
            measure(f"{number:,}", *(shown(measured(*command)) if first_build else ()))
    console.print(table)
    questions = Table(title="Seconds of the questions", title_justify="left")
    questions.add_column("question")
    for before in answered:
        questions.add_column(before, justify="right")
    for question in next(iter(answered.values())):
        questions.add_row(question, *(f"{seconds[question]:.2f}" for seconds in answered.values()))
    console.print(questions)


if __name__ == "__main__":
    typer.run(main)
