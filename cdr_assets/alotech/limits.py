"""Politeness to the vendor: requests in flight and requests started a second, in a process or on a machine.

Written by hand because the libraries at hand do not do it between processes without polling a database: a
booked start time needs one small file, and a slot is a lock that the kernel frees when its holder dies.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import ConfigurationError

#: How long to wait before looking again for a slot that another process may have freed, in seconds.
_SLOT_POLL = 0.01
#: A start booked further ahead than this many requests is a leftover of the clock before a reboot.
_LONGEST_QUEUE = 100


class Limits:
    """At most `max_concurrency` requests in flight and `requests_per_second` started, 0 meaning no limit.

    With a `folder`, all processes that use the same folder share both limits; the slot of a process that died
    is free at once. Without one they hold among the threads of this object.
    Raises ConfigurationError if the folder cannot be written.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_second: float,
        folder: Path | None,
        sleep: Callable[[float], None],
    ) -> None:
        if max_concurrency < 0 or requests_per_second < 0:
            raise ValueError("a limit is a positive number, or 0 for none")
        self._interval = 1 / requests_per_second if requests_per_second else 0.0
        self._sleep = sleep
        self._in_flight = threading.BoundedSemaphore(max_concurrency) if max_concurrency else None
        self._mutex = threading.Lock()
        self._next_start = 0.0
        self._slots: deque[FileLock] | None = None
        self._booking: Path | None = None
        if folder is not None:
            self._booking = folder / "requests"
            with self._usable_folder():
                folder.mkdir(parents=True, exist_ok=True)
                self._booking.touch()
            self._booking_lock = FileLock(folder / "requests.lock", thread_local=False, poll_interval=0.002)
            if max_concurrency:
                # One lock object a slot, handed to one thread at a time: a FileLock that two threads share
                # counts the second as a re-entry of the first and lets both in.
                self._slots = deque(
                    FileLock(folder / f"request-{number}.lock", thread_local=False) for number in range(max_concurrency)
                )

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Holds a place for one request; returns when it may start."""
        with self._in_flight or contextlib.nullcontext(), self._machine_slot():
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
        """Books the next free start and sleeps until it: fair, and one look at the clock a request."""
        with self._mutex:
            if self._booking is None:
                now, start = self._book(self._next_start)
                self._next_start = start + self._interval
            else:
                with self._usable_folder(), self._booking_lock:
                    now, start = self._book(_number(self._booking.read_text()))
                    self._booking.write_text(repr(start + self._interval))
        if start > now:
            self._sleep(start - now)

    @contextlib.contextmanager
    def _usable_folder(self) -> Iterator[None]:
        """Says what is wrong with the folder, a disk that has become full included."""
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
        # The monotonic clock is one for all processes of a machine and does not jump; it restarts at boot.
        now = time.monotonic()
        if next_start > now + _LONGEST_QUEUE * self._interval:
            next_start = now
        return now, max(now, next_start)


def _number(text: str) -> float:
    """The booked time, or 0 where the writer was killed between emptying the file and filling it."""
    try:
        return float(text)
    except ValueError:
        return 0.0
