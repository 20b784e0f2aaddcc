"""Prints the overview of `cdr status`, for people or as JSON. What it holds is read in `status.overview`."""

import datetime as dt
import json

from rich.text import Text

from cdr_assets.cli.console import console, say
from cdr_assets.status.hours import State
from cdr_assets.status.map import MEANINGS, SIGNS, by_day, counts, spans
from cdr_assets.status.overview import Overview

_STYLES = {
    State.FINAL: "green",
    State.LOADED: "cyan",
    State.EMPTY: "blue",
    State.LATE: "bold white on red",
    State.FAILED: "bold red",
    State.MISSING: "yellow",
}

_CURES = {
    State.FAILED: "no reason is known; launch it again",
    State.LATE: "no run has asked for it: does Dagster's daemon run (`cdr dev`)?",
    State.MISSING: "nobody asked for it: `cdr backfill` fetches it, the schedules only if it is of the last 30 days",
}


def print_status(overview: Overview) -> None:
    """A map of a line a day, then what is wrong, then the facts."""
    if overview.hours:
        console.print(Text(" " * 11 + "".join(f"{hour:02}    " for hour in range(0, 24, 3)).rstrip()))
    for day, cells in by_day(overview.hours):
        line = Text(f"{day:%a %d %b} ")
        for cell in cells:
            line.append(SIGNS[cell.state] if cell else " ", _STYLES[cell.state] if cell else "").append(" ")
        line.rstrip()
        console.print(line)
    for state, number in counts(overview.hours).items():
        say(f" {number:>4} {state}: {MEANINGS[state]}", SIGNS[state], _STYLES[state])
    for state, cure in _CURES.items():
        for span, number, error in spans(overview.hours, state):
            say(f" {span}{f' ({number} hours)' if number > 1 else ''}: {error or cure}", state, _STYLES[state])
    if overview.newest and overview.behind is not None:
        say(f"newest hour: {overview.newest:%Y-%m-%d %H:%M}, ended {_length(overview.behind)} ago")
    else:
        say("newest hour: none is loaded")
    say(f"copy: published {overview.published_at:%Y-%m-%d %H:%M}")
    say(f"rejected records: {overview.rejected:,}")
    if overview.holder:
        say(f"warehouse: held by {overview.holder}; failures since the copy was published are not shown")
    elif overview.unseen:
        say(f"warehouse: {overview.unseen}; failures since the copy was published are not shown")
    else:
        say("warehouse: no run holds it")
    for folder, free in overview.free.items():
        say(f"disk: {free / 1e9:,.1f} GB free at {folder}")
    ticks = sorted(overview.next_ticks.items(), key=lambda tick: tick[1])
    say(f"next, if the daemon runs: {', '.join(f'{name} {_moment(at, overview.now)}' for name, at in ticks)}")


def print_json(overview: Overview) -> None:
    """The same facts in one line: times with their offset, hours as local starts."""
    facts = {
        "at": overview.now.isoformat(timespec="seconds"),
        "is_wrong": overview.is_wrong,
        "hours": [
            {
                "hour": hour.hour.isoformat(timespec="minutes"),
                "state": hour.state,
                "calls": hour.calls,
                "loaded_at": hour.loaded_at.isoformat(timespec="seconds") if hour.loaded_at else None,
                "error": hour.error,
            }
            for hour in overview.hours
        ],
        "counts": counts(overview.hours),
        "newest_hour": overview.newest.isoformat(timespec="minutes") if overview.newest else None,
        "behind_minutes": overview.behind // dt.timedelta(minutes=1) if overview.behind is not None else None,
        "published_at": overview.published_at.isoformat(timespec="seconds"),
        "rejected_records": overview.rejected,
        "warehouse_held_by": overview.holder,
        "warehouse_unseen": overview.unseen,
        "free_bytes": {str(folder): free for folder, free in overview.free.items()},
        "next_ticks": {name: at.isoformat(timespec="minutes") for name, at in overview.next_ticks.items()},
    }
    say(json.dumps(facts))


def _length(time: dt.timedelta) -> str:
    """For instance `50 min`, `3 h 20 min` or `4 days`."""
    minutes = max(0, time // dt.timedelta(minutes=1))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def _moment(at: dt.datetime, now: dt.datetime) -> str:
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%a %H:%M}"
