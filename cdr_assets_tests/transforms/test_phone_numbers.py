"""Every spelling of a number gives one E.164 form; what is no number keeps its digits or its text."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.transforms import e164, e164_of


@pytest.mark.parametrize(
    "number",
    [
        "905321234567", "05321234567", "5321234567", "+905321234567", "00905321234567", "0532 123 45 67",
        "(0532) 123-45-67", "tel:+90-532-123-45-67", "sip:5321234567@10.0.0.1", "0532.123.45.67", " 0532/123/45/67 ",
        "٠٥٣٢١٢٣٤٥٦٧", "905321234567.0", "0532 123 45 67 dahili 12",
    ],
)  # fmt: skip
def test_one_number_in_many_spellings(number: str) -> None:
    assert e164_of(number, "TR") == "+905321234567"


@pytest.mark.parametrize("number", ["05901234567", "+90 590 123 45 67", "905901234567", "00 90 590 1234567"])
def test_a_number_of_a_range_that_the_library_does_not_know(number: str) -> None:
    assert e164_of(number, "TR") == "+905901234567"


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
        ("0532 CALL", "TR", "0532 CALL"),
        ("0590 123 CALL", "TR", "0590 123 CALL"),
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


# What stands before a number and what the number begins with, so that many of them are valid ones.
_BEFORE = st.sampled_from(["", "0", "00", "+", "90", "+90", "0090", "49", "+49", "0049", "31", "48", "33", "971"])
_BEGINS = st.sampled_from(
    ["", "5", "53", "59", "590", "21", "444", "800", "850", "900", "15", "17", "06", "6", "1", "30", "48", "49"]
)


@pytest.mark.parametrize("country", ["TR", "DE", "PL", "NL", "FR", "AE", "GR", "AZ", "US", "IT", "RU"])
@given(st.builds("{}{}{}".format, _BEFORE, _BEGINS, st.text("0123456789", min_size=3, max_size=12)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_quick_way_reads_a_number_as_the_library_does(country: str, number: str) -> None:
    assert e164(pl.Series([number]), country).to_list() == [e164_of(number, country)]


def test_most_numbers_of_a_country_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdr_assets.transforms.phone_numbers.e164_of", None)
    numbers = ["905321234567", "+905321234567", "00905321234567", "05321234567", "5321234567", "02121234567", "4441234"]
    assert set(e164(pl.Series(numbers), "TR")) == {"+905321234567", "+902121234567", "+904441234"}
    # A range that the library does not know: it took 100 µs a number.
    assert set(e164(pl.Series(["05900001234", "905900001234", "+905900001234"]), "TR")) == {"+905900001234"}
