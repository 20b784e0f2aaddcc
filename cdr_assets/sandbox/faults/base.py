"""The base class of faults: which requests a fault hits, how often, and at which steps it can change an answer.

The faults themselves are in the other modules here; `serving` calls them.
"""

import math
import threading
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import msgspec

from cdr_assets.sandbox.answer import Answer
from cdr_assets.sandbox.api import digest
from cdr_assets.sandbox.calls import SIGNATURE, Call, Source

Place = Literal["any", "first", "middle", "last"]

# For how many distinct requests a fault remembers its hits. After that many others, it hits an old request again.
_REMEMBERED = 100_000


@dataclass
class Listing:
    """A page. `calls` are those of the page without faults, `records` are the records to serve."""

    calls: list[Call]
    records: list[Any]
    cursor: str | None
    has_cursor: bool
    first: bool
    last: bool

    def set_cursor(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.has_cursor = True

    def render(self, signature: bytes) -> bytes:
        answer = {"CallList": self.records} | ({"cursor": self.cursor} if self.has_cursor else {})
        return msgspec.json.encode(answer).replace(SIGNATURE, signature)


@dataclass
class Exchange:
    """A request for a page, and its answer once there is one. `page` is set before `Fault.change` is called, `answer`
    before `Fault.deliver`. Faults may change everything."""

    parameters: dict[str, str]
    token: str
    accepts_gzip: bool
    # Each fault's notes, made in `asked` and used in `change`.
    notes: dict["Fault", Any] = field(default_factory=dict)
    page: Listing = field(init=False)
    answer: Answer = field(init=False)

    def __post_init__(self) -> None:
        # Computed here, before any fault unwraps the cursor.
        self.identity = f"{digest(self.parameters)} {self.parameters.get('cursor', '')}"


class Fault:
    """One way in which the API can misbehave. A subclass overrides the methods it needs; its docstring says what it
    does
    and what a client should do about it.

    `at` says which pages of a chain are hit: the first, those in the middle, the last, or any. `times` is how often
    each distinct request is hit before it gets a good answer (`math.inf`: it never does); the default is once if the
    fault `passes`, otherwise always. `share` is the share of requests that can be hit; it depends only on `seed` and
    the request. `time_zone` is the tenant's. A fault belongs to one sandbox.
    """

    passes: ClassVar[bool] = False
    # If several such faults could hit a request, only the first does, so that a client that tries again meets each.
    replaces_answer: ClassVar[bool] = False
    # Runs after the other faults, because they cannot change a compressed body.
    compresses: ClassVar[bool] = False
    usual_share: ClassVar[float] = 1.0
    # How many records the fault adds to a page. The page then holds that many fewer of its own.
    room: ClassVar[int] = 0

    def __init__(
        self,
        at: Place = "any",
        times: float | None = None,
        share: float | None = None,
        seed: int = 0,
        time_zone: str = "Europe/Istanbul",
    ) -> None:
        self.at = at
        self.times = times if times is not None else 1 if self.passes else math.inf
        self.share = self.usual_share if share is None else share
        self.seed = seed
        self.zone = ZoneInfo(time_zone)
        self._hits: Counter[str] = Counter()
        self._counting = threading.Lock()

    def source(self, source: Source) -> Source:
        """Returns the source to serve in place of the given one."""
        return source

    def asked(self, exchange: Exchange) -> None:
        """Called before the page is made: may change the parameters."""

    def change(self, exchange: Exchange) -> None:
        """Changes the page's records and cursor. May raise RefusedError."""

    def deliver(self, exchange: Exchange) -> None:
        """Changes the answer's status, headers, body, and how it is written to the socket."""

    def is_at(self, exchange: Exchange) -> bool:
        """Whether the page's place in the chain is hit."""
        match self.at:
            case "any":
                return True
            case "first":
                return exchange.page.first
            case "last":
                return exchange.page.last
            case "middle":
                return not exchange.page.first and not exchange.page.last

    def is_meant(self, exchange: Exchange) -> bool:
        """Whether the request is among those that can be hit."""
        return self.is_at(exchange) and self.chance(exchange.identity) < self.share

    def hits(self, exchange: Exchange) -> bool:
        """Whether the request is hit this time. Counts the hit."""
        if not self.is_meant(exchange):
            return False
        with self._counting:
            if self._hits[exchange.identity] >= self.times:
                return False
            self._hits[exchange.identity] += 1
            if len(self._hits) > _REMEMBERED:
                del self._hits[next(iter(self._hits))]
        return True

    def chance(self, what: str) -> float:
        """A number in [0, 1) that depends only on the seed, the fault's class and the text."""
        return zlib.crc32(f"{self.seed} {type(self).__name__} {what}".encode()) / 2**32
