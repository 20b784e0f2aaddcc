"""Which messages are due: one when a fault begins, one a day, one when it is over, to each receiver by itself."""

import datetime as dt

import msgspec
import pytest

from cdr_assets.alerts.faults import Fault, Kind, Source
from cdr_assets.alerts.memory import MOST_IN_AN_HOUR, Memory, read_memory, write_memory

START = dt.datetime(2026, 3, 2, 3, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
FIVE, SIX = dt.datetime(2026, 3, 2, 5), dt.datetime(2026, 3, 2, 6)

OUTAGE = Fault(Kind.HOURS_FAILED, "hours: outage", reason="no answer", hours=(FIVE,))
WARNS = Fault(Kind.CHECK_WARNS, "check: c", "c", "odd values")


class Night:
    """Ticks of a memory that goes through its cursor each time, as in Dagster. `down` are receivers without answer."""

    def __init__(self, *receivers: str) -> None:
        self.receivers = receivers
        self.cursor = ""
        self.down: set[str] = set()

    def tick(self, after: dt.timedelta, *faults: Fault, unread: frozenset[Source] = frozenset()) -> list[str]:
        """`receiver phase key` of each notice that was told."""
        memory, now = read_memory(self.cursor), START + after
        memory.see(faults, unread, now)
        told = []
        for receiver in self.receivers:
            notices = memory.due(receiver, now)
            if notices and receiver not in self.down:
                memory.told(receiver, notices, now)
                told += [f"{receiver} {notice.phase} {notice.case.fault.key}" for notice in notices]
        memory.forget(self.receivers, now)
        self.cursor = write_memory(memory)
        return told


def test_a_fault_is_told_when_it_begins_once_a_day_and_when_it_is_over() -> None:
    night = Night("web")
    told = [(hours, night.tick(hours * HOUR, OUTAGE)) for hours in range(50)]
    assert [(hours, notices) for hours, notices in told if notices] == [
        (0, ["web new hours: outage"]),
        (24, ["web still hours: outage"]),
        (48, ["web still hours: outage"]),
    ]
    assert night.tick(50 * HOUR) == ["web over hours: outage"]
    assert [night.tick(50 * HOUR + n * HOUR) for n in (1, 2, 3, 30)] == [[]] * 4
    assert read_memory(night.cursor).cases == {}


def test_ten_hours_of_an_outage_are_one_fault() -> None:
    night = Night("web")
    told = []
    for n in range(10):
        hours = tuple(FIVE + k * HOUR for k in range(n + 1))
        told += night.tick(n * HOUR, msgspec.structs.replace(OUTAGE, hours=hours))
    assert told == ["web new hours: outage"]
    assert len(read_memory(night.cursor).cases["hours: outage"].fault.hours) == 10


def test_hours_that_fail_for_another_reason_are_not_over() -> None:
    night = Night("web")
    token = Fault(Kind.HOURS_FAILED, "hours: token", reason="refused", hours=(FIVE, SIX))
    assert night.tick(0 * HOUR, OUTAGE) == ["web new hours: outage"]
    assert night.tick(1 * HOUR, token) == ["web new hours: token"]
    late = Fault(Kind.HOURS_LATE, "late", hours=(FIVE,))
    assert night.tick(2 * HOUR, late) == ["web new late", "web over hours: token"]
    assert night.tick(3 * HOUR, OUTAGE) == ["web new hours: outage"]


def test_a_receiver_that_was_down_is_told_later_and_the_other_not_again() -> None:
    night = Night("web", "mail")
    night.down = {"mail"}
    assert night.tick(0 * MINUTE, OUTAGE) == ["web new hours: outage"]
    assert night.tick(1 * MINUTE, OUTAGE, WARNS) == ["web new check: c"]
    assert night.tick(2 * MINUTE, WARNS) == ["web over hours: outage"]
    night.down = set()
    assert night.tick(300 * MINUTE, WARNS) == ["mail new check: c", "mail past hours: outage"]
    assert night.tick(301 * MINUTE, WARNS) == []


def test_a_fault_that_comes_and_goes_every_half_hour_is_four_messages() -> None:
    night = Night("web")
    told = [night.tick(n * 30 * MINUTE, *([OUTAGE] if n % 2 == 0 and n < 20 else [])) for n in range(48)]
    assert [(n / 2, notices) for n, notices in enumerate(told) if notices] == [
        (0, ["web new hours: outage"]),
        (0.5, ["web over hours: outage"]),
        (1, ["web again hours: outage"]),
        # Two hours after it was there last.
        (11.5, ["web over hours: outage"]),
    ]


def test_faults_of_a_source_that_cannot_be_read_stay_and_the_others_are_told() -> None:
    night = Night("web")
    unseen = Fault(Kind.UNSEEN, "unseen: x")
    copy = frozenset({Source.HOURS, Source.CALLS})
    assert night.tick(0 * MINUTE, OUTAGE) == ["web new hours: outage"]
    assert night.tick(1 * MINUTE, unseen, WARNS, unread=copy) == ["web new check: c"]
    # What could not be read once is not worth a message.
    assert night.tick(2 * MINUTE, OUTAGE, WARNS) == []
    assert night.tick(3 * MINUTE, unseen, WARNS, unread=copy) == []
    assert night.tick(14 * MINUTE, unseen, WARNS, unread=copy) == ["web new unseen: x"]
    assert night.tick(15 * MINUTE, WARNS) == ["web over hours: outage", "web over unseen: x"]


def test_a_flood_becomes_a_few_messages() -> None:
    night = Night("web")
    faults = [msgspec.structs.replace(WARNS, key=f"check: {n}") for n in range(500)]
    ticks = [night.tick(n * dt.timedelta(seconds=30), *faults[: n + 1]) for n in range(500)]
    messages = [notices for notices in ticks if notices]
    # 500 ticks take four hours.
    assert len(messages) <= MOST_IN_AN_HOUR * 5
    while more := night.tick(5 * HOUR + len(messages) * 10 * MINUTE, *faults):
        messages.append(more)
    assert sorted(notice for notices in messages for notice in notices) == sorted(
        f"web new check: {n}" for n in range(500)
    )


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", '{"cases": {"a": {"fault": {"kind": "of a newer version"}}}}'])
def test_a_lost_or_unreadable_cursor_tells_again_what_is_there(cursor: str | None) -> None:
    night = Night("web")
    night.tick(0 * HOUR, OUTAGE)
    night.cursor = cursor  # type: ignore[assignment]
    assert night.tick(1 * HOUR, OUTAGE) == ["web new hours: outage"]


def test_the_cursor_of_another_version_loses_nothing() -> None:
    night = Night("web")
    night.tick(0 * HOUR, OUTAGE)
    document = msgspec.json.decode(night.cursor)
    document["of a newer version"] = {"x": 1}
    del document["sent"], document["runs"], document["newest_runs"]
    night.cursor = msgspec.json.encode(document).decode()
    assert night.tick(1 * HOUR, OUTAGE) == []
    assert night.tick(2 * HOUR) == ["web over hours: outage"]


def test_a_new_memory_is_not_shared() -> None:
    first, second = Memory(), Memory()
    first.see([OUTAGE], set(), START)
    assert second == Memory()
