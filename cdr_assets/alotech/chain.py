"""One chain of pages, each of which is asked for with the cursor of the one before: read to its end, or not at all.

A chain ends at a page without a cursor; at an empty page whose cursor was followed before (a query at its end keeps
pointing there); and at the second empty page in a row, whatever its cursor is. A single empty page with a new cursor
is not the end, because a filtered query may pass a stretch without a match.

A cursor may be refused. If the calls came in the order of time, they are complete before the second of the last
call. The pages so far then answer for the span before that second, and the rest of the window is asked for as a
slice that begins with it: its calls come twice and count once. If there is no such second, the last query is begun
anew, a bounded number of times.

Cursors and the end of a chain belong here. Retries of one request and slices that are read side by side are in
`client.py`; how a page's JSON is read is in `answer.py`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

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

#: How often in a row the same query is begun anew after its cursor was refused.
_MAX_RESTARTS = 2

#: Unsorted calls may come in the order of time by accident. Below this probability it counts as sorted.
_ACCIDENT = 1e-4

# A date such as 2026/03/02 or 2026.03.02. `transforms/` reads these spellings too.
_YEAR_FIRST = re.compile(r"^([0-9]{4})[/.]([0-9]{2})[/.]([0-9]{2})")

#: The bytes that all pages of a window may take together: about 250,000 calls.
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came: its body without the token, what it says, its requests, and the seconds of the last one."""

    body: bytes
    answer: Answer
    attempts: int
    seconds: float


class Budget:
    """The bytes that the pages of a window may take together; the chains of its slices share one budget."""

    def __init__(self) -> None:
        self._left = _MAX_BYTES
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises EndlessChainError if less than `size` is left; a negative size gives bytes back."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise EndlessChainError(f"the pages take more than {_MAX_BYTES >> 20} MB together")


class Chain:
    """The pages of one query, fetched in order; `fetch` may be called again to go on where it stopped.

    `send` fetches one page by its parameters, and raises an AlotechError after its own retries. `subject` begins
    each error ("calls from … to …"). `window` is the span that the pages answer for. `rest` makes the parameters
    for the rest of the window after a refused cursor; None means that the window must be asked for as a whole.
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
        """Makes this the query of the next request; keeps the first `kept` pages and drops the others."""
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
        """The HTTP requests so far, those for dropped pages included."""
        return self._wasted + sum(page.attempts for page in self.pages)

    def fetch(self, at_most: int | None = None) -> list[Page]:
        """The pages up to the chain's end, or the first `at_most` of them; goes on after a refused cursor.

        Raises the AlotechError that ended the chain. Its pages must not be used then.
        """
        while not self.ended and (at_most is None or len(self.pages) < at_most):
            where = f"{self._subject}, page {len(self.pages)}"
            if self._restarts:
                where += f" (begun anew {self._restarts} times)"
            try:
                self._next(where)
            except (ParameterRejectedError, RequestRefusedError, WrongAddressError) as error:
                # The same parameters were accepted before without a cursor, so the cursor is what is refused.
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
        )

    def _go_on(self, where: str, error: AlotechError) -> None:
        """Asks for the rest of the window, or begins anew; raises if that brought nothing new too often."""
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
        """The second before which the pages since the last refusal are complete; None where that is not certain."""
        if self._window is None or self._rest is None:
            return None
        reached, chance = _order(self.pages[self._kept :], self._window)
        if chance is None:
            # These calls are not sorted, so the earlier ones may not be either: ask for the whole window from now on.
            self._rest = None
            return None
        self._is_sorted = self._is_sorted or chance < _ACCIDENT
        return reached if self._is_sorted and reached is not None and reached > self._window.start else None

    def _end(self) -> None:
        # The window was cut because its calls seemed sorted. If the calls since then are not, the cut was wrong.
        if self._kept and self._reached() is None and self._rest is None:
            self._begin(0, *self._whole)
        else:
            self.ended = True


def _order(pages: Sequence[Page], window: Window) -> tuple[datetime | None, float | None]:
    """The second of the last call, and the probability that unsorted calls would be in the order of time like these.

    The probability is None if these are not in that order. Of a call that comes twice, the first place counts. Calls
    outside of the window and calls without a readable date are ignored.
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
    """A date cut to its second; None if it is unreadable, or has an offset and so is not the tenant's wall clock."""
    try:
        date = datetime.fromisoformat(_YEAR_FIRST.sub(r"\1-\2-\3", calldate)) if isinstance(calldate, str) else None
    except ValueError:
        return None
    return date.replace(microsecond=0) if date and date.tzinfo is None else None


def _at(where: str, error: AlotechError) -> AlotechError:
    error.where = where
    return error
