"""Faults of a whole body: its size, its compression, its character set. Faults of single records are in `records`.

The docstrings of the classes are in docs/faults.md.
"""

import gzip

from cdr_assets.sandbox.faults.base import Exchange, Fault

_BIG = 5_000_000


class Gzip(Fault):
    """Compresses the body if the client accepts that. The client should decompress it."""

    compresses = True

    def deliver(self, exchange: Exchange) -> None:
        if exchange.accepts_gzip and "Content-Encoding" not in exchange.answer.headers:
            exchange.answer.body = gzip.compress(exchange.answer.body, compresslevel=1)
            exchange.answer.headers["Content-Encoding"] = "gzip"


class BigPage(Fault):
    """Makes each page 5 MB large, with blanks between the records. The client should read it like any other."""

    def deliver(self, exchange: Exchange) -> None:
        between = b',{"key":'
        places = exchange.answer.body.count(between)
        blanks = b" " * ((_BIG - len(exchange.answer.body)) // (places + 1))
        exchange.answer.body = exchange.answer.body.replace(between, b"," + blanks + between[1:]) + blanks


class CharsetWindows1254(Fault):
    """Sends Turkish windows-1254 text under a header that says utf-8. The client should read the letters right or fail
    the hour, not load names with wrong letters."""

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.body = "".join(map(_in_windows_1254, exchange.answer.body.decode())).encode("cp1254")


class CharsetLatin1(Fault):
    """Sends utf-8 under a header that says iso-8859-1. The client should read it as utf-8, as JSON always is."""

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.headers["Content-Type"] = "application/json; charset=iso-8859-1"


class ByteOrderMark(Fault):
    """Puts a byte order mark before the JSON. The client should skip it."""

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.body = b"\xef\xbb\xbf" + exchange.answer.body


def _in_windows_1254(letter: str) -> str:
    """The letter, or its JSON escape if windows-1254 does not have it."""
    try:
        letter.encode("cp1254")
    except UnicodeEncodeError:
        units = letter.encode("utf-16-be")
        return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))
    return letter
