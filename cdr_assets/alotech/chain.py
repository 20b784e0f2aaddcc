"""One chain of pages, from its first request to its end, whole or not at all.

Where a chain ends: at a page without a cursor; at an empty page whose cursor was followed before (a query that
has reached its end keeps pointing there); at the second empty page in a row, whatever its cursor. A single
empty page with a new cursor is not an end, since a filtered query may scan a stretch without a match.

Where a cursor is refused: calls that came in the order of time are complete up to the second of the last of them.
The pages so far answer for the span before that second, and the rest of the window is asked for from there, as a
slice of its own: what lies on both sides of the border comes twice and counts once. Where there is no such second,
what was asked for last is begun anew, a bounded number of times.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from .answer import Answer, records_of
from .errors import (
    AlotechError,
    EndlessChainError,
    ExpiredCursorError,
    ParameterRejectedError,
    RepeatedCursorError,
    RequestRefusedError,
    WrongAddressError,
)
from .models import Page, Window

#: How often in a row the same is begun anew after a cursor was refused.
_MAX_RESTARTS = 2

#: Calls in no order at all would come in the order of time by accident: less often than this, it is no accident.
_ACCIDENT = 1e-4

# The loader reads these too.
_YEAR_FIRST = re.compile(r"^([0-9]{4})[/.]([0-9]{2})[/.]([0-9]{2})")

#: What the pages of a window may take together: some 250,000 calls.
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as the network gave it: its body fit to be kept, what it says, how long the last try took."""

    body: bytes
    answer: Answer
    attempts: int
    seconds: float


class Budget:
    """The bytes that pages may take together; the chains of a window's slices share one."""

    def __init__(self) -> None:
        self._left = _MAX_BYTES
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises EndlessChainError where that is more than is left; a negative size gives back."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise EndlessChainError(f"the pages take more than {_MAX_BYTES >> 20} MB together")


class Chain:
    """The pages of one request, fetched in order; `fetch` may be called again to go on where it stopped.

    `send` fetches one page by its parameters, and raises an AlotechError after its own retries. `subject`
    begins each error ("calls from … to …"); `window` is what the pages say they answer for. `rest` makes the
    parameters for what is left of the window; None where the window can only be asked for as a whole.
    """

    def __init__(
        self,
        send: Callable[[Mapping[str, str], str], Fetched],
        parameters: Mapping[str, str],
        subject: str,
        window: Window | None,
        *,
        max_pages: int,
        budget: Budget,
        rest: Callable[[Window], Mapping[str, str]] | None = None,
    ) -> None:
        self._send = send
        self._whole = parameters, subject, window
        self._max_pages = max_pages
        self._budget = budget
        self._rest = rest
        self._is_sorted = False
        self._restarts = 0
        self._wasted = 0
        self.pages: list[Page] = []
        self.ended = False
        self.last: Fetched | None = None
        self._begin(0, *self._whole)

    def _begin(self, kept: int, parameters: Mapping[str, str], subject: str, window: Window | None) -> None:
        """Asks for this from the next request on; of the pages the first `kept` stay."""
        dropped = self.pages[kept:]
        self._wasted += sum(page.attempts for page in dropped)
        self._budget.take(-sum(len(page.body) for page in dropped))
        del self.pages[kept:]
        self._kept = kept
        self._parameters, self._subject, self._window = parameters, subject, window
        self._cursor: str | None = None
        self._followed: set[str] = set()

    @property
    def requests(self) -> int:
        """The HTTP requests spent so far."""
        return self._wasted + sum(page.attempts for page in self.pages)

    def fetch(self, at_most: int | None = None) -> list[Page]:
        """The pages up to the chain's end, or the first `at_most` of them.

        Goes on after a cursor that the server does not take any more. Raises the AlotechError that ended the
        chain; no page is then to be used.
        """
        while not self.ended and (at_most is None or len(self.pages) < at_most):
            where = f"{self._subject}, page {len(self.pages)}"
            if self._restarts:
                where += f" (begun anew {self._restarts} times)"
            try:
                self._next(where)
            except (ParameterRejectedError, RequestRefusedError, WrongAddressError) as error:
                # The same parameters were taken before without a cursor, so it is the cursor that is refused.
                if self._cursor is None:
                    raise
                self._wasted += error.attempts
                self._go_on(where, error)
        return self.pages

    def _next(self, where: str) -> None:
        number = len(self.pages)
        if number == self._max_pages:
            raise _at(where, EndlessChainError(f"the chain goes on after {self._max_pages} pages"))
        parameters = dict(self._parameters)
        if self._cursor is not None:
            parameters["cursor"] = self._cursor
        fetched = self._send(parameters, where)
        try:
            self._budget.take(len(fetched.body))
        except EndlessChainError as error:
            raise _at(where, error) from None
        answer = fetched.answer
        after_empty = number > self._kept and self.pages[-1].record_count == 0
        self.pages.append(self._page(number, fetched))
        self.last = fetched
        if answer.cursor is None or (answer.record_count == 0 and after_empty):
            self._end()
        elif answer.cursor in self._followed:
            if answer.record_count:
                raise _at(where, RepeatedCursorError("the page points back to a cursor that was followed before"))
            self._end()
        else:
            self._followed.add(answer.cursor)
            self._cursor = answer.cursor

    def _page(self, number: int, fetched: Fetched) -> Page:
        attempts, self._wasted = fetched.attempts + self._wasted, 0
        return Page(
            number=number,
            window_start=self._window.start if self._window else None,
            window_finish=self._window.finish if self._window else None,
            body=fetched.body,
            charset=fetched.answer.charset,
            record_count=fetched.answer.record_count,
            attempts=attempts,
            fetched_at=datetime.now(UTC),
            content_hash=sha256(fetched.body).hexdigest(),
        )

    def _go_on(self, where: str, error: AlotechError) -> None:
        """Asks for the rest of the window, or begins anew; raises where that was done too often in vain."""
        reached = self._reached()
        if reached is not None:
            self._restarts = 0
        elif self._restarts < _MAX_RESTARTS:
            self._restarts += 1
        elif not isinstance(error, RequestRefusedError):
            refused = ExpiredCursorError(f"the cursor is refused each time before anything new comes ({error.met})")
            raise _at(where, refused) from None
        else:
            raise error
        if self._window and self._rest and reached is not None:
            self.pages[self._kept :] = [replace(page, window_finish=reached) for page in self.pages[self._kept :]]
            rest = Window(reached, self._window.finish)
            self._begin(len(self.pages), self._rest(rest), str(rest), rest)
        elif self._rest:
            self._begin(self._kept, self._parameters, self._subject, self._window)
        else:
            self._begin(0, *self._whole)

    def _reached(self) -> datetime | None:
        """The second up to which the pages since the last refusal are complete; None where that is not sure."""
        if self._window is None or self._rest is None:
            return None
        reached, chance = _order(self.pages[self._kept :], self._window)
        if chance is None:
            # What came earlier may have come in any order too: the window is asked for as a whole from now on.
            self._rest = None
            return None
        self._is_sorted = self._is_sorted or chance < _ACCIDENT
        return reached if self._is_sorted and reached is not None and reached > self._window.start else None

    def _end(self) -> None:
        # A slice was cut where calls seemed to come in the order of time: what came since must not tell otherwise.
        if self._kept and self._reached() is None and self._rest is None:
            self._begin(0, *self._whole)
        else:
            self.ended = True


def _order(pages: Sequence[Page], window: Window) -> tuple[datetime | None, float | None]:
    """The second of the last call, and how probably calls in no order at all come in the order of time as these do.

    The chance is None where they do not. A call that comes again is where it came first; those outside of the window
    or without a date to be read say nothing.
    """
    reached: datetime | None = None
    chance, calls, tied = 1.0, 0, 0
    seen = set[str]()
    for page in pages:
        for record in records_of(page.body, page.charset):
            if not isinstance(record, dict):
                continue
            second, key = _second(record.get("calldate")), str(record.get("key"))
            if second is None or not window.start <= second < window.finish or key in seen:
                continue
            seen.add(key)
            if reached is not None and second < reached:
                return None, None
            tied = tied + 1 if second == reached else 1
            calls += 1
            chance *= tied / calls
            reached = second
    return reached, chance


def _second(calldate: object) -> datetime | None:
    """The second of a date, the year first; None where it is not the tenant's wall clock, or cannot be read."""
    try:
        date = datetime.fromisoformat(_YEAR_FIRST.sub(r"\1-\2-\3", calldate)) if isinstance(calldate, str) else None
    except ValueError:
        return None
    return date.replace(microsecond=0) if date and date.tzinfo is None else None


def _at(where: str, error: AlotechError) -> AlotechError:
    error.where = where
    return error
