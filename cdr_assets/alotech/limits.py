"""Politeness to the vendor: the limits of requests in flight and of requests started a second.

They hold in one process, or for all processes of a machine that share a folder. This is written by hand because the
usual libraries poll a database to share limits between processes. Here a booked start needs one small file, and a
place for a request in flight is a file lock, which the kernel frees when its holder dies. The pauses between the
tries of a failed request do not belong here: `client.py` has them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from cdr_assets.domain.files import lock, make_private, open_private

from .errors import ConfigurationError

#: Seconds to wait before looking again whether another process has freed a slot.
_SLOT_POLL = 0.01
#: A start that is booked further ahead than this many requests was written before the machine's last boot.
_LONGEST_QUEUE = 100


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
        self._slots: deque[FileLock] | None = None
        self._booking: Path | None = None
        if folder is not None:
            self._booking = folder / "requests"
            with self._usable_folder():
                make_private(folder)
                open_private(self._booking).close()
            self._booking_lock = lock(folder / "requests.lock", thread_local=False, poll_interval=0.002)
            # One lock object for each slot, used by one thread at a time: if two threads shared a FileLock, it would
            # take the second for a re-entry of the first and let both in.
            self._slots = deque(
                lock(folder / f"request-{number}.lock", thread_local=False) for number in range(max_concurrency)
            )

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Holds a place for one request, from the moment when it may start."""
        with self._in_flight, self._machine_slot():
            if self._interval:
                self._await_turn()
            yield

    @contextlib.contextmanager
    def _machine_slot(self) -> Iterator[None]:
        if self._slots is None:
            yield
            return
        while (slot := self._take_slot(self._slots)) is None:
            self._sleep(_SLOT_POLL)
        try:
            yield
        finally:
            slot.release()
            self._slots.appendleft(slot)

    def _take_slot(self, slots: deque[FileLock]) -> FileLock | None:
        with self._mutex, self._usable_folder():
            for _ in range(len(slots)):
                slot = slots.popleft()
                try:
                    slot.acquire(blocking=False)
                except Timeout:
                    slots.append(slot)
                else:
                    return slot
        return None

    def _await_turn(self) -> None:
        """Books the next free start and sleeps until then, so that requests start in the order of their booking."""
        with self._mutex:
            if self._booking is None:
                now, start = self._book(self._next_start)
                self._next_start = start + self._interval
            else:
                with self._usable_folder(), self._booking_lock, open_private(self._booking) as file:
                    now, start = self._book(_number(file.read()))
                    file.seek(0)
                    file.truncate()
                    file.write(repr(start + self._interval))
        if start > now:
            self._sleep(start - now)

    @contextlib.contextmanager
    def _usable_folder(self) -> Iterator[None]:
        """Turns errors of the folder into one line for the operator; a disk that became full is one of them."""
        try:
            yield
        except Timeout:
            raise
        except OSError as error:
            folder = self._booking and self._booking.parent
            raise ConfigurationError(
                f"the folder of request limits {folder} cannot be written: {error.strerror}",
                advice="make it writable, or choose another data folder",
            ) from None

    def _book(self, next_start: float) -> tuple[float, float]:
        # All processes of a machine share the monotonic clock, and it does not jump. It restarts at boot: a start
        # that was booked before then lies far in the future, and is dropped.
        now = time.monotonic()
        if next_start > now + _LONGEST_QUEUE * self._interval:
            next_start = now
        return now, max(now, next_start)


def _number(text: str) -> float:
    """The booked time, or 0 if its writer was killed after it had emptied the file and before it had filled it."""
    try:
        return float(text)
    except ValueError:
        return 0.0
