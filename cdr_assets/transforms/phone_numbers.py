"""One spelling for each phone number: its E.164 form.

How the published copy hides numbers is in `publishing/shown.py`; the rule for numbers within texts, in
`domain/masking.py`.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import phonenumbers
import polars as pl

# What may stand around a number: sip:+905321234567@example.com, tel:0532…
_SCHEME = re.compile(r"(?i)^\s*(?:sips?|tel):\s*")

# A number that was written as a fraction somewhere, and an extension in Turkish.
_FRACTION, _EXTENSION = re.compile(r"[.]0+$"), re.compile(r"(?i)\bdahili\b")

_LETTER = re.compile(r"[^\W\d_]")

_KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan")


def e164(numbers: pl.Series, country: str | None) -> pl.Series:
    """The E.164 form of each number as `e164_of` returns it; NULL for NULL and blank texts."""
    distinct = numbers.unique().drop_nulls()
    forms = _usual(distinct, country)
    rest = forms.is_null().arg_true()
    # The library takes 30 µs a number, too long for most of them.
    forms = forms.scatter(rest, [e164_of(number, country) for number in distinct.gather(rest)])
    return numbers.replace_strict(distinct, forms, return_dtype=pl.String)


def e164_of(number: str, country: str | None) -> str | None:
    """The number as `+905321234567`, read as one of `country` (`TR`), otherwise with its country code and no plus.

    A number that exists in neither way is read as one of `country` too if it is as long as its numbers are, otherwise
    as one with its country code: it may be of a new range, and its spellings are one caller all the same. Others keep
    their digits, such as `1001`, an extension; a text with letters stays as it is, without blanks around it. None for a
    blank text.
    """
    text = _EXTENSION.sub("ext", _FRACTION.sub("", _SCHEME.sub("", number).partition("@")[0].strip()))
    digits = "".join(str(int(character)) for character in text if character.isdecimal())
    readings = []
    for spelling, region in ((text, country), (f"+{digits}", None)):
        with suppress(phonenumbers.NumberParseException):
            readings.append(phonenumbers.parse(spelling, region))
    # The library reads letters as the digits on their keys: in `0532 CALL`, only a number that exists is believed.
    has_letters = _LETTER.search(text.replace("ext", ""))
    for is_one in (phonenumbers.is_valid_number,) if has_letters else (phonenumbers.is_valid_number, _is_as_long):
        for read in readings:
            if is_one(read):
                return phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
    return (digits if digits and not _LETTER.search(text) else number.strip()) or None


def _is_as_long(number: phonenumbers.PhoneNumber) -> bool:
    # Exchanges write zeros for a caller who withholds the number.
    if not number.national_number:
        return False
    return phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE


def _usual(numbers: pl.Series, country: str | None) -> pl.Series:
    """The form of the country's own numbers that are written in digits alone; NULL for all others.

    NULL also for a number that is valid both with and without its first digits: the library decides what they are. A
    number that is valid in no way, such as one of a new range, is read if it looks like the country's and begins with
    the country's prefix or code: without them, it may be another country's.
    """
    patterns = _patterns(country)
    if patterns is None:
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(numbers))
    valid, alike = [], []
    for before in patterns.before:
        national = pl.lit(numbers).str.extract(f"^(?:{before})([0-9]+)$")
        is_alike = national.str.contains(f"^(?:{patterns.general})$") & national.str.len_bytes().is_in(patterns.lengths)
        valid.append(pl.when(is_alike & national.str.contains(f"^(?:{patterns.valid})$")).then(national))
        if before:
            alike.append(pl.when(is_alike).then(national))
    read = (
        pl.when(_are(1, valid)).then(pl.coalesce(valid)).when(_are(0, valid) & _are(1, alike)).then(pl.coalesce(alike))
    )
    return pl.select(pl.concat_str(pl.lit(f"+{patterns.code}"), read)).to_series()


def _are(count: int, readings: Sequence[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal(reading.is_not_null() for reading in readings) == count


class _Patterns(NamedTuple):
    """Of a country: its code, patterns of what may stand before a number, patterns that all numbers and that a valid
    number matches, and the lengths that numbers have."""

    code: int
    before: set[str]
    general: str
    valid: str
    lengths: tuple[int, ...]


@cache
def _patterns(country: str | None) -> _Patterns | None:
    """From the library's own table.

    None if the country shares its code with another one, or has rules of its own for what stands before a number: the
    library alone knows these.
    """
    described = phonenumbers.PhoneMetadata.metadata_for_region(country or "", None)
    if (
        described is None
        or described.country_code is None
        or len(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[described.country_code]) > 1
        or described.national_prefix_for_parsing != described.national_prefix
        or described.international_prefix != "00"
        or described.general_desc is None
    ):
        return None
    kinds = [getattr(described, kind) for kind in _KINDS]
    valid = "|".join(kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern)
    before = {"", described.national_prefix or "", f"(?:\\+|00)?{described.country_code}"}
    general = described.general_desc
    return _Patterns(
        described.country_code, before, general.national_number_pattern or "", valid, tuple(general.possible_length)
    )
