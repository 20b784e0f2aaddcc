"""Every spelling of a number gives one E.164 form; what is no number keeps its digits or its text."""

import polars as pl
import pytest

from cdr_assets.transforms import e164, e164_of


@pytest.mark.parametrize(
    "number",
    [
        "905321234567", "05321234567", "5321234567", "+905321234567", "00905321234567", "0532 123 45 67",
        "(0532) 123-45-67", "tel:+90-532-123-45-67", "sip:5321234567@10.0.0.1", "0532.123.45.67", " 0532/123/45/67 ",
        "٠٥٣٢١٢٣٤٥٦٧",
    ],
)  # fmt: skip
def test_one_number_in_many_spellings(number: str) -> None:
    assert e164_of(number, "TR") == "+905321234567"


@pytest.mark.parametrize(
    ("number", "country", "form"),
    [
        ("442071838750", "TR", "+442071838750"),  # a foreign number as exchanges send it, without a plus
        ("+1 (212) 555-1234", "TR", "+12125551234"),
        ("212 555 1234", "US", "+12125551234"),
        ("05321234567", None, "05321234567"),
        ("1001", "TR", "1001"),
        ("0000000000", "TR", "0000000000"),
        ("0 00-00", "TR", "00000"),
        ("AA0106", "TR", "AA0106"),
        ("Anonymous", "TR", "Anonymous"),
        ("sip:ali@10.0.0.1", "TR", "sip:ali@10.0.0.1"),
        ("x" * 300, "TR", "x" * 300),
        ("9" * 300, "TR", "9" * 300),
        ("  ", "TR", None),
        ("", "TR", None),
    ],
)
def test_other_numbers(number: str, country: str | None, form: str | None) -> None:
    assert e164_of(number, country) == form


def test_a_column() -> None:
    numbers = pl.Series(["05321234567", None, "", "905321234567", "1001"])
    assert e164(numbers, "TR").to_list() == ["+905321234567", None, None, "+905321234567", "1001"]
    assert e164(pl.Series([None], dtype=pl.String), "TR").to_list() == [None]
