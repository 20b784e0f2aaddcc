"""A call as the sandbox keeps it, and what a source of calls must offer.

A call is rendered to JSON once, when it becomes known, not when it is served: a page is then a join of bytes. Reading
records from files or making them up belongs to the sources; choosing and paging them belongs to `api`.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

ARRAYS = ("call_history", "csat_answers", "call_tags")

# Stands in a rendered recording link for the signature, which is another at each serving. Not part of any other text.
SIGNATURE = b"@signature@"


@dataclass(slots=True)
class Call:
    """One record, rendered, with what it can be chosen by.

    `calldate` is the tenant's wall clock (`%Y-%m-%d %H:%M:%S`); `position` is (calldate, number), unique within a
    source and the order of listing. `head` is the record's JSON without its arrays and `end`; each array is the JSON
    of its member with the comma before it, or nothing where the record has no such member.
    """

    position: tuple[str, int]
    calldate: str
    key: str | None
    unique_id: str | None
    active_call_key: str | None
    agent: str | None
    agent_id: str | None
    queue_key: str | None
    transferred: bool
    has_csat: bool
    head: bytes
    call_history: bytes
    csat_answers: bytes
    call_tags: bytes
    end: bytes = b"}"

    def record(self) -> Any:
        """The whole record as Python objects; arrays included."""
        return msgspec.json.decode(self.head + self.call_history + self.csat_answers + self.call_tags + self.end)


class Source(Protocol):
    """Where the sandbox's calls come from. Methods are called from many threads at once."""

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        """The calls whose calldate may lie from `start` to `finish`, both included.

        Lists sorted by position, with no overlap, the earliest first (the latest first unless `ascending`). They may
        reach beyond the window.
        """

    def with_key(self, key: str) -> Sequence[Call]: ...

    def with_unique_id(self, unique_id: str) -> Sequence[Call]: ...

    def with_active_call_key(self, active_call_key: str) -> Sequence[Call]: ...


def call_of(record: Any, number: int, calldate: str | None = None) -> Call:
    """The call that serves `record` just as it is, in any shape, `number` breaking ties in calldate.

    `calldate` says when the call is to be listed, for a record that does not say it readably itself. A member
    `activecallkey` is what the call is found by and is not served: the vendor's records have no such field.
    Raises ValueError where it is unknown when the call was.
    """
    if not isinstance(record, Mapping):
        if calldate is None:
            raise ValueError("a record that is not an object has no calldate: say when it is to be listed")
        moment = wall_clock(calldate)
        head = msgspec.json.encode(record)
        return Call(
            (moment, number), moment, None, None, None, None, None, None, False, False, head, b"", b"", b"", b""
        )
    moment = wall_clock(record.get("calldate") if calldate is None else calldate)
    plain = {name: value for name, value in record.items() if name not in ARRAYS and name != "activecallkey"}
    # Without the braces an object without members would leave a comma too many before the arrays.
    arrays = [
        b"%s%s:%s" % (b"," if plain else b"", msgspec.json.encode(name), msgspec.json.encode(record[name]))
        if name in record
        else b""
        for name in ARRAYS
    ]
    return Call(
        position=(moment, number),
        calldate=moment,
        key=_text(record.get("key")),
        unique_id=_text(record.get("uniqueid")),
        active_call_key=_text(record.get("activecallkey")),
        agent=_text(record.get("agent")),
        agent_id=_text(record.get("agentid")),
        queue_key=_text(record.get("queuekey")),
        transferred=str(record.get("transferred")).strip().lower() not in ("none", "", "0", "0.0", "false"),
        has_csat=bool(record.get("csat_answers")),
        # A record of nothing but arrays has no member that a comma could follow: it is served whole, always.
        head=msgspec.json.encode(plain or record)[:-1],
        call_history=arrays[0],
        csat_answers=arrays[1],
        call_tags=arrays[2],
    )


def wall_clock(value: Any) -> str:
    """A date in any ISO spelling without a zone, as `%Y-%m-%d %H:%M:%S`; ValueError where it is none."""
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"calldate is not a date: {value!r}") from None
    if moment.tzinfo is not None:
        raise ValueError(f"calldate has a zone, where the tenant's wall clock is meant: {value!r}")
    return moment.isoformat(" ", "seconds")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
