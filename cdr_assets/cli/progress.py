"""Shows a backfill on the terminal: a progress bar, its warnings, and a line with its result.

The backfill itself is in `orchestration.runs`.
"""

import datetime as dt
import time
from collections.abc import Sequence

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cdr_assets.cli.console import complain, errors, say
from cdr_assets.domain.settings import Settings, ask_from

_WARNINGS_SHOWN = 20


def run_backfill(settings: Settings, start: dt.datetime, finish: dt.datetime) -> tuple[int, float]:
    """Runs a backfill and shows it; returns the number of published hours and the seconds.

    Exits with code 1 if any hour failed.
    """
    from cdr_assets.definitions import build_defs
    from cdr_assets.domain.protection import protect
    from cdr_assets.orchestration.runs import backfill
    from cdr_assets.publishing.old_names import take_over_old_names

    # Report a missing setting before a run is started that would fail.
    settings.require_tenant()
    protect(settings)
    # An installation of an older version has its warehouse under the old name.
    take_over_old_names(settings)
    if start < dt.datetime.now(settings.zone).replace(tzinfo=None):
        ask_from(settings, start)
    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("hours"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
    ) as bar:
        task = bar.add_task(f"{start:%Y-%m-%d %H:%M} to {finish:%Y-%m-%d %H:%M}", total=None)
        done = backfill(
            build_defs(settings),
            settings,
            start,
            finish,
            begin=lambda hours: bar.update(task, total=hours),
            progress=lambda hours: bar.advance(task, hours),
            warn=complain,
        )
    seconds = time.monotonic() - began
    for warning in done.warnings[:_WARNINGS_SHOWN]:
        complain(f"cdr: warning: {warning}")
    if len(done.warnings) > _WARNINGS_SHOWN:
        complain(f"cdr: {len(done.warnings) - _WARNINGS_SHOWN} more warnings; see the runs in the Dagster UI")
    say(f"{done.hours} hour{'' if done.hours == 1 else 's'} published in {seconds:.0f} s: {done}")
    tell(done.problems)
    return done.hours, seconds


def tell(problems: Sequence[str]) -> None:
    """Prints each problem in its own line, and exits with code 1 if there is any."""
    for problem in problems:
        complain(f"cdr: {problem}")
    if problems:
        raise typer.Exit(1)
