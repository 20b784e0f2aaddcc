"""Sources of given calls: a list that a test may change while the sandbox serves it, and a file of records.

Generated calls are in `centre`; what every source must offer is in `calls`.
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
    """A list of records in any shape, which are served unchanged.

    Records may be added, edited and removed while the sandbox serves them; a request sees the list either before or
    after a change. A record may have a member `activecallkey`: requests can find it by this key, but it is not served.
    """

    def __init__(self, records: Iterable[Any] = ()) -> None:
        """Raises ValueError for a record without a readable calldate; give such a record to `add`, with a time."""
        self._lock = threading.Lock()
        self._listed: dict[int, tuple[Any, Call]] = {}
        self._added = 0
        for record in records:
            self._list(record, None)
        self._sort()

    @property
    def records(self) -> list[Any]:
        """The listed records, in the order in which they were added."""
        with self._lock:
            return [record for record, _ in self._listed.values()]

    def add(self, record: Any, calldate: str | None = None) -> None:
        """Adds a record. `calldate` is the time at which to list it, for a record without a readable one."""
        with self._lock:
            self._list(record, calldate)
            self._sort()

    def edit(self, key: str, **members: Any) -> None:
        """Sets members of all records with this key. Raises KeyError if there is none."""
        with self._lock:
            for number in self._numbers(key):
                record, call = self._listed[number]
                edited = {**record, **members}
                # Keep the time that was given to `add`, unless this edit changes the calldate.
                place = None if "calldate" in members else call.calldate
                self._listed[number] = edited, call_of(edited, number, place)
            self._sort()

    def remove(self, key: str) -> None:
        """Removes all records with this key. Raises KeyError if there is none."""
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
        # Make a new list each time, so that a request that is being answered keeps the old one.
        self._calls = sorted((call for _, call in self._listed.values()), key=_POSITION)


class RecordsFile(_SortedCalls):
    """The records of a file with one JSON object per line. The file's first bytes, not its name, tell if it is
    gzipped."""

    def __init__(self, path: str | Path) -> None:
        """Reads the whole file. Raises OSError if it cannot, or ValueError with the number of a line that is no
        record."""
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
