"""Finds the numbers of forgotten people in values and texts. Only keyed hashes of these numbers are known.

A text holds a number if the digits of one chain (`domain/masking.py`: also with blanks, dashes and so on between them)
contain the number's digits without its country code. So each spelling is found, and a number with other digits before
it. What is then removed from a record is in `blanking`; where the hashes are kept, in `ingest/suppression.py`.
"""

import hmac
import re
import secrets
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import phonenumbers
import polars as pl

from cdr_assets.domain.masking import BETWEEN, DIGIT, MASK
from cdr_assets.transforms.phone_numbers import e164_of

# Fewer digits stand in too many texts.
_FEWEST_DIGITS = 7

_CHAIN_IN_RUST = rf"{DIGIT}(?:{BETWEEN}*{DIGIT}){{{_FEWEST_DIGITS - 1},}}"

# %20 and the like in web addresses, whose digits are not the number's.
_SPACE = re.compile("%2[0-9A-Fa-f]")

_NO_DIGITS = re.compile("[^0-9]+")

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class Entry:
    """A forgotten number: keyed hashes of its E.164 form and of its digits without the country code, how many these
    are, and whether it is also a line of the centre's own."""

    number: str
    digits: str
    length: int
    is_line: bool


def digits_of(number: str) -> str:
    """The digits of an E.164 form by which texts are searched: those after the country code, if they are enough."""
    digits = number.removeprefix("+")
    if number.startswith("+"):
        national = phonenumbers.national_significant_number(phonenumbers.parse(number))
        digits = national if len(national) >= _FEWEST_DIGITS else digits
    return digits


def keyed(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()


def forgotten_of(number: str, country: str | None) -> "Forgotten":
    """Only this number (in its E.164 form), under a key that nobody keeps."""
    key, digits = secrets.token_bytes(32), digits_of(number)
    entry = Entry(keyed(key, number), keyed(key, digits), len(digits), is_line=False)
    return Forgotten(key, [entry], country)


class Forgotten:
    """The forgotten numbers. It is false if there are none."""

    def __init__(self, key: bytes = b"", entries: Sequence[Entry] = (), country: str | None = None) -> None:
        self._key, self._country = key, country
        self._entries = tuple(entries)
        self._numbers = {entry.number: entry.is_line for entry in entries}
        self._digits = {entry.digits for entry in entries}
        self._lengths = sorted({entry.length for entry in entries})
        self._is_listed = lru_cache(100_000)(lambda digits: keyed(key, digits) in self._digits)

    def __len__(self) -> int:
        return len(self._entries)

    def is_number(self, text: str, *, but_no_line: bool = False) -> bool:
        """Whether a value of a number's column is a forgotten number; with `but_no_line`, one that is no own line."""
        number = e164_of(text, self._country) or ""
        if not number.startswith("+") and self.holds(text):
            return True
        is_line = self._numbers.get(keyed(self._key, number))
        return is_line is not None and not (but_no_line and is_line)

    def holds(self, text: str) -> bool:
        return next(self._places(text), None) is not None

    def without(self, text: str) -> str:
        """The text with each forgotten number replaced by asterisks."""
        pieces, end = [], 0
        for first, last in self._places(text):
            pieces += [text[end:first], MASK]
            end = last + 1
        return "".join([*pieces, text[end:]])

    def numbers_in(self, text: str) -> set[str]:
        """The forgotten numbers in the text, in their E.164 form."""
        found = set()
        for first, last in self._places(text):
            digits = "".join(str(unicodedata.digit(each, "")) for each in _SPACE.sub("", text[first : last + 1]))
            codes = ("", "+", *(f"+{code}" for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
            found |= {code + digits for code in codes if keyed(self._key, code + digits) in self._numbers}
        return found

    def reference(self, text: str) -> str:
        """The id; if it holds a forgotten number, a keyed hash in its place, so that equal ids still join."""
        return f"forgotten-{keyed(self._key, text)[:16]}" if self.holds(text) else text

    def which_hold(self, texts: Sequence[str]) -> list[bool]:
        """Which of the JSON texts may hold a forgotten number, found in bulk."""
        decoded = pl.Series([unescaped(text) for text in texts], dtype=pl.String)
        chains = decoded.str.extract_all(_CHAIN_IN_RUST)
        distinct = chains.explode(empty_as_null=False).unique()
        found = [chain for chain in distinct if self._chain_holds(chain)]
        if not found:
            return [False] * len(texts)
        return chains.list.eval(pl.element().is_in(found).any()).list.first().fill_null(False).to_list()

    def _chain_holds(self, chain: str) -> bool:
        if not chain.isascii() or "%" in chain:
            return self.holds(chain)
        # Most chains: half the time.
        digits = _NO_DIGITS.sub("", chain)
        return any(self._is_listed(digits[at : at + n]) for n in self._lengths for at in range(len(digits) - n + 1))

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """The positions of the first and last digit of each forgotten number."""
        for chain in _chain().finditer(text):
            spaces = {place for space in _SPACE.finditer(text, *chain.span()) for place in range(*space.span())}
            places = [
                place
                for place in range(*chain.span())
                if unicodedata.digit(text[place], None) is not None and place not in spaces
            ]
            digits = "".join(str(unicodedata.digit(text[place])) for place in places)
            first = 0
            while first < len(digits):
                length = next((n for n in self._lengths if self._is_listed(digits[first : first + n])), 0)
                if length:
                    yield places[first], places[first + length - 1]
                first += length or 1


def unescaped(json: str) -> str:
    r"""A JSON text with characters for its escapes like \u0035, which would hide a digit."""
    return _ESCAPE.sub(_character, json) if "\\u" in json else json


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    # Half a surrogate pair is no character, and no digit that phones show.
    return escape[0] if 0xD800 <= code < 0xE000 else chr(code)


def pattern_of(digits: str) -> str:
    """A regular expression for RE2 and Rust that matches the texts that hold these digits."""
    alike = _digits_alike()
    return f"{BETWEEN}*".join(f"[{alike[digit]}]" for digit in digits)


def pattern_in_python(pattern: str) -> re.Pattern[str]:
    r"""A pattern for RE2 and Rust as one for Python's `re`, whose \d is \p{Nd} and which has no \x{2028}."""
    pattern = pattern.replace(r"\p{Nd}", r"\d")
    return re.compile(re.sub(r"\\x\{(\w+)\}", lambda code: re.escape(chr(int(code[1], 16))), pattern))


@cache
def _chain() -> re.Pattern[str]:
    return pattern_in_python(_CHAIN_IN_RUST)


@cache
def _digits_alike() -> dict[str, str]:
    alike = dict.fromkeys("0123456789", "")
    for code in range(sys.maxunicode + 1):
        digit = unicodedata.digit(chr(code), None)
        if digit is not None:
            alike[str(digit)] += chr(code)
    return alike
