"""A call as the sandbox stores it, and the interface of a source of calls.

A call is rendered to JSON once, when it is made and not when it is served, so that a page is only a join of bytes. The
sources are in `sources` and `centre`; choosing calls for a page is in `api`.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

ARRAYS = ("call_history", "csat_answers", "call_tags")

# A placeholder in rendered recording links. Each answer puts a new signature in its place. No other text contains it.
SIGNATURE = b"@signature@"


@dataclass(slots=True)
class Call:
    """One rendered record, and the values by which a request can choose it.

    `calldate` is in the tenant's local time (`%Y-%m-%d %H:%M:%S`). `position` is (calldate, number); it is unique
    within a source, and calls are listed in its order. `head` is the record's JSON without its arrays and without
    `end`. Each array is the JSON of its member with a comma before it, or empty if the record has no such member.
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
        """The whole record as Python objects, with its arrays."""
        return msgspec.json.decode(self.head + self.call_history + self.csat_answers + self.call_tags + self.end)


class Source(Protocol):
    """Where the sandbox gets its calls. Many threads call the methods at the same time."""

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        """All calls with a calldate from `start` to `finish`, both included, and possibly more.

        Returns lists that are sorted by position and don't overlap, the earliest list first, or the latest first if not
        `ascending`.
        """

    def with_key(self, key: str) -> Sequence[Call]: ...

    def with_unique_id(self, unique_id: str) -> Sequence[Call]: ...

    def with_active_call_key(self, active_call_key: str) -> Sequence[Call]: ...


def call_of(record: Any, number: int, calldate: str | None = None) -> Call:
    """A call that serves `record`, which may have any shape, unchanged. `number` orders calls with the same calldate.

    `calldate` is the time at which to list the call, for a record without a readable one. Requests can find a call by
    its member `activecallkey`, which is not served, because the vendor's records have no such field. Raises ValueError
    if there is no readable calldate.
    """
    if not isinstance(record, Mapping):
        if calldate is None:
            raise ValueError("a record that is not an object has no calldate: give the time at which to list it")
        moment = wall_clock(calldate)
        head = msgspec.json.encode(record)
        return Call(
            (moment, number), moment, None, None, None, None, None, None, False, False, head, b"", b"", b"", b""
        )
    moment = wall_clock(record.get("calldate") if calldate is None else calldate)
    plain = {name: value for name, value in record.items() if name not in ARRAYS and name != "activecallkey"}
    # If the record has no other members, the arrays are written without a comma before them.
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
        # A record that has only arrays is always served whole, because no member would come before the comma.
        head=msgspec.json.encode(plain or record)[:-1],
        call_history=arrays[0],
        csat_answers=arrays[1],
        call_tags=arrays[2],
    )


def wall_clock(value: Any) -> str:
    """A date in any ISO format without a zone, as `%Y-%m-%d %H:%M:%S`. Raises ValueError for anything else."""
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"calldate is not a date: {value!r}") from None
    if moment.tzinfo is not None:
        raise ValueError(f"calldate has a time zone, but must be in the tenant's local time without one: {value!r}")
    return moment.isoformat(" ", "seconds")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
