"""Politeness to the vendor: the limits of requests in flight and of requests started a second.

They hold in one process, or for all processes of a machine that share a folder. This is written by hand because the
usual libraries poll a database to share limits between processes. Here a booked start needs one small file, and a
place for a request in flight is a lock on a file, which the kernel frees when its holder dies. The files stay open:
`filelock` opens them for each request, which takes ten times as long as the locking. The pauses between the
tries of a failed request do not belong here: `client.py` has them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from cdr_assets.domain.files import make_private, open_private

from .errors import ConfigurationError

#: Seconds to wait before looking again whether another process has freed a slot.
_SLOT_POLL = 0.01
#: A start that is booked further ahead than this many requests was written before the machine's last boot.
_LONGEST_QUEUE = 100
#: More bytes than the `repr` of any float.
_LONGEST_NUMBER = 32


class Limits:
    """At most `max_concurrency` requests in flight and `requests_per_second` started, 0 for any number a second.

    With a `folder`, all processes that use the same folder share both limits, and the slot of a process that died
    is free at once. Without a folder, the threads that use this object share them.
    Raises ConfigurationError if the folder cannot be written, OperatorError if another user planted something there.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_second: float,
        folder: Path | None,
        sleep: Callable[[float], None],
    ) -> None:
        if max_concurrency < 1 or requests_per_second < 0:
            raise ValueError(
                "at least one request must be allowed at once; requests a second: 0 for any number, or more"
            )
        self._interval = 1 / requests_per_second if requests_per_second else 0.0
        self._sleep = sleep
        self._in_flight = threading.BoundedSemaphore(max_concurrency)
        self._mutex = threading.Lock()
        self._next_start = 0.0
        self._folder = folder
        if folder is not None:
            with self._usable_folder():
                make_private(folder)
                self._booking = _LockedFile(folder / "requests")
                self._slots = deque(_LockedFile(folder / f"request-{n}.lock") for n in range(max_concurrency))

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Holds a place for one request, from the moment when it may start."""
        with self._in_flight:
            slot = self._await_slot() if self._folder else None
            try:
                if self._interval:
                    self._await_turn()
                yield
            finally:
                if slot:
                    slot.free()
                    self._slots.appendleft(slot)

    def _await_slot(self) -> _LockedFile:
        while True:
            with self._mutex, self._usable_folder():
                # A copy, because other threads put their slots back meanwhile.
                for slot in tuple(self._slots):
                    if slot.take(wait=False):
                        self._slots.remove(slot)
                        return slot
            self._sleep(_SLOT_POLL)

    def _await_turn(self) -> None:
        """Books the next free start and sleeps until then, so that requests start in the order of their booking."""
        with self._mutex:
            if self._folder is None:
                now, start = self._book(self._next_start)
                self._next_start = start + self._interval
            else:
                with self._usable_folder():
                    self._booking.take(wait=True)
                    try:
                        now, start = self._book(self._booking.read())
                        self._booking.write(start + self._interval)
                    finally:
                        self._booking.free()
        if start > now:
            self._sleep(start - now)

    @contextlib.contextmanager
    def _usable_folder(self) -> Iterator[None]:
        """Turns errors of the folder into one line for the operator; a disk that became full is one of them."""
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"the folder of request limits {self._folder} cannot be written: {error.strerror}",
                advice="make it writable, or choose another data folder",
            ) from None

    def _book(self, next_start: float) -> tuple[float, float]:
        # All processes of a machine share the monotonic clock, and it does not jump. It restarts at boot: a start
        # that was booked before then lies far in the future, and is dropped.
        now = time.monotonic()
        if next_start > now + _LONGEST_QUEUE * self._interval:
            next_start = now
        return now, max(now, next_start)


class _LockedFile:
    """A file that stays open, with a lock on it and a number in it. One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_private(path)

    def take(self, *, wait: bool) -> bool:
        """Whether the lock is now ours. The kernel frees it if this process dies."""
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if os.fstat(self._file.fileno()).st_nlink:
                return True
            # Somebody deleted the file. Other processes lock the one that they find in its place.
            deleted, self._file = self._file, open_private(self._path)
            deleted.close()

    def free(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def read(self) -> float:
        """The number, or 0 if there is none yet, or only half of one: its writer was killed."""
        try:
            return float(os.pread(self._file.fileno(), _LONGEST_NUMBER, 0))
        except ValueError:
            return 0.0

    def write(self, number: float) -> None:
        os.pwrite(self._file.fileno(), f"{number!r:<{_LONGEST_NUMBER}}".encode(), 0)

    def __del__(self) -> None:
        # Not closed with the client, because its last requests may still be under way then.
        if hasattr(self, "_file"):
            self._file.close()
