"""The API `reportsCDRLogs` as the vendor documents it: parameters and their precedence, filters, pages, cursors,
refusals.

It makes a page from a request's parameters and a source of calls. Sockets are in `server`, misbehaviour is in `faults`.
"""

import base64
import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from typing import Any, Literal

import msgspec

from cdr_assets.sandbox.calls import ARRAYS, SIGNATURE, Call, Source

PAGE_SIZE = 100

# How a chain of pages ends. The page with the last record has a cursor that is null, absent or blank; or (as Datastore
# does) it has a usual cursor, and the next page has neither records nor a cursor.
ChainEnd = Literal["null", "absent", "blank", "empty page"]

_CALLDATE = attrgetter("calldate")
_POSITION = attrgetter("position")


class RefusedError(Exception):
    """The request is refused; the text is the vendor's `message`."""


@dataclass(frozen=True)
class Rules:
    """Behaviour that the vendor's documentation does not specify."""

    page_size: int = PAGE_SIZE
    start_inclusive: bool = True
    finish_inclusive: bool = True
    chain_end: ChainEnd = "null"


@dataclass
class Page:
    """One page to be served. Without `has_cursor` the answer has no member `cursor`."""

    calls: Sequence[Call]
    cursor: str | None
    has_cursor: bool
    call_history: bool
    csat_answers: bool
    call_tags: bool
    first: bool
    last: bool

    def records(self) -> list[Any]:
        """The page's records as Python objects, with the same arrays as in `render`."""
        hidden = {
            name
            for name, shown in zip(ARRAYS, (self.call_history, self.csat_answers, self.call_tags), strict=True)
            if not shown
        }
        records = [call.record() for call in self.calls]
        return [
            {name: value for name, value in record.items() if name not in hidden}
            if isinstance(record, dict)
            else record
            for record in records
        ]

    def render(self, signature: bytes) -> bytes:
        """The answer's JSON, with `signature` in its recording links."""
        if self.call_history and self.csat_answers and self.call_tags:
            records = [c.head + c.call_history + c.csat_answers + c.call_tags + c.end for c in self.calls]
        else:
            records = [
                c.head
                + (c.call_history if self.call_history else b"")
                + (c.csat_answers if self.csat_answers else b"")
                + (c.call_tags if self.call_tags else b"")
                + c.end
                for c in self.calls
            ]
        cursor = b',"cursor":%s}' % msgspec.json.encode(self.cursor) if self.has_cursor else b"}"
        return (b'{"CallList":[' + b",".join(records) + b"]" + cursor).replace(SIGNATURE, signature)


def page_of(source: Source, parameters: Mapping[str, str], rules: Rules) -> Page:
    """The page for these parameters of a `reportsCDRLogs` request. Raises RefusedError if the vendor would refuse
    them."""
    ascending = _one_of(parameters, "sorting", ("desc", "asc")) == "asc"
    with_history = _boolean(parameters, "include_call_history")
    with_answers = _boolean(parameters, "include_csat")
    with_tags = _boolean(parameters, "include_call_tags")
    window, segments, matches = _selection(source, parameters, rules, ascending)

    after = _position_of(parameters)
    # Take one call more than the page holds, to see whether there is a next page.
    calls = list(islice(_walk(segments, window, ascending, after, matches), rules.page_size + 1))
    last = len(calls) <= rules.page_size
    del calls[rules.page_size :]

    if not last or (calls and rules.chain_end == "empty page"):
        cursor: str | None = cursor_after(parameters, calls[-1].position)
    else:
        cursor = "" if rules.chain_end == "blank" else None
    return Page(
        calls=calls,
        cursor=cursor,
        has_cursor=cursor is not None or rules.chain_end == "null",
        call_history=with_history,
        csat_answers=with_answers,
        call_tags=with_tags,
        first=after is None,
        last=last,
    )


@dataclass(frozen=True)
class _Window:
    """Bounds of calldate. An empty text sorts before every date, `~` after every date."""

    start: str = ""
    finish: str = "~"
    start_inclusive: bool = True
    finish_inclusive: bool = True

    def within(self, segment: Sequence[Call]) -> tuple[int, int]:
        at_start = bisect_left if self.start_inclusive else bisect_right
        at_finish = bisect_right if self.finish_inclusive else bisect_left
        return at_start(segment, self.start, key=_CALLDATE), at_finish(segment, self.finish, key=_CALLDATE)


def _selection(
    source: Source, parameters: Mapping[str, str], rules: Rules, ascending: bool
) -> tuple[_Window, Iterator[Sequence[Call]], Callable[[Call], bool] | None]:
    """The window, the sorted lists of calls to search, and the filter or None."""
    for name, find in (
        ("activecallkey", source.with_active_call_key),
        ("uniqueid", source.with_unique_id),
        ("callkey", source.with_key),
    ):
        if parameters.get(name):
            return _Window(), iter([sorted(find(parameters[name]), key=_POSITION)]), None

    start, finish = _date(parameters, "startdate"), _date(parameters, "finishdate")
    if finish < start:
        raise RefusedError("finishdate is earlier than startdate")
    window = _Window(start, finish, rules.start_inclusive, rules.finish_inclusive)
    return window, source.segments(start, finish, ascending), _filter(parameters)


def _filter(parameters: Mapping[str, str]) -> Callable[[Call], bool] | None:
    agent_id, agent, queue_key = (parameters.get(name) for name in ("agent", "agent_username", "queue"))
    csat_only = _boolean(parameters, "csat_only")
    untransferred = _boolean(parameters, "untransferred")
    if not (agent_id or agent or queue_key or csat_only or untransferred):
        return None
    return lambda call: (
        (not agent_id or call.agent_id == agent_id)
        and (not agent or call.agent == agent)
        and (not queue_key or call.queue_key == queue_key)
        and (not csat_only or call.has_csat)
        and (not untransferred or not call.transferred)
    )


def _walk(
    segments: Iterator[Sequence[Call]],
    window: _Window,
    ascending: bool,
    after: tuple[str, int] | None,
    matches: Callable[[Call], bool] | None,
) -> Iterator[Call]:
    """The calls in the order of listing, starting after the position `after`."""
    for segment in segments:
        low, high = window.within(segment)
        if after is not None and ascending:
            low = max(low, bisect_right(segment, after, key=_POSITION))
        elif after is not None:
            high = min(high, bisect_left(segment, after, key=_POSITION))
        places = range(low, high) if ascending else range(high - 1, low - 1, -1)
        for place in places:
            call = segment[place]
            if matches is None or matches(call):
                yield call


def cursor_after(parameters: Mapping[str, str], position: tuple[str, int]) -> str:
    """The cursor of the page after `position`: the position and a digest of the request, opaque to clients."""
    return base64.urlsafe_b64encode(msgspec.json.encode([digest(parameters), *position])).decode()


def _position_of(parameters: Mapping[str, str]) -> tuple[str, int] | None:
    cursor = parameters.get("cursor")
    if not cursor:
        return None
    try:
        belongs_to, calldate, number = msgspec.json.decode(base64.urlsafe_b64decode(cursor))
        position = str(calldate), int(number)
    except (ValueError, TypeError):
        raise RefusedError("cursor is not valid") from None
    if belongs_to != digest(parameters):
        raise RefusedError("cursor belongs to a request with other parameters")
    return position


def digest(parameters: Mapping[str, str]) -> str:
    """A hash of the request's parameters, the same for all pages of a chain."""
    asked = sorted((name, value) for name, value in parameters.items() if name not in ("app_token", "cursor"))
    return blake2b(repr(asked).encode(), digest_size=9).hexdigest()


def _boolean(parameters: Mapping[str, str], name: str) -> bool:
    return _one_of(parameters, name, ("false", "true")) == "true"


def _one_of(parameters: Mapping[str, str], name: str, values: tuple[str, ...]) -> str:
    """The parameter's value, or the first of `values` if it is not given. Raises RefusedError for another value."""
    value = parameters.get(name) or values[0]
    if value not in values:
        raise RefusedError(f"{name} must be {' or '.join(sorted(values))}, not {value!r}")
    return value


def _date(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise RefusedError(f"{name} is missing")
    date = _as_date(value)
    if date is None:
        raise RefusedError(f"{name} does not match %Y-%m-%d %H:%M:%S: {value!r}")
    return date


@lru_cache(maxsize=1024)
def _as_date(value: str) -> str | None:
    try:
        return dt.datetime.strptime(value, "%Y-%m-%d %H:%M:%S").isoformat(" ")
    except ValueError:
        return None
