"""The faults that a sandbox can show, by name. `FAULTS` says what each does and what a client should do about it.

Each fault is a class in the module of its kind. `FAULTS` holds the docstrings of these classes.

    Sandbox(source, fault=["429-seconds", "reset@last"])
    Sandbox(source, fault=fault_of("stall", at="middle", times=2))
"""

from typing import Any, get_args

from cdr_assets.sandbox.faults import bodies, chains, records, refusals, transport
from cdr_assets.sandbox.faults.base import Fault, Place
from cdr_assets.sandbox.faults.records import RecordFault
from cdr_assets.sandbox.faults.serving import serve

_KINDS: dict[str, type[Fault]] = {
    # The wire.
    "429": transport.TooManyRequests,
    "429-seconds": transport.TooManyRequestsSeconds,
    "429-date": transport.TooManyRequestsDate,
    "429-tomorrow": transport.TooManyRequestsTomorrow,
    "503": transport.Unavailable,
    "503-seconds": transport.UnavailableSeconds,
    "503-date": transport.UnavailableDate,
    "500": transport.ServerError,
    "502": transport.BadGateway,
    "timeout": transport.Timeout,
    "stall": transport.Stall,
    "drip": transport.Drip,
    "reset": transport.Reset,
    "reset-in-body": transport.ResetInBody,
    "cut-body": transport.CutBody,
    "cut-json": transport.CutJson,
    "empty-body": transport.EmptyBody,
    "html": transport.Html,
    # Refusals.
    "refused-token": refusals.RefusedToken,
    "refused-date": refusals.RefusedDate,
    "passing-error": refusals.PassingError,
    "expired-cursor": refusals.ExpiredCursor,
    "short-lived-cursors": refusals.ShortLivedCursors,
    "echoed-token": refusals.EchoedToken,
    # The chain of pages.
    "same-cursor": chains.SameCursor,
    "endless-chain": chains.EndlessChain,
    "endless-empty-pages": chains.EndlessEmptyPages,
    "empty-page": chains.EmptyPage,
    "last-cursor": chains.LastCursor,
    "ties": chains.Ties,
    "repeated-key": chains.RepeatedKey,
    "repeated-key-changed": chains.RepeatedKeyChanged,
    "outside-window": chains.OutsideWindow,
    # The body.
    "gzip": bodies.Gzip,
    "big-page": bodies.BigPage,
    "charset-windows-1254": bodies.CharsetWindows1254,
    "charset-latin-1": bodies.CharsetLatin1,
    "byte-order-mark": bodies.ByteOrderMark,
    # The records.
    "spelled-numbers": records.SpelledNumbers,
    "spelled-booleans": records.SpelledBooleans,
    "spelled-dates": records.SpelledDates,
    "zoned-dates": records.ZonedDates,
    "blanks": records.Blanks,
    "nulls": records.Nulls,
    "missing-fields": records.MissingFields,
    "new-fields": records.NewFields,
    "odd-arrays": records.OddArrays,
    "odd-items": records.OddItems,
    "not-an-object": records.NotAnObject,
    "no-key": records.NoKey,
    "unreadable-calldate": records.UnreadableCalldate,
}

FAULTS: dict[str, str] = {name: " ".join((kind.__doc__ or "").split()) for name, kind in _KINDS.items()}

# Faults that are gone when the client repeats the request: by default they hit each request once.
PASSING = frozenset(name for name, kind in _KINDS.items() if kind.passes)


def fault_of(name: str, **options: Any) -> Fault:
    """Makes a fault from its name, or from `NAME@PLACE` with the place first, middle or last.

    The options are those of `Fault`. Raises ValueError for an unknown name or place.
    """
    kind, at, place = name.partition("@")
    if kind not in _KINDS:
        raise ValueError(f"no fault is named {kind!r}; there are: {', '.join(_KINDS)}")
    if at:
        if place not in get_args(Place):
            raise ValueError(f"a fault hits at {', '.join(get_args(Place))}, not at {place!r}")
        options["at"] = place
    return _KINDS[kind](**options)


__all__ = ["FAULTS", "PASSING", "Fault", "Place", "RecordFault", "fault_of", "serve"]
