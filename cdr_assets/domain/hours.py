"""The hour, the unit of truth: fetched whole, replaced whole. Dagster's partitions are made in `orchestration`."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HOUR = dt.timedelta(hours=1)

# Hours in one run: few enough that a run that dies loses little, enough that its start does not matter.
HOURS_PER_RUN = 168


@dataclass(frozen=True)
class Hour:
    """One partition: its wall-clock window [start, finish), naive, and the instant it ends.

    The two partitions of a repeated hour have the same window, for the API knows wall-clock times alone: whichever is
    loaded last replaces the whole wall-clock hour. The hour before a skipped one reaches to the hour after it, so
    that no wall-clock time belongs to no partition.
    """

    key: str
    start: dt.datetime
    finish: dt.datetime
    ends_at: dt.datetime
    # Whether the clock shows this hour twice.
    is_repeated: bool
    # Where to ask from: the start; but after a skipped hour from before it, since the client asks from one second
    # earlier, a time that the clock does not show and that a server may take for one an hour later.
    asked_from: dt.datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M}"


def runs_twice(hour: dt.datetime, zone: dt.tzinfo | None) -> bool:
    """Whether the clock of the zone shows a local hour twice, or never."""
    return hour.replace(tzinfo=zone, fold=0).utcoffset() != hour.replace(tzinfo=zone, fold=1).utcoffset()


def consecutive(hours: Sequence[Hour], at_most: int = HOURS_PER_RUN) -> Iterator[list[Hour]]:
    """Groups of hours that follow each other without a hole: what a run over a range can be for."""
    group: list[Hour] = []
    for hour in hours:
        if group and (len(group) == at_most or hour.ends_at - group[-1].ends_at != HOUR):
            yield group
            group = []
        group.append(hour)
    if group:
        yield group
