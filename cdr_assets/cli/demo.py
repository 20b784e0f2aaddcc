"""`cdr demo` and `cdr dev`: run the pipeline against a local sandbox, for users who have no token yet.

With a tenant in the settings, `cdr dev` runs against the tenant. The sandbox itself is in `cdr_assets.sandbox`.
"""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import polars as pl

from cdr_assets.cli.console import print_table, say
from cdr_assets.cli.progress import run_backfill
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.settings import Settings, SettingsError, ask_from, read_settings

_DEMO_DAYS = 3
_DEMO_AGENTS = 12


def run_demo() -> None:
    """Backfills the last three whole days from a sandbox, then prints its queues and agents."""
    before = read_settings()
    if before.alotech_tenant or before.alotech_base_url:
        os.environ.update(apart_from(before))
    with _sandbox():
        finish = dt.datetime.combine(dt.datetime.now(before.zone), dt.time())
        start = finish - dt.timedelta(days=_DEMO_DAYS)
        if before.is_start_set:
            os.environ["CDR_START"] = f"{min(before.cdr_start, start):%Y-%m-%d %H:%M}"
        settings = read_settings()
        hours, seconds = run_backfill(settings, start, finish)
    _show(settings, start, finish, hours, seconds)


def apart_from(tenant: Settings) -> dict[str, str]:
    """Environment variables that put a demo's files in a folder of their own, away from the tenant's warehouse.

    They set every path, because for an unset one the value in .env would count.
    """
    folder = tenant.cdr_data_dir / "demo"
    return {
        "CDR_DATA_DIR": str(folder),
        "CDR_WAREHOUSE": str(folder / "warehouse" / "warehouse.duckdb"),
        "CDR_PUBLISHED": str(folder / "published" / "callcentre.duckdb"),
    }


def run_dev(port: int, workspace: Path | None, *, has_sandbox: bool) -> None:
    """Runs Dagster's UI, daemon and schedules on 127.0.0.1 until it is interrupted or terminated.

    Raises SettingsError if the port is in use, and without a sandbox if no tenant is set.
    """
    from cdr_assets.orchestration.ui import listen

    # Check before starting anything: if `make dev` runs already, a second daemon would start the same runs again.
    listen(port).close()
    signal.signal(signal.SIGTERM, _end)
    # A process that a script starts in the background ignores SIGINT. Dagster's processes would inherit that, and then
    # ignore SIGTERM too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = read_settings()
    if settings.alotech_tenant or settings.alotech_base_url or not has_sandbox:
        settings.base_url  # noqa: B018  Raises if there is no tenant.
        settings.token  # noqa: B018  Raises now if there is no token; otherwise every run would fail.
        _serve(settings, workspace, port)
    else:
        say("ALOTECH_TENANT is not set: using the sandbox, a generated call centre.")
        with _sandbox():
            _serve(read_settings(), workspace, port)


def _end(*_: object) -> NoReturn:
    """Exits with an exception, so that the `finally` blocks end the child processes. SIGTERM alone would skip them."""
    sys.exit(128 + signal.SIGTERM)


def _serve(settings: Settings, workspace: Path | None, port: int) -> None:
    from cdr_assets.orchestration.ui import serve

    now = dt.datetime.now(settings.zone)
    ask_from(settings, dt.datetime.combine(now.date(), dt.time()))
    older = "" if settings.is_start_set else "; `cdr backfill` fetches older hours, or set CDR_START to the first"
    say(f"Dagster at http://127.0.0.1:{port}, with the hours since {settings.cdr_start:%Y-%m-%d %H:%M}{older}")
    with suppress(KeyboardInterrupt):
        serve(settings, workspace or PROJECT / "workspace.yaml", port)


@contextmanager
def _sandbox() -> Iterator[None]:
    """Runs a sandbox in its own process while the block runs, and sets the environment to use it."""
    command = [sys.executable, "-m", "cdr_assets.cli.commands", "sandbox", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        told = process.stdout.readline().split()
        if "at" not in told:
            raise SettingsError("the sandbox did not start; run `cdr sandbox` to see why")
        os.environ.update(
            ALOTECH_BASE_URL=told[told.index("at") + 1],
            ALOTECH_APP_TOKEN=told[told.index("(token:") + 1].rstrip(");"),
            # Do not use the tenant of .env: the warehouse stores whose calls it holds, and these are generated.
            ALOTECH_TENANT="sandbox",
            # The limit protects the vendor; the sandbox needs none.
            ALOTECH_REQUESTS_PER_SECOND="0",
        )
        yield
    finally:
        process.terminate()
        process.wait()


def _show(settings: Settings, start: dt.datetime, finish: dt.datetime, hours: int, seconds: float) -> None:
    from cdr_assets.publishing.reading import open_published
    from cdr_assets.report import read_figures

    with open_published(settings.published_path) as connection:
        figures = read_figures(connection, start.date(), finish.date())
        counted = connection.execute(
            "SELECT count(*) FROM cdr.calls WHERE calldate >= ? AND calldate < ?", [start, finish]
        ).fetchone()
    queues = figures.queues.select(
        "queue_name", "offered", "answered", "abandoned",
        (100 * pl.col("service_level")).round(1).alias("service level %"),
        pl.col("asa_seconds").round(1).alias("speed of answer s"),
    )  # fmt: skip
    agents = figures.agents.head(_DEMO_AGENTS).select(
        "agent_username", "answered", "missed", "outbound", (pl.col("talk_seconds") / 60).round(1).alias("talk min")
    )
    for title, table in (("Queues", queues), ("Agents", agents)):
        print_table(table.columns, table.rows(), f"{title}, {start:%Y-%m-%d} to {finish - dt.timedelta(1):%Y-%m-%d}")
    calls = counted[0] if counted else 0
    say(
        f"{calls:,} calls of {hours} hours in {seconds:.1f} s: {calls / seconds:,.0f} calls a second, "
        "from fetching to the published copy."
    )
    # As it was called: .venv/bin/cdr in a checkout, cdr where it is installed.
    cdr = sys.argv[0] if sys.argv[0].endswith("cdr") else "cdr"
    say(
        f"Next: `{cdr} dev` opens the Dagster UI on http://127.0.0.1:3000 with these runs; "
        f'`{cdr} query "SELECT * FROM marts.queue_hourly LIMIT 20"` queries the published copy '
        f"({settings.published_path}); `{cdr} report` makes an HTML page of it."
    )
