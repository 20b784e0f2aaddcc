"""How a run ends for each fault of the sandbox. `test_faults` checks it, and docs/faults.md is generated from it.

python -m cdr_assets_tests.ingest.outcomes      # writes the page
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cdr_assets.alotech import AlotechClient
from cdr_assets.domain.project import PROJECT
from cdr_assets.sandbox import FAULTS

PAGE = PROJECT / "docs" / "faults.md"


class Ends(StrEnum):
    """How an hour ends that is served with a fault."""

    EXACTLY = "loads exactly"
    RETRIED = "tries again, loads exactly"
    BEGUN_ANEW = "goes on, or begins the chain of pages anew, and loads exactly"
    GONE_ON = "goes on from the second of the last call, loads exactly"
    AS_SENT = "loads what was sent"
    FAILED = "fails the hour"


@dataclass(frozen=True)
class Outcome:
    """How an hour ends, and what shows the fault.

    `line` is the hour's error; `{max_pages}` in it is the client's limit. `at_once`: the client does not try again.
    `in_chain` is the error after the first page, if it differs. At the places `nothing_at` the fault changes nothing.
    `counted` is the column of cdr.loads that counts it, `reasons` are the reasons in cdr.rejected_records for each page
    that was hit. `note` is only for docs/faults.md.
    """

    ends: Ends
    line: str = ""
    at_once: bool = False
    in_chain: str = ""
    nothing_at: tuple[str, ...] = ()
    counted: str = ""
    reasons: tuple[str, ...] = ()
    note: str = ""


_REFUSED_EACH_TIME = (
    "the cursor is refused each time before anything new comes ({}); "
    "run it again later; if it stays, report to AloTech that its cursors expire too soon"
)
_LATER = "run it again later; if it stays, ask AloTech what the message means"
_RETRIED = Outcome(Ends.RETRIED)
_EXACTLY = Outcome(Ends.EXACTLY)

OUTCOMES: dict[str, Outcome] = {
    "429": _RETRIED,
    "429-seconds": _RETRIED,
    "429-date": _RETRIED,
    "429-tomorrow": Outcome(
        Ends.FAILED,
        "the answer is HTTP 429, which asks for a pause of 86400 s; "
        "run it again later, with a lower ALOTECH_REQUESTS_PER_SECOND if it is a 429",
        note="after five tries with pauses of a minute",
    ),
    "503": _RETRIED,
    "503-seconds": _RETRIED,
    "503-date": _RETRIED,
    "500": _RETRIED,
    "502": _RETRIED,
    "timeout": _RETRIED,
    "stall": _RETRIED,
    "drip": _RETRIED,
    "reset": _RETRIED,
    "reset-in-body": _RETRIED,
    "cut-body": _RETRIED,
    "cut-json": _RETRIED,
    "empty-body": _RETRIED,
    "html": _RETRIED,
    "refused-token": Outcome(
        Ends.FAILED,
        'AloTech says "app_token is not valid"; set ALOTECH_APP_TOKEN to a valid application token of this tenant',
        at_once=True,
        note="and the other hours of the run with it, for the token is theirs too",
    ),
    "refused-date": Outcome(
        Ends.FAILED,
        'AloTech says "startdate does not match %Y-%m-%d %H:%M:%S"; correct the filters or the dates of this run',
        at_once=True,
        in_chain=_REFUSED_EACH_TIME.format('AloTech says "startdate does not match %Y-%m-%d %H:%M:%S"'),
    ),
    "passing-error": _RETRIED,
    "expired-cursor": Outcome(Ends.BEGUN_ANEW, nothing_at=("first",)),
    "short-lived-cursors": Outcome(
        Ends.GONE_ON,
        in_chain=_REFUSED_EACH_TIME.format('AloTech says "cursor has expired"'),
        nothing_at=("first", "middle"),
    ),
    "echoed-token": Outcome(
        Ends.FAILED,
        f'AloTech says "Request failed: /api/?app_token=[token] (token [token])"; {_LATER}',
        note="after five tries, in mid-chain after the chain was begun anew twice",
    ),
    "same-cursor": Outcome(
        Ends.FAILED,
        "the page points back to a cursor that was followed before; "
        "run it again; if it stays, report to AloTech that its cursor does not move on",
        nothing_at=("first",),
    ),
    "endless-chain": Outcome(
        Ends.FAILED,
        "the chain goes on after {max_pages} pages; "
        "fetch a shorter window, or report to AloTech that its pages do not end",
        nothing_at=("first", "middle"),
    ),
    "endless-empty-pages": Outcome(Ends.EXACTLY, note="two empty pages in a row are the end"),
    "empty-page": _EXACTLY,
    "last-cursor": _EXACTLY,
    "ties": Outcome(Ends.AS_SENT, note="calls with the same `calldate` each once"),
    "repeated-key": Outcome(Ends.EXACTLY, counted="repeated"),
    "repeated-key-changed": Outcome(Ends.EXACTLY, counted="repeated", note="the last version counts"),
    "outside-window": Outcome(Ends.EXACTLY, counted="outside_window"),
    "gzip": _EXACTLY,
    "big-page": _EXACTLY,
    "charset-windows-1254": _EXACTLY,
    "charset-latin-1": _EXACTLY,
    "byte-order-mark": _EXACTLY,
    "spelled-numbers": Outcome(Ends.EXACTLY, note="an answer that is a number keeps its spelling in `answer`"),
    "spelled-booleans": _EXACTLY,
    "spelled-dates": Outcome(Ends.EXACTLY),
    "zoned-dates": Outcome(Ends.EXACTLY, note="in the tenant's wall clock, with the instant that was sent"),
    "blanks": _EXACTLY,
    "nulls": Outcome(Ends.AS_SENT, note="NULL where null"),
    "missing-fields": Outcome(Ends.AS_SENT, note="NULL where missing, an array without items"),
    "new-fields": Outcome(
        Ends.AS_SENT, note="the new fields are in `extra`, and the check `fields_are_known` warns of them"
    ),
    "odd-arrays": Outcome(
        Ends.AS_SENT, note="null and blank are no items, a text that holds an array is the array, all else is one item"
    ),
    "odd-items": Outcome(Ends.AS_SENT, note="each item has its row, and what no column tells is in `extra`"),
    "not-an-object": Outcome(Ends.EXACTLY, counted="rejected", reasons=("not an object",) * 4),
    "no-key": Outcome(Ends.EXACTLY, counted="rejected", reasons=("no key",) * 3),
    "unreadable-calldate": Outcome(
        Ends.EXACTLY,
        counted="rejected",
        reasons=("no calldate",) * 3 + ("calldate cannot be read",) * 2,
    ),
}


def page() -> str:
    """The text of docs/faults.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (
        "# Faults",
        "",
        "What `cdr sandbox --fault NAME[@PLACE]` does, and what becomes of an hour that is fetched from it. PLACE is",
        "`first`, `middle` or `last`, the page of each chain that is hit; without it all are. Several `--fault` go",
        "together. Faults that pass hit each request once; the others stay.",
        "",
        "*Loads exactly*: the warehouse equals what the API means, key by key and field by field. *Fails the hour*:",
        "the hour keeps what it held, its row in `cdr.loads` has the line in `error`, the run ends with that line, and",
        "the run's other hours land. There is no third way: no fault ends in a hang or in half an hour.",
        "",
        "`cdr_assets_tests/assets/test_faults.py` holds the pipeline to this table, each fault at each place.",
        "",
        "| `--fault` | the server | the hour |",
        "|---|---|---|",
    )
    max_pages = inspect.signature(AlotechClient).parameters["max_pages"].default
    for name, description in FAULTS.items():
        server = description.partition(" The client should")[0].replace("|", "\\|")
        yield f"| `{name}` | {server} | {_told(OUTCOMES[name], max_pages)} |"


def _told(outcome: Outcome, max_pages: int) -> str:
    told = str(outcome.ends)
    if outcome.at_once:
        told += " at once"
    if outcome.line:
        told += f": `{outcome.line.format(max_pages=max_pages)}`"
    if outcome.in_chain:
        told += f"; in mid-chain, where nothing new comes: `{outcome.in_chain}`"
    if outcome.reasons:
        reasons = ", ".join(f"*{reason}*" for reason in dict.fromkeys(outcome.reasons))
        told += f"; the other records go to `cdr.rejected_records`: {reasons}"
    elif outcome.counted:
        told += f"; counted as `{outcome.counted}` in `cdr.loads`"
    if outcome.note:
        told += f"; {outcome.note}"
    if outcome.nothing_at:
        told += f"; at {' and '.join(f'`{place}`' for place in outcome.nothing_at)} there is nothing to hit"
    return told


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
