"""One chain of pages, from its first request to its end, whole or not at all.

Where a chain ends: at a page without a cursor; at an empty page whose cursor was followed before (a query that
has reached its end keeps pointing there); at the second empty page in a row, whatever its cursor. A single
empty page with a new cursor is not an end, since a filtered query may scan a stretch without a match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from .answer import Answer
from .errors import (
    AlotechError,
    EndlessChainError,
    ParameterRejectedError,
    RepeatedCursorError,
    RequestRefusedError,
)
from .models import Page, Window

#: How often a chain is begun anew after one of its cursors was refused.
_MAX_RESTARTS = 2


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as the network gave it: its body fit to be kept, what it says, how long the last try took."""

    body: bytes
    answer: Answer
    attempts: int
    seconds: float


class Chain:
    """The pages of one request, fetched in order; `fetch` may be called again to go on where it stopped.

    `send` fetches one page by its parameters, and raises an AlotechError after its own retries. `subject`
    begins each error ("calls from … to …"); `window` is what the pages say they answer for.
    """

    def __init__(
        self,
        send: Callable[[Mapping[str, str], str], Fetched],
        parameters: Mapping[str, str],
        subject: str,
        window: Window | None,
        max_pages: int,
    ) -> None:
        self._send = send
        self._parameters = parameters
        self._subject = subject
        self._window = window
        self._max_pages = max_pages
        self._restarts = 0
        self._wasted = 0
        self._begin()

    def _begin(self) -> None:
        self.pages: list[Page] = []
        self.ended = False
        self.last: Fetched | None = None
        self._cursor: str | None = None
        self._followed: set[str] = set()

    @property
    def requests(self) -> int:
        """The HTTP requests spent so far."""
        return self._wasted + sum(page.attempts for page in self.pages)

    def fetch(self, at_most: int | None = None) -> list[Page]:
        """The pages up to the chain's end, or the first `at_most` of them.

        A cursor that the server does not take any more begins the chain anew, a bounded number of times: what
        came before it may have changed since. Raises the AlotechError that ended the chain; no page is then
        to be used.
        """
        while not self.ended and (at_most is None or len(self.pages) < at_most):
            where = f"{self._subject}, page {len(self.pages)}"
            if self._restarts:
                where += f" (begun anew {self._restarts} times)"
            try:
                self._next(where)
            except (ParameterRejectedError, RequestRefusedError) as error:
                # The first page took every parameter but the cursor, so it is the cursor that is refused.
                if not self.pages or self._restarts == _MAX_RESTARTS:
                    raise
                self._restarts += 1
                self._wasted = self.requests + error.attempts
                self._begin()
        return self.pages

    def _next(self, where: str) -> None:
        number = len(self.pages)
        if number == self._max_pages:
            raise _at(where, EndlessChainError(f"the chain goes on after {self._max_pages} pages"))
        parameters = dict(self._parameters)
        if self._cursor is not None:
            parameters["cursor"] = self._cursor
        fetched = self._send(parameters, where)
        answer = fetched.answer
        after_empty = number > 0 and self.pages[-1].record_count == 0
        self.pages.append(self._page(number, fetched))
        self.last = fetched
        if answer.cursor is None or (answer.record_count == 0 and after_empty):
            self.ended = True
        elif answer.cursor in self._followed:
            if answer.record_count:
                raise _at(where, RepeatedCursorError("the page points back to a cursor that was followed before"))
            self.ended = True
        else:
            self._followed.add(answer.cursor)
            self._cursor = answer.cursor

    def _page(self, number: int, fetched: Fetched) -> Page:
        attempts = fetched.attempts
        if number == 0:
            attempts, self._wasted = attempts + self._wasted, 0
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


def _at(where: str, error: AlotechError) -> AlotechError:
    error.where = where
    return error
