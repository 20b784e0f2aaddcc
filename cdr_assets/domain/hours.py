"""The hour of calls, which is fetched whole and replaced whole, and how hours are grouped into runs.

The list of all partitions is in `orchestration/partitions.py`; SQL on stored hours is in `warehouse/hours.py`.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HOUR = dt.timedelta(hours=1)

# Hours in one run (a week). With more, a run that dies loses more work; with fewer, starting runs takes too much time.
HOURS_PER_RUN = 168


@dataclass(frozen=True)
class Hour:
    """One partition: its window [start, finish) in the tenant's wall clock (naive), and the instant (aware) it ends.

    When the clocks go back, an hour is repeated. Its two partitions have the same window, because the API knows only
    wall-clock times; the one that is loaded last replaces the calls of both. When the clocks go forward, an hour is
    skipped. The partition before it ends where the next shown hour starts, so that every time has a partition.
    """

    key: str
    start: dt.datetime
    finish: dt.datetime
    ends_at: dt.datetime
    # The clock shows this hour twice.
    is_repeated: bool
    # The start of the request's window: `start`, but two hours earlier if the hour before was skipped. The client asks
    # from one second earlier. That second would lie in the skipped hour, which a server may read as one hour later: the
    # first calls would be missing.
    asked_from: dt.datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M}"


def runs_twice(hour: dt.datetime, zone: dt.tzinfo | None) -> bool:
    """True if the zone's clock shows this local hour twice, or never."""
    return hour.replace(tzinfo=zone, fold=0).utcoffset() != hour.replace(tzinfo=zone, fold=1).utcoffset()


def ends_at(hour: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The instant (aware, in UTC) at which this local hour has ended: the end of its second pass if it is repeated."""
    return (hour + HOUR).replace(tzinfo=zone, fold=0).astimezone(dt.UTC)


def is_skipped(hour: dt.datetime, zone: dt.tzinfo) -> bool:
    """True if the zone's clock never shows this local hour."""
    shown = hour.replace(tzinfo=zone).astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None)
    return not hour <= shown < hour + HOUR


def consecutive(hours: Sequence[Hour], at_most: int = HOURS_PER_RUN) -> Iterator[list[Hour]]:
    """Groups of at most `at_most` hours without a gap between them: a run takes one range of partitions."""
    group: list[Hour] = []
    for hour in hours:
        if group and (len(group) == at_most or hour.ends_at - group[-1].ends_at != HOUR):
            yield group
            group = []
        group.append(hour)
    if group:
        yield group
