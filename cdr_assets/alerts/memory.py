"""Remembers which faults were there and what each receiver was told, and says what is due: pure, with `now` given.

A fault is told once when it begins, once a day while it lasts, and once when it is over. What could not be sent stays
due, because each receiver has its own notes: if only the mail failed, only the mail is sent again.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum

import msgspec

from cdr_assets.alerts.faults import SOURCE_OF, Fault, Kind, Runs, Source

REMIND_AFTER = dt.timedelta(days=1)

#: A fault that comes back within this time is the same one. From then on it is over only after this time without it:
#: an API that fails every other hour would otherwise send two messages an hour.
STEADY = dt.timedelta(hours=2)

# A file that is just being replaced, or a database that is busy, can be read at the next tick.
_PATIENCE = {Kind.UNSEEN: dt.timedelta(minutes=10)}

# What a receiver could not be told for so long is not told any more.
_STALE = dt.timedelta(days=7)

#: No receiver gets more messages than this in an hour. What is due then waits and goes into one message.
MOST_IN_AN_HOUR = 6
_AN_HOUR = dt.timedelta(hours=1)


class Phase(StrEnum):
    """What a message says of a fault."""

    NEW = "new"
    AGAIN = "again"
    STILL = "still"
    OVER = "over"
    PAST = "past"  # it began and ended before the receiver could be told


_ENDS = (Phase.OVER, Phase.PAST)


class Note(msgspec.Struct, frozen=True):
    """What a receiver was told last of a fault, when, and which of its times that was."""

    at: dt.datetime
    phase: Phase
    times: int


class Case(msgspec.Struct):
    """A fault with its history: when it began, since when it is gone (None while it lasts), how often it came."""

    fault: Fault
    began: dt.datetime
    gone: dt.datetime | None = None
    times: int = 1
    notes: dict[str, Note] = {}


class Notice(msgspec.Struct, frozen=True):
    """A fault to tell, and what to say of it."""

    phase: Phase
    case: Case


class Memory(msgspec.Struct):
    """All that must outlast a tick. It is kept as the sensor's cursor.

    `read_until` is when the last run was changed that was taken into account, `newest_runs` those changed just
    before. Fields of newer versions are ignored and missing ones have defaults, so that an upgrade loses nothing.
    """

    cases: dict[str, Case] = {}
    sent: dict[str, list[dt.datetime]] = {}
    runs: Runs = msgspec.field(default_factory=Runs)
    read_until: dt.datetime | None = None
    newest_runs: dict[str, dt.datetime] = {}

    def see(self, faults: Iterable[Fault], unread: AbstractSet[Source], now: dt.datetime) -> None:
        """Takes the faults of now into account. Faults of sources that could not be read stay as they are."""
        there = {fault.key: fault for fault in faults}
        for key, fault in there.items():
            case = self.cases.get(key)
            if case is None:
                self.cases[key] = Case(fault, began=now)
            else:
                if case.gone and any(note.phase in _ENDS for note in case.notes.values()):
                    case.times += 1
                case.fault, case.gone = fault, None
        for key, case in list(self.cases.items()):
            if key not in there and case.gone is None and SOURCE_OF.get(case.fault.kind) not in unread:
                if _has_moved(case.fault, there.values()):
                    del self.cases[key]
                else:
                    case.gone = now

    def due(self, receiver: str, now: dt.datetime) -> list[Notice]:
        """What to tell the receiver now, new faults first."""
        recent = [at for at in self.sent.get(receiver, ()) if now - at < _AN_HOUR]
        if len(recent) >= MOST_IN_AN_HOUR:
            return []
        notices = [Notice(phase, case) for case in self.cases.values() if (phase := _phase(case, receiver, now))]
        order = list(Phase)
        return sorted(notices, key=lambda notice: (order.index(notice.phase), list(Kind).index(notice.case.fault.kind)))

    def told(self, receiver: str, notices: Sequence[Notice], now: dt.datetime) -> None:
        """Notes that the receiver got the notices, in one message."""
        self.sent[receiver] = [at for at in self.sent.get(receiver, ()) if now - at < _AN_HOUR] + [now]
        for notice in notices:
            notice.case.notes[receiver] = Note(now, notice.phase, notice.case.times)

    def forget(self, receivers: Iterable[str], now: dt.datetime) -> None:
        """Forgets what is over and told. It is kept for a while, to know it if it comes back."""
        names = list(receivers)
        for key, case in list(self.cases.items()):
            if case.gone and (
                now - case.gone > _STALE
                or (now - case.gone > STEADY and not any(_phase(case, name, now) for name in names))
            ):
                del self.cases[key]


def _phase(case: Case, receiver: str, now: dt.datetime) -> Phase | None:
    """What the receiver should be told of the fault now; None if nothing."""
    note, patience = case.notes.get(receiver), _PATIENCE.get(case.fault.kind, dt.timedelta())
    if case.gone is None:
        if note is None:
            return Phase.NEW if now - case.began >= patience else None
        if note.times < case.times:
            return Phase.AGAIN
        return Phase.STILL if now - note.at >= REMIND_AFTER else None
    if note is None:
        return Phase.PAST if case.gone - case.began >= patience else None
    if note.phase in _ENDS or (case.times > 1 and now - case.gone < STEADY):
        return None
    return Phase.OVER


def _has_moved(fault: Fault, there: Iterable[Fault]) -> bool:
    """Whether its hours fail now, or fail for another reason, which is a fault of its own. Then it is not over."""
    return fault.kind in (Kind.HOURS_FAILED, Kind.HOURS_LATE) and any(
        other.kind is Kind.HOURS_FAILED and set(other.hours) & set(fault.hours) for other in there
    )


def read_memory(cursor: str | None) -> Memory:
    """The memory in a cursor. A new one if there is none, or none that this version can read.

    Without a memory, all faults that are there are told again: twice is better than never.
    """
    try:
        return msgspec.json.decode(cursor, type=Memory) if cursor else Memory()
    except msgspec.MsgspecError:
        return Memory()


def write_memory(memory: Memory) -> str:
    return msgspec.json.encode(memory).decode()
