"""Faults of a chain of pages: cursors that lead nowhere, empty pages, ties, records that come twice or are misplaced.

Refused cursors are in `refusals`. The docstrings of the classes are in docs/faults.md.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdr_assets.sandbox.api import cursor_after
from cdr_assets.sandbox.calls import ARRAYS, Call, Source, call_of
from cdr_assets.sandbox.faults.base import Exchange, Fault

_TIE = dt.timedelta(minutes=15)


class SameCursor(Fault):
    """Answers every page after the first with the same cursor as in the request. The client should fail the hour and
    not
    ask for the same page forever."""

    def asked(self, exchange: Exchange) -> None:
        exchange.notes[self] = exchange.parameters.get("cursor")

    def change(self, exchange: Exchange) -> None:
        if exchange.notes[self]:
            exchange.page.set_cursor(exchange.notes[self])


class _Marked(Fault):
    """Marks its own cursors, to know them again: `<mark><count>.<cursor>`."""

    mark = ""

    def asked(self, exchange: Exchange) -> None:
        """Notes the count (0 if the cursor has no mark) and the cursor without its mark."""
        cursor = exchange.parameters.get("cursor", "")
        count, dot, rest = cursor.removeprefix(self.mark).partition(".")
        if cursor.startswith(self.mark) and dot and count.isdecimal():
            exchange.parameters["cursor"] = rest
            exchange.notes[self] = int(count), rest
        else:
            exchange.notes[self] = 0, cursor

    def hits(self, exchange: Exchange) -> bool:
        # Once a chain has been hit, hit its later pages too, wherever in the chain they are.
        return exchange.notes[self][0] > 0 or super().hits(exchange)

    def marked(self, count: int, cursor: str) -> str:
        return f"{self.mark}{count}.{cursor}"


class EndlessChain(_Marked):
    """Begins again after the last page, with new cursors each time. The client should notice that no new call comes, or
    that there is no end, and fail the hour."""

    mark = "round-"

    def change(self, exchange: Exchange) -> None:
        rounds, _ = exchange.notes[self]
        if exchange.page.last:
            exchange.page.set_cursor(self.marked(rounds + 1, ""))
        elif rounds and exchange.page.cursor:
            exchange.page.set_cursor(self.marked(rounds, exchange.page.cursor))


class EndlessEmptyPages(_Marked):
    """Goes on after the last page with empty pages, each with a new cursor. The client should stop in the end: with
    the calls it has, or with a failed hour."""

    mark = "beyond-"

    def change(self, exchange: Exchange) -> None:
        beyond, _ = exchange.notes[self]
        if beyond:
            exchange.page.records = []
        if beyond or exchange.page.last:
            exchange.page.set_cursor(self.marked(beyond + 1, ""))


class EmptyPage(_Marked):
    """Sends an empty page with a cursor before the page that was asked for. The client should go on."""

    mark = "after-empty-"

    def change(self, exchange: Exchange) -> None:
        comes_after_it, cursor = exchange.notes[self]
        if not comes_after_it:
            exchange.page.records = []
            exchange.page.set_cursor(self.marked(1, cursor))


class LastCursor(Fault):
    """Sends a cursor with the last page too; it leads to an empty page without a cursor. The client should take that
    for
    the end."""

    def change(self, exchange: Exchange) -> None:
        page = exchange.page
        if page.last and page.calls and not page.cursor:
            page.set_cursor(cursor_after(exchange.parameters, page.calls[-1].position))


class Ties(Fault):
    """Makes all calls of a quarter of an hour begin in its first second (and last longer), so that calls with the same
    calldate are on several pages. The client should load each call once."""

    def source(self, source: Source) -> Source:
        return _Tied(source)


@dataclass
class _Tied:
    """A source whose calls begin at full quarters of an hour."""

    of: Source

    def __post_init__(self) -> None:
        self._made: dict[int, tuple[Sequence[Call], list[Call]]] = {}

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        for segment in self.of.segments(start[:11] + "00:00:00", finish[:11] + "23:59:59", ascending):
            known = self._made.get(id(segment))
            if known is None or known[0] is not segment:
                known = segment, sorted(map(self._tie, segment), key=lambda call: call.position)
                if len(self._made) >= 4:
                    self._made.clear()
                self._made[id(segment)] = known
            yield known[1]

    def with_key(self, key: str) -> Sequence[Call]:
        return [self._tie(call) for call in self.of.with_key(key)]

    def with_unique_id(self, unique_id: str) -> Sequence[Call]:
        return [self._tie(call) for call in self.of.with_unique_id(unique_id)]

    def with_active_call_key(self, active_call_key: str) -> Sequence[Call]:
        return [self._tie(call) for call in self.of.with_active_call_key(active_call_key)]

    @staticmethod
    def _tie(call: Call) -> Call:
        record = call.record()
        if not isinstance(record, Mapping) or not isinstance(record.get("calldate"), str):
            return call
        begins = dt.datetime.fromisoformat(call.calldate)
        earlier = (begins - dt.datetime.min) % _TIE
        tied: dict[str, Any] = {**record, "calldate": str(begins - earlier), "activecallkey": call.active_call_key}
        if isinstance(record.get("duration"), int):
            tied["duration"] = record["duration"] + int(earlier.total_seconds())
        return call_of(tied, call.position[1])


class RepeatedKey(Fault):
    """Sends calls twice, unchanged: the first call of a page again at its end, the last call again on the next page.
    The
    client should load each call once and count the repeats."""

    room = 1

    def change(self, exchange: Exchange) -> None:
        page = exchange.page
        repeated = [n for n, record in enumerate(page.records) if isinstance(record, dict)]
        # The next page repeats one call. Only do this if a page has two or more, or the chain would never end.
        if len(page.calls) > 1 and page.cursor == cursor_after(exchange.parameters, page.calls[-1].position):
            page.cursor = cursor_after(exchange.parameters, page.calls[-2].position)
            if repeated and repeated[-1] == len(page.records) - 1:
                page.records[-1] = self.first_version(page.records[-1])
        if repeated:
            page.records.append(page.records[repeated[0]])
            page.records[repeated[0]] = self.first_version(page.records[repeated[0]])

    def first_version(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record to send the first time. The second time it is sent unchanged."""
        return record


class RepeatedKeyChanged(RepeatedKey):
    """Sends calls twice, as with `repeated-key`, the first time as they were before they ended. The client should load
    each call once, in the version that came last."""

    def first_version(self, record: dict[str, Any]) -> dict[str, Any]:
        earlier = record | {"hangupdate": None, "duration": None}
        return earlier | {name: [] for name in ARRAYS if name in record}


class OutsideWindow(Fault):
    """Adds a call from before the window and one from after it to each page. The client should leave them to their own
    hours and count them."""

    room = 2

    def change(self, exchange: Exchange) -> None:
        record = next((record for record in exchange.page.records if isinstance(record, dict)), None)
        if record is None or "startdate" not in exchange.parameters:
            return
        start, finish = (dt.datetime.fromisoformat(exchange.parameters[name]) for name in ("startdate", "finishdate"))
        before = record | {"key": f"{record.get('key')}-before", "calldate": str(start - dt.timedelta(days=1))}
        after = record | {"key": f"{record.get('key')}-after", "calldate": str(finish + dt.timedelta(days=1))}
        exchange.page.records = [before, *exchange.page.records, after]
