"""What AloTech is asked for and what comes back: windows, filters and pages.

Only these values and the checks of their own content belong here. Requests are made in `client.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cdr_assets.domain.masking import mask

#: The most records that the vendor puts on a page.
PAGE_SIZE = 100


@dataclass(frozen=True)
class Window:
    """A span of the tenant's wall clock, [start, finish): naive datetimes in whole seconds.

    Raises ValueError for anything else: a request has no room for a zone or for fractions of a second.
    """

    start: datetime
    finish: datetime

    def __post_init__(self) -> None:
        for moment in (self.start, self.finish):
            if moment.tzinfo is not None or moment.microsecond:
                raise ValueError(f"a window is naive local time in whole seconds, not {moment!r}")
        if self.start >= self.finish:
            raise ValueError(f"a window must start before it finishes, not {self}")

    def __str__(self) -> str:
        return f"calls from {self.start} to {self.finish}"


@dataclass(frozen=True)
class Filters:
    """The optional parameters of `reportsCDRLogs`. The first five leave calls out, the others add fields to each call.

    Raises ValueError for a blank filter, because the server might take it for no filter.
    """

    agent: str | None = None
    agent_username: str | None = None
    queue: str | None = None
    csat_only: bool = False
    untransferred: bool = False
    include_call_history: bool = True
    include_csat: bool = True
    include_call_tags: bool = True

    def __post_init__(self) -> None:
        for name in ("agent", "agent_username", "queue"):
            value: str | None = getattr(self, name)
            if value is not None and not value.strip():
                raise ValueError(f"filter {name} is blank: leave it out or give it a value")

    def parameters(self) -> dict[str, str]:
        """The parameters of the request; those that are off are not sent, since off is the vendor's default."""
        values = {name: "true" if value is True else value for name, value in vars(self).items()}
        return {name: value for name, value in values.items() if value}

    def narrowing(self) -> dict[str, str]:
        """The parameters that leave calls out."""
        return {name: value for name, value in self.parameters().items() if not name.startswith("include_")}

    def arrays(self) -> list[str]:
        """The arrays that are asked for, by their names in the records."""
        asked = {
            "call_history": self.include_call_history,
            "csat_answers": self.include_csat,
            "call_tags": self.include_call_tags,
        }
        return [name for name, included in asked.items() if included]


@dataclass(frozen=True)
class Page:
    """One answer of a chain, as received.

    `number` counts from 0 within its chain. `window_start` and `window_finish` (naive local time) are the span
    [start, finish) that the chain answers for, both None for a single call. The page may hold other calls too: only
    those with `calldate` in that span count. `body` is the decompressed answer without the app token, in case the
    server echoed it; `charset` decodes it. `attempts` counts the HTTP requests for the page; the requests for pages
    that were dropped are added to the page that came next. `fetched_at` is aware UTC.
    """

    number: int
    window_start: datetime | None
    window_finish: datetime | None
    body: bytes
    charset: str
    record_count: int
    attempts: int
    fetched_at: datetime


def call_with(name: str, key: str) -> str:
    """How messages name a single call. Click-to-call may be given the phone number itself as ID, which is masked."""
    return f"call with {name} {mask(key) if name == 'uniqueid' else key}"
