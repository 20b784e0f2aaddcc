"""The map of hours: a line a day, a sign an hour. Terminal, report and Dagster draw it, each in its own way."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from cdr_assets.status.hours import HourStatus, State

#: Signs that differ without colour, on any terminal.
SIGNS = {
    State.FINAL: "#",
    State.LOADED: "+",
    State.EMPTY: "o",
    State.LATE: "!",
    State.FAILED: "x",
    State.MISSING: "?",
}

#: For a legend.
MEANINGS = {
    State.FINAL: "will not change any more",
    State.LOADED: "may still change",
    State.EMPTY: "loaded, without a call",
    State.LATE: "should be there by now",
    State.FAILED: "could not be read",
    State.MISSING: "not asked for, between others",
}

Day = tuple[dt.date, list[HourStatus | None]]


def by_day(hours: Sequence[HourStatus]) -> list[Day]:
    """A row per day, in order: its date and 24 cells, None where there is no such hour in `hours`."""
    days: dict[dt.date, list[HourStatus | None]] = {}
    for status in hours:
        days.setdefault(status.hour.date(), [None] * 24)[status.hour.hour] = status
    return list(days.items())


def counts(hours: Sequence[HourStatus]) -> dict[State, int]:
    """The number of hours in each state that occurs, in the order of the legend."""
    counted = Counter(status.state for status in hours)
    return {state: counted[state] for state in SIGNS if counted[state]}


def spans(hours: Sequence[HourStatus], state: State) -> list[tuple[str, int, str | None]]:
    """The hours in a state, consecutive ones with the same error together: the span, its number of hours, the error."""
    groups: list[list[HourStatus]] = []
    before: HourStatus | None = None
    for status in hours:
        if status.state is state:
            # Compared with its neighbour in the list, since a skipped hour does not part the hours around it.
            if before is not None and before.state is state and before.error == status.error:
                groups[-1].append(status)
            else:
                groups.append([status])
        before = status
    return [(_span(group[0].hour, group[-1].hour), len(group), group[0].error) for group in groups]


def markdown(hours: Sequence[HourStatus]) -> str:
    """The map as a table in Markdown: six hours a column, so that a day fits beside Dagster's other metadata."""
    lines = ["| day | 00 to 05 | 06 to 11 | 12 to 17 | 18 to 23 |", "|---|---|---|---|---|"]
    for day, cells in by_day(hours):
        signs = "".join(SIGNS[cell.state] if cell else "·" for cell in cells)
        quarters = " | ".join(f"`{signs[start : start + 6]}`" for start in range(0, 24, 6))
        lines.append(f"| {day:%a %d %b} | {quarters} |")
    legend = ", ".join(f"`{SIGNS[state]}` {number} {state}" for state, number in counts(hours).items())
    return "\n".join([*lines, "", legend])


def _span(first: dt.datetime, last: dt.datetime) -> str:
    if first == last:
        return f"{first:%Y-%m-%d %H:%M}"
    return (
        f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"
        if first.date() == last.date()
        else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    )
