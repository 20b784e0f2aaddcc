"""What a fault is: where in a chain of pages it hits, how often, and the places at which it can change an answer."""

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

# Distinct requests whose hits are remembered; a client that comes back to one after that many others is hit again.
_REMEMBERED = 100_000


@dataclass
class Listing:
    """A page. `calls` are those of the well-behaved page, `records` what is to be served."""

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
    """A request for a page and its answer, as far as they have come. `page` is set before `Fault.change`, `answer`
    before `Fault.deliver`. Faults may change everything."""

    parameters: dict[str, str]
    token: str
    accepts_gzip: bool
    # What a fault finds out in `asked` for its own `change`.
    notes: dict["Fault", Any] = field(default_factory=dict)
    page: Listing = field(init=False)
    answer: Answer = field(init=False)

    def __post_init__(self) -> None:
        # Before any fault has unwrapped the cursor.
        self.identity = f"{digest(self.parameters)} {self.parameters.get('cursor', '')}"


class Fault:
    """One way for the API to misbehave. Subclasses override what they change; their docstring says what they do and
    what a client should make of it.

    `at` is the place in the chain that is hit: the first page, those in the middle, the last, or any. `times` is how
    often each distinct request is hit before it is answered well (`math.inf`: always); by default once where the fault
    `passes`, else always. `share` is the share of the requests that are hit at all, chosen by `seed` and the request
    alone. `time_zone` is the tenant's. A fault belongs to one sandbox.
    """

    passes: ClassVar[bool] = False
    # Of several such faults only one hits a request at a time, so that a client meets each of them.
    replaces_answer: ClassVar[bool] = False
    # Nothing else can be done to a body after it.
    compresses: ClassVar[bool] = False
    usual_share: ClassVar[float] = 1.0
    # Records that the fault adds to a page; the page holds as many fewer others.
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
        """The calls that are served instead of the source's."""
        return source

    def asked(self, exchange: Exchange) -> None:
        """Before the page is made."""

    def change(self, exchange: Exchange) -> None:
        """The page's records and cursor. May raise RefusedError."""

    def deliver(self, exchange: Exchange) -> None:
        """The answer's status, headers, body and way to the socket."""

    def is_at(self, exchange: Exchange) -> bool:
        """Whether the page is at the place that is hit."""
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
        """Whether the request is one of those that are hit at all."""
        return self.is_at(exchange) and self.chance(exchange.identity) < self.share

    def hits(self, exchange: Exchange) -> bool:
        """Whether the request is to be hit this time; counts it."""
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
        """A number in [0, 1) that depends on the seed, the kind of fault and the text alone."""
        return zlib.crc32(f"{self.seed} {type(self).__name__} {what}".encode()) / 2**32
