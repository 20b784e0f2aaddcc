"""Calls that somebody brings: a list that a test changes while it is served, and a file of records.

Made-up calls are in `centre`.
"""

import gzip
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from cdr_assets.sandbox.calls import Call, call_of

_POSITION = attrgetter("position")


class _SortedCalls:
    """A source over one list, sorted by position."""

    _calls: Sequence[Call] = ()

    def __len__(self) -> int:
        return len(self._calls)

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:  # noqa: ARG002
        yield self._calls

    def with_key(self, key: str) -> Sequence[Call]:
        return [call for call in self._calls if call.key == key]

    def with_unique_id(self, unique_id: str) -> Sequence[Call]:
        return [call for call in self._calls if call.unique_id == unique_id]

    def with_active_call_key(self, active_call_key: str) -> Sequence[Call]:
        return [call for call in self._calls if call.active_call_key == active_call_key]


class ListedCalls(_SortedCalls):
    """Records listed one by one, served just as they are, in any shape.

    Calls may be added, edited and removed while the sandbox serves them: each request sees one state. A record may
    have a member `activecallkey`, by which it is found and which is not served.
    """

    def __init__(self, records: Iterable[Any] = ()) -> None:
        """Raises ValueError for a record without a readable calldate: give that to `add` with a time."""
        self._lock = threading.Lock()
        self._listed: dict[int, tuple[Any, Call]] = {}
        self._added = 0
        for record in records:
            self._list(record, None)
        self._sort()

    @property
    def records(self) -> list[Any]:
        """What is listed now, in the order in which it was added."""
        with self._lock:
            return [record for record, _ in self._listed.values()]

    def add(self, record: Any, calldate: str | None = None) -> None:
        """Lists one more; `calldate` says where in time, for a record that does not say it readably."""
        with self._lock:
            self._list(record, calldate)
            self._sort()

    def edit(self, key: str, **members: Any) -> None:
        """Sets members of the records with this key; KeyError where there is none."""
        with self._lock:
            for number in self._numbers(key):
                record, call = self._listed[number]
                edited = {**record, **members}
                # A call that was put in its place by hand stays there, unless its calldate is what was edited.
                place = None if "calldate" in members else call.calldate
                self._listed[number] = edited, call_of(edited, number, place)
            self._sort()

    def remove(self, key: str) -> None:
        """Takes the records with this key off the list; KeyError where there is none."""
        with self._lock:
            for number in self._numbers(key):
                del self._listed[number]
            self._sort()

    def _list(self, record: Any, calldate: str | None) -> None:
        self._listed[self._added] = record, call_of(record, self._added, calldate)
        self._added += 1

    def _numbers(self, key: str) -> list[int]:
        numbers = [n for n, (_, call) in self._listed.items() if call.key == key]
        if not numbers:
            raise KeyError(key)
        return numbers

    def _sort(self) -> None:
        # A new list each time, so that a request that is being answered keeps the state it began with.
        self._calls = sorted((call for _, call in self._listed.values()), key=_POSITION)


class RecordsFile(_SortedCalls):
    """Records of a file, one JSON object a line, gzipped or not (by the file's first bytes, not its name)."""

    def __init__(self, path: str | Path) -> None:
        """Reads the whole file. Raises OSError, or ValueError with the line's number for a line that is no record."""
        data = Path(path).read_bytes()
        if data.startswith(b"\x1f\x8b"):
            try:
                data = gzip.decompress(data)
            except EOFError:
                raise ValueError(f"{path}: the file ends in the middle of its gzip stream") from None
            except zlib.error as error:
                raise ValueError(f"{path}: its gzip stream is damaged: {error}") from None
        calls = []
        for number, line in enumerate(data.splitlines(), start=1):
            if line.strip():
                calls.append(self._call(path, number, line))
        self._calls = sorted(calls, key=_POSITION)

    @staticmethod
    def _call(path: str | Path, number: int, line: bytes) -> Call:
        try:
            record = msgspec.json.decode(line)
            if not isinstance(record, Mapping):
                raise ValueError("not a JSON object")
            return call_of(record, number)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
