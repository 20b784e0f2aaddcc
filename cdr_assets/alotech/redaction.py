"""Cuts the app token out of texts and bodies that a server sent.

The spellings in which a token may come back belong here. That the token gets into no log, error or variable of ours
is the work of `wire.py`, which adds it to the request.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

MARK = "[token]"
#: A shorter token may be part of a body by chance, and cutting it out would damage a call.
_SHORTEST_IN_BODY = 8


def redactors(token: str) -> tuple[Callable[[str], str], Callable[[bytes], bytes]]:
    """Two functions that cut the token out: the first out of texts, the second out of bodies, which are data.

    Both find the token as it is, percent-encoded (once or twice), in a JSON string and in HTML, in upper and lower
    case. The second cuts whole words only, and does nothing for a token of fewer than 8 characters.
    Both are closures, so that no `repr` or `vars` of their owner shows the token.
    """
    encoded = quote(token, safe="")
    spellings = {token, encoded, quote(encoded, safe=""), quote_plus(token), quote(token)}
    spellings |= {json.dumps(token)[1:-1], json.dumps(token)[1:-1].replace("/", "\\/"), html.escape(token)}
    spellings |= {"".join(f"\\u{ord(c):04x}" if not c.isalnum() else c for c in token)}
    alternatives = "|".join(re.escape(s) for s in sorted(spellings, key=len, reverse=True))
    in_text = re.compile(alternatives, re.IGNORECASE)
    in_body = re.compile(rf"(?<![0-9A-Za-z])(?:{alternatives})(?![0-9A-Za-z])".encode(), re.IGNORECASE)
    # A search for plain bytes is a hundred times as fast as the pattern: most bodies need nothing more.
    quick = {form.encode() for s in spellings for form in (s, s.lower())}

    def text(value: str) -> str:
        return in_text.sub(MARK, value)

    def body(value: bytes) -> bytes:
        if len(token) < _SHORTEST_IN_BODY or not any(form in value for form in quick):
            return value
        return in_body.sub(MARK.encode(), value)

    return text, body
