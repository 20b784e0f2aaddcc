"""One spelling for each phone number: its E.164 form.

How the published copy hides numbers is in `publishing/shown.py`; the rule for numbers within texts, in
`domain/masking.py`.
"""

import re
from functools import lru_cache

import phonenumbers
import polars as pl

# What may stand around a number: sip:+905321234567@example.com, tel:0532…
_SCHEME = re.compile(r"(?i)^\s*(?:sips?|tel):\s*")

_LETTER = re.compile(r"[^\W\d_]")


def e164(numbers: pl.Series, country: str | None) -> pl.Series:
    """The E.164 form of each number; NULL for NULL and blank texts. Each distinct number is read once (30 µs)."""
    distinct = numbers.unique().drop_nulls()
    return numbers.replace_strict(distinct, [e164_of(number, country) for number in distinct], return_dtype=pl.String)


@lru_cache(maxsize=100_000)
def e164_of(number: str, country: str | None) -> str | None:
    """The number as `+905321234567`, read as one of `country` (`TR`), otherwise with its country code and no plus.

    A number that does not exist in either way keeps its digits, such as `1001`, an extension; a text with letters stays
    as it is, without blanks around it. None for a blank text.
    """
    text = _SCHEME.sub("", number).partition("@")[0].strip()
    digits = "".join(str(int(character)) for character in text if character.isdecimal())
    for spelling, region in ((text, country), (f"+{digits}", None)):
        try:
            read = phonenumbers.parse(spelling, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(read):
            return phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
    return (digits if digits and not _LETTER.search(text) else number.strip()) or None
