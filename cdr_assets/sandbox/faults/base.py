"""What a fault is: where in a chain of pages it hits, how often, and the places at which it can change an answer."""

import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import orjson

from cdr_assets.sandbox.answer import Answer
from cdr_assets.sandbox.api import digest
from cdr_assets.sandbox.calls import SIGNATURE, Call, Source

Place = Literal["any", "first", "middle", "last"]

# Distinct requests whose hits are remembered; a client that comes back to one after that many others is hit again.
_REMEMBERED = 100_000


@dataclass
class Request:
    """A request for a page, as faults see it. They may change `parameters` before the page is made."""

    parameters: dict[str, str]
    token: str
    accepts_gzip: bool
    # What a fault finds out in `asked` for its own `change`.
    notes: dict["Fault", Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identity = f"{digest(self.parameters)} {self.parameters.get('cursor', '')}"


@dataclass
class Listing:
    """A page that faults may change. `calls` are those of the well-behaved page, `records` what is to be served."""

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
        return orjson.dumps(answer).replace(SIGNATURE, signature)


class Fault:
    """One way for the API to misbehave. Subclasses override what they change; their docstring says what they do and
    what a client should make of it.

    `at` is the place in the chain that is hit: the first page, those in the middle, the last, or any. `times` is how
    often each distinct request is hit before it is answered well; None: always. `share` is the share of the requests
    that are hit at all, chosen by `seed` and the request alone. A fault belongs to one sandbox.
    """

    # What healing takes: a fault that passes hits a request once, another hits it always.
    passes: ClassVar[bool] = False
    # Of several such faults only one hits a request at a time, so that a client meets each of them.
    replaces_answer: ClassVar[bool] = False
    # Records that the fault adds to a page; the page holds as many fewer others.
    room: ClassVar[int] = 0

    def __init__(self, at: Place = "any", times: int | None = -1, share: float = 1.0, seed: int = 0) -> None:
        self.at = at
        self.times = (1 if self.passes else None) if times == -1 else times
        self.share = share
        self.seed = seed
        self._hits: Counter[str] = Counter()

    def source(self, source: Source) -> Source:
        """The calls that are served instead of the source's."""
        return source

    def asked(self, request: Request) -> None:
        """Before the page is made."""

    def change(self, page: Listing, request: Request) -> None:
        """The page's records and cursor. May raise RefusedError."""

    def deliver(self, answer: Answer, request: Request) -> None:
        """The answer's status, headers, body and way to the socket."""

    def hits(self, page: Listing, request: Request) -> bool:
        """Whether the request is to be hit now; counts it."""
        if not (
            self.at == "any"
            or (self.at == "first" and page.first)
            or (self.at == "last" and page.last)
            or (self.at == "middle" and not page.first and not page.last)
        ):
            return False
        if self.chance(request.identity) >= self.share:
            return False
        if self.times is None:
            return True
        if self._hits[request.identity] >= self.times:
            return False
        self._hits[request.identity] += 1
        if len(self._hits) > _REMEMBERED:
            del self._hits[next(iter(self._hits))]
        return True

    def chance(self, what: str) -> float:
        """A number in [0, 1) that depends on the seed, the kind of fault and the text alone."""
        return zlib.crc32(f"{self.seed} {type(self).__name__} {what}".encode()) / 2**32
