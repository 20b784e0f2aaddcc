"""A tenant whose server behaves in any way that the vendor's documentation leaves open.

The property tests of chains and of whole loads draw the behaviours at random.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cdr_assets_tests.alotech.server import Action, Answer, page, record, refused, reset

#: What a request may meet before it is answered well; the last one is only for requests with a cursor.
FAULTS: list[Action] = [
    reset,
    Answer(b"", 429, {"Retry-After": "30"}),
    Answer(b"", 503, {}),
    Answer(b"<html>"),
    Answer(page([record("half")]).body, cut=9),
    Answer(page([record("half")]).body[:-9]),
    refused("something happened"),
    refused("cursor has expired"),
]


@dataclass
class Tenant:
    """The calls of a tenant and how its server behaves.

    `bounds`: whether the window's start and finish belong to the window. `ending`: what comes with the last page and
    after it. `gaps`: the number of empty pages before each page but the first. `is_sorted`: calls come by calldate,
    up or down as the request says, and ties in the order of `calls`; otherwise all come in the order of `calls`.
    `repeats`: so many calls of each page come on the next page again; the first time they come as `earlier` makes
    them. `faults`: what the requests meet, one after the other.
    """

    calls: list[dict[str, Any]]
    page_size: int
    bounds: tuple[bool, bool]
    ending: str
    gaps: int
    is_sorted: bool = True
    repeats: int = 0
    earlier: Callable[[dict[str, Any]], dict[str, Any]] = dict
    faults: list[int | None] = field(default_factory=list)

    def answer(self, asked: dict[str, str]) -> Action:
        fault = self.faults.pop(0) if self.faults else None
        # A request without a cursor cannot have its cursor refused.
        if fault is not None and not (fault == len(FAULTS) - 1 and "cursor" not in asked):
            return FAULTS[fault]
        start, finish = asked["startdate"], asked["finishdate"]
        chosen = [
            c
            for c in self.calls
            if (start < c["calldate"] or (self.bounds[0] and start == c["calldate"][:19]))
            and (c["calldate"] < finish or (self.bounds[1] and finish == c["calldate"][:19]))
        ]
        if self.is_sorted:
            chosen.sort(key=lambda c: str(c["calldate"]), reverse=asked["sorting"] == "desc")
        at, gap = (int(part) for part in asked.get("cursor", "0-0").split("-"))
        if gap < self.gaps and at:
            # A stretch without a match: no records, and the cursor moves on.
            return page([], f"{at}-{self.gaps}")
        records, after = chosen[max(at - self.repeats, 0) : at + self.page_size], at + self.page_size
        if at >= len(chosen):
            records = []
        if after < len(chosen):
            come_again = min(self.repeats, len(records))
            first = [*records[: len(records) - come_again], *map(self.earlier, records[len(records) - come_again :])]
            return page(first, f"{after}-0")
        match self.ending:
            case "absent":
                return Answer(json.dumps({"CallList": records}).encode())
            case "blank":
                return page(records, "")
            case "cursor, then an empty page":
                return page(records, f"{after}-{self.gaps}" if records else None)
            case "the same cursor for ever":
                return page(records, f"{len(chosen) + 1000}-{self.gaps}")
            case "new cursors for ever":
                return page(records, f"{after}-{self.gaps + gap + 1}")
            case "no list":
                return page(records, f"{after}-{self.gaps}") if records else Answer(b'{"CallList": null}')
            case _:
                return page(records, None)


ENDINGS = [
    "null",
    "absent",
    "blank",
    "cursor, then an empty page",
    "the same cursor for ever",
    "new cursors for ever",
    "no list",
]
