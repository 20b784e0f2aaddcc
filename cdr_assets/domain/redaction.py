r"""Cuts secrets out of texts, and out of bodies that a server sent, in whatever spelling they stand there.

The secrets are those of the settings (`Settings.secrets`). That the app token gets into no log, error or variable of
ours is the work of `alotech/wire.py`, which adds it to the request.

Each character of a secret may be spelled in its own way, so that any mixture is found: as it is, percent-encoded
(%2F, %252F), as an escape of JSON or of a repr (\/, \u002f, \x2f, with any number of backslashes), in HTML (&#47;).
"""

import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MARK = "[token]"

#: A shorter secret could be part of a text by chance, and could be guessed.
SHORTEST_SECRET = 16
#: In a body, a secret between these lengths is cut only as a word of its own, and a shorter one is not: they may be
#: part of a call by chance.
_SHORTEST_IN_BODY = 8

# Repetitions have limits, so that a body of a million backslashes is not searched to its end from each of them.
_PERCENT = "%(?:25){0,8}"
_BACKSLASHES = rf"(?:\\|{_PERCENT}5[cC]){{1,16}}"
_AMPERSAND = rf"(?:&|{_PERCENT}26)(?:amp;){{0,8}}"


def redactors(secrets: Iterable[str]) -> tuple[Callable[[str], str], Callable[[bytes], bytes]]:
    """Two functions that cut the secrets out: the first out of texts, the second out of bodies, which are data.

    Upper and lower case count as the same. A body that is JSON stays JSON.
    Both are closures, so that no `repr` or `vars` of their owner shows a secret.
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    long = [secret for secret in known if len(secret) >= SHORTEST_SECRET]
    words = [secret for secret in known if _SHORTEST_IN_BODY <= len(secret) < SHORTEST_SECRET]
    in_text = _pattern(map(_spelled, known))
    in_body = _pattern([*map(_spelled, long), *(rf"(?<![0-9A-Za-z]){_spelled(word)}(?![0-9A-Za-z])" for word in words)])
    hints = [_hint(secret) for secret in (*long, *words)]

    def text(value: str) -> str:
        return in_text.sub(MARK, value)

    def body(value: bytes) -> bytes:
        if not _may_hold(value, hints):
            return value
        # Latin-1 keeps each byte as one character; the patterns spell other characters in their bytes too.
        cut = in_body.sub(MARK, value.decode("latin-1")).encode("latin-1")
        if cut == value or _json(cut) or not (document := _json(value)):
            return cut
        # A number, or half of an escape, was cut away with it.
        return json.dumps(_cut(document[0], lambda found: in_body.sub(MARK, found)), ensure_ascii=False).encode()

    return text, body


def _pattern(alternatives: Iterable[str]) -> re.Pattern[str]:
    # A pattern that never matches, if there are none: an empty one would match everywhere.
    return re.compile("|".join(alternatives) or r"(?!)")


def _spelled(secret: str) -> str:
    """A pattern of the secret in every mixture of spellings."""
    return "".join(f"(?:{'|'.join(_spellings(character))})" for character in secret)


def _spellings(character: str) -> list[str]:
    """Patterns of the character, in both cases: as it is, after a percent sign, after backslashes, and in HTML."""
    both = [one for one in dict.fromkeys((character, character.lower(), character.upper())) if len(one) == 1]
    plain: list[str] = []
    percent: list[str] = []
    backslash: list[str] = []
    ampersand: list[str] = []
    for one in both:
        encoded = one.encode(errors="surrogatepass")
        # In a body, which is read as Latin-1, a character of several bytes is several characters.
        plain += {re.escape(one), re.escape(encoded.decode("latin-1"))}
        percent.append(_PERCENT.join(_hex(byte, 2) for byte in encoded))
        backslash.append(f"{_BACKSLASHES}".join(f"x{_hex(byte, 2)}" for byte in encoded))
        halves = one.encode("utf-16-be", errors="surrogatepass")
        units = [int.from_bytes(halves[at : at + 2]) for at in range(0, len(halves), 2)]
        backslash.append(_BACKSLASHES.join(f"u{_hex(unit, 4)}" for unit in units))
        backslash += [f"x{_hex(ord(one), 2)}", f"U{_hex(ord(one), 8)}"]
        ampersand.append(f"#(?:0{{0,8}}{ord(one)}|[xX]0{{0,8}}{_hex(ord(one), 1)});")
        if (named := html.escape(one)) != one:
            ampersand.append(named[1:])
    if character == " ":
        plain.append(r"\+")
    if character == "\\":
        plain = [r"\\{1,16}"]
    elif character in "/\"'":
        backslash.append(character)
    return [
        f"{_PERCENT}(?:{'|'.join(percent)})",
        f"{_BACKSLASHES}(?:{'|'.join(dict.fromkeys(backslash))})",
        f"{_AMPERSAND}(?:{'|'.join(ampersand)})",
        # Last, because a percent sign, a backslash and an ampersand begin their own escapes.
        *plain,
    ]


def _hex(number: int, digits: int) -> str:
    """A pattern of the number in hexadecimal digits of both cases."""
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{number:0{digits}x}")


# A letter or digit of ASCII as an escape: no program needs one, but a secret of which no part stands there plainly has
# one. Each pattern begins with a single plain character, which a search finds ten times as fast as anything else.
_BACKSLASH_ENCODED = re.compile(rb"\\(?:x|U000|u00[3-7])")
_AMPERSAND_ENCODED = re.compile(rb"&(?:#|amp;)")
_PERCENT_ENCODED = re.compile(rb"%(?:25){0,8}(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[cC][%uUx]|26[#a])")


def _hint(secret: str) -> bytes:
    """The longest part of the secret that is letters and digits of ASCII, in lower case."""
    parts: list[str] = re.findall("[0-9a-z]*", secret.lower())
    return max(parts, key=len).encode()


def _may_hold(value: bytes, hints: Sequence[bytes]) -> bool:
    """Whether to search the body with the pattern, which takes a hundred times as long as this."""
    if not hints:
        return False
    lower = value.lower()
    return (
        any(hint in lower for hint in hints)
        or (b"\\" in value and _BACKSLASH_ENCODED.search(value) is not None)
        or (b"&" in value and _AMPERSAND_ENCODED.search(value) is not None)
        or (b"%" in value and _PERCENT_ENCODED.search(value) is not None)
    )


def _json(value: bytes) -> tuple[Any] | None:
    """The document in a tuple, because it may be null or empty; None if the bytes are no JSON."""
    try:
        return (json.loads(value),)
    except (ValueError, RecursionError):
        return None


def _cut(document: Any, cut: Callable[[str], str]) -> Any:
    if isinstance(document, dict):
        return {cut(name): _cut(value, cut) for name, value in document.items()}
    if isinstance(document, list):
        return [_cut(value, cut) for value in document]
    if isinstance(document, str):
        shown = json.dumps(cut(document), ensure_ascii=False)
        # An escape of JSON and what follows it may look like the secret: a line break and 0123 for n0123.
        return json.loads(shown) if cut(shown) == shown else MARK
    return document if document is None or isinstance(document, bool) or cut(str(document)) == str(document) else MARK
