"""No column of the copy shows a phone number in any spelling, and what is no number is shown as it is."""

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdr_assets.domain import masking
from cdr_assets.domain.masking import mask
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.schema import TABLES, Class
from cdr_assets.domain.settings import Callers
from cdr_assets.publishing.shown import Privacy, set_key, shown
from cdr_assets_tests.publishing.privacy import KEY, privacy

SPELLINGS = {
    "plain": "905321234567",
    "international": "+90 532 123 45 67",
    "blanks": "0532 123 45 67",
    "brackets": "(0532) 123-45-67",
    "dots": "0532.123.45.67",
    "slashes": "0532/123/45/67",
    "no-break and zero-width spaces": "0532\u00a0123\u200b45\u200967",
    "full-width": "０５３２１２３４５６７",  # noqa: RUF001
    "Arabic": "٠٥٣٢١٢٣٤٥٦٧",
    "glued to letters": "tel05321234567x",
    "in an address": "https://a.example/?to=%2B90%20532%20123%2045%2067&n=1",
    "en dashes": "0532\u2013123\u201345\u201367",
    "scientific": "9.05321234567E11",
    "a float": "905321234567.0",
    "seven digits": "123 45 67",
    "line breaks": "0532\n123\r\n45 67",
    "after a time": "10:30-0532 123 45 67",
    "after a time without seconds": "geri ara: 17:30-2125 551 234",
    "with an extension": "5551212,101",
    "in a list": "5551212,30,Ali",
    "underscores": "rec_0532_123_45_67.wav",
    "key caps": "0\ufe0f\u20e35\ufe0f\u20e33\ufe0f\u20e32\ufe0f\u20e3 123 45 67",
}

NO_NUMBERS = [
    "2026-03-02 05:00:00",
    "2026-03-02T05:00:00.123456+03:00",
    "02.03.2026 05:00",
    "2026/03/02",
    "00:12:45",
    "123:45",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "12345678-1234-1234-1234-123456789012",
    "d41d8cd98f00b204e9800998ecf84271",
    "ahRzfm11c3RlcmktaGl6bWV0bGVyaXIRCxIEQ2FsbBiAgICA",
    "1234567.89",
    "1.234.567,89 TL",
    "1,234,567.89",
    "12345.678 s",
    "0.30000000000000004",
    "41.0082376",
    "%50 indirim, 3. ve 4. aylarda",
    "Kuyruk 3 2026-03-02 05:00",
    "Sipariş 1234 02.03.2026",
    "12/31/2026",
    "25.03.26 14:30",
    "Mesai 09.00-18.00",
    "2024-2025 kampanyası, 2025/2026 sezonu",
    "10.000,00 - 15.000,00 TL",
    "151.209312",
    "queue 12, agent 345",
    "",
]


def digits(text: str) -> str:
    """The decimal digits of a text, in ASCII, without what stands between them."""
    return "".join(
        str(unicodedata.digit(character)) for character in text if unicodedata.digit(character, None) is not None
    )


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        set_key(opened, privacy())
        yield opened


def show(
    connection: duckdb.DuckDBPyConnection,
    holds: Class,
    value: str,
    kind: str = "VARCHAR",
    *,
    callers: Callers = Callers.PSEUDONYM,
    schema: str = "cdr",
) -> str | None:
    selected = shown(schema, {"value": (kind, holds)}, privacy(callers))
    row = connection.execute(f"SELECT {selected} FROM (SELECT ?::{kind} AS value)", [value]).fetchone()
    assert row is not None
    return row[0] if row[0] is None else str(row[0])


@pytest.mark.parametrize("around", ["{}", "ara: {} lütfen", "Ayşe {}"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("holds", [Class.FREE_TEXT, Class.NAME])
def test_a_number_in_a_text_is_masked(
    connection: duckdb.DuckDBPyConnection, holds: Class, spelling: str, around: str
) -> None:
    text = around.format(SPELLINGS[spelling])
    for masked in (show(connection, holds, text), mask(text)):
        assert masked is not None
        assert masking.MASK in masked or masking.LINK in masked
        assert len(digits(masked)) <= 7 + len(digits(around))
        assert "1234567" not in digits(masked)
        assert "123456" not in digits(masked)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_number_in_json_is_masked_and_the_json_stays_valid(
    connection: duckdb.DuckDBPyConnection, spelling: str
) -> None:
    number = SPELLINGS[spelling]
    sent = {"note": f"ara {number}", number: 1, "list": [[number]], "as json": json.dumps({"to": number})}
    escaped = json.dumps({"note": f"ara {number}"}, ensure_ascii=False).replace("5", "\\u0035")
    for text in (json.dumps(sent), json.dumps(sent, ensure_ascii=False), escaped):
        masked = show(connection, Class.FREE_TEXT, text, "JSON")
        assert masked is not None
        values = json.loads(masked)
        assert values["note"].startswith("ara ")
        assert "123456" not in digits(masked)


@pytest.mark.parametrize(
    "number", ["905321234567", "-905321234567", "9.05321234567E11", "905321234567.0", "5321234567"]
)
def test_a_json_number_is_masked_and_stays_a_number(connection: duckdb.DuckDBPyConnection, number: str) -> None:
    masked = show(connection, Class.FREE_TEXT, f'{{"to":{number},"n":[{number},1]}}', "JSON")
    assert masked is not None
    assert isinstance(json.loads(masked)["to"], int | float)
    assert "123456" not in masked


def test_json_with_half_a_surrogate_pair_hides_numbers_too(connection: duckdb.DuckDBPyConnection) -> None:
    masked = show(connection, Class.FREE_TEXT, '{"a":"\\ud83d","to":"\\u0030532123456\\u0037"}', "VARCHAR")
    assert masked is not None
    assert "123456" not in masked


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_shown_as_it_is(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    for around in ("{}", "{}, tamam", "ara: {}", "({})", "[{}]"):
        told = around.format(text)
        assert show(connection, Class.FREE_TEXT, told) == told
        assert mask(told) == told
        sent = json.dumps({"a": told, "b": 12, "c": [1, 2, 3, 4, 5, 6, 7]}, ensure_ascii=False)
        assert show(connection, Class.FREE_TEXT, sent, "JSON") == sent
    for number in ("1234567.89", "0.30000000000000004", "3600", "1.5"):
        sent = f'{{"amount":{number},"seconds":{number}}}'
        assert show(connection, Class.FREE_TEXT, sent, "JSON") == sent


# Digits of several scripts, and everything that stands between digits, decides about decimals, or begins an escape.
_PIECES = st.sampled_from(
    [*"0123456789", "5", "٥", "９", "²", " ", "-", ".", ",", "/", ":", "(", ")", "+", "%", "%20", "\\", "\\t", "\u200b",  # noqa: RUF001
     "T", "Z", "_", "e", "E", "a", "f", "x", "ş", '"', "{", "2026-03-02", "05:00:00", "1234567.89"]
)  # fmt: skip


@given(text=st.lists(_PIECES, max_size=40).map("".join))
@settings(max_examples=150, deadline=None, derandomize=True)
@example(text="5.32123456E9")
@example(text="2026-03-02x")
@example(text="12.3456789%5321234")
def test_the_quick_test_finds_every_text_that_would_be_masked(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    found = connection.execute("SELECT regexp_matches(?, ?)", [text, masking.SURELY_WITHOUT]).fetchone()
    assert found == (False,) or mask(text) == text


@given(text=st.lists(_PIECES, max_size=40).map("".join))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_duckdb_and_polars_mask_alike(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert show(connection, Class.FREE_TEXT, text) == mask(text)


@given(text=st.lists(_PIECES, max_size=40).map("".join))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_masked_text_has_no_run_of_seven_digits(text: str) -> None:
    """Runs without anything between are numbers whatever stands around them, but for hashes and fractions."""
    masked = mask(text)
    assert not re.findall(r"(?<![0-9.,A-Fa-f-])[0-9]{7,}(?![0-9A-Fa-f.,-])", masked)


def test_a_pseudonym_is_the_hmac_of_the_number_with_the_id_of_its_key(connection: duckdb.DuckDBPyConnection) -> None:
    number = "+905321234567"
    shown_as = show(connection, Class.NUMBER, number)
    hashed = hmac.new(KEY.encode(), number.encode(), hashlib.sha256).hexdigest()
    assert shown_as == f"{privacy().key_id}-{hashed[:16]}-67"
    long = Privacy(Callers.PSEUDONYM, "x" * 100, {})
    with duckdb.connect() as other:
        set_key(other, long)
        selected = shown("cdr", {"value": ("VARCHAR", Class.NUMBER)}, long)
        row = other.execute(f"SELECT {selected} FROM (SELECT ? AS value)", [number]).fetchone()
    assert row == (f"{long.key_id}-{hmac.new(b'x' * 100, number.encode(), hashlib.sha256).hexdigest()[:16]}-67",)
    assert show(connection, Class.NUMBER, number, callers=Callers.NONE) is None
    assert show(connection, Class.NUMBER, number, callers=Callers.CLEAR) == number


def test_references_are_hashed_where_they_may_hold_a_number(connection: duckdb.DuckDBPyConnection) -> None:
    opaque = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    assert show(connection, Class.REFERENCE, opaque) == opaque
    number = show(connection, Class.REFERENCE, "905321234567@10.0.0.1")
    assert number is not None
    assert re.fullmatch("[0-9a-f]{4}-[0-9a-f]{16}", number)
    assert number == show(connection, Class.REFERENCE, "905321234567@10.0.0.1", callers=Callers.NONE)


def test_the_vendors_ids_stay_and_keys_made_of_names_are_hashed(connection: duckdb.DuckDBPyConnection) -> None:
    assert show(connection, Class.IDENTIFIER, "5629499534213120", schema="marts") == "5629499534213120"
    made = show(connection, Class.IDENTIFIER, "(name) 0532 123 45 67", schema="marts")
    assert made is not None
    assert re.fullmatch(r"\(name\) [0-9a-f]{16}", made)


@pytest.mark.parametrize("holds", [Class.LINK, Class.FINGERPRINT])
def test_links_and_hashes_of_whole_calls_are_shown_in_clear_only(
    connection: duckdb.DuckDBPyConnection, holds: Class
) -> None:
    """All numbers can be tried: with the hash of a call, one of them would fit."""
    text = "https://centre.example/1.mp3"
    assert [show(connection, holds, text, callers=callers) for callers in Callers] == [None, text, None]


def test_every_column_has_a_class() -> None:
    for table in TABLES:
        for column in table.columns:
            assert isinstance(column.holds, Class), f"{table.full_name}.{column.name}"
    for file in sorted((PROJECT / "dbt_project" / "models").rglob("*.yml")):
        for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("models", []):
            for column in model["columns"]:
                Class(column["config"]["meta"]["class"])


def test_a_column_without_a_class_is_not_published_and_told(tmp_path: Path) -> None:
    from cdr_assets.publishing.copy import publish
    from cdr_assets.publishing.reading import open_published
    from cdr_assets.warehouse import Warehouse

    told: list[str] = []
    with Warehouse(tmp_path / "warehouse.duckdb").connect("test") as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.fct_calls (call_key VARCHAR, phone VARCHAR)")
        connection.execute("INSERT INTO marts.fct_calls VALUES ('a', '905321234567')")
        connection.execute("CREATE TABLE marts.other (phone VARCHAR)")
        publish(connection, tmp_path / "copy.duckdb", privacy(), log=told.append)
    with open_published(tmp_path / "copy.duckdb") as connection:
        assert connection.execute("FROM marts.fct_calls").fetchall() == [("a",)]
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts'").fetchall()
        assert tables == [("fct_calls",)]
    assert [line.split(" is not published")[0] for line in told] == ["marts.fct_calls.phone", "marts.other.phone"]


@pytest.mark.parametrize("kind", ["VARCHAR", "JSON"])
def test_web_addresses_are_shown_in_clear_only(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """A link to a recording may stand in an unknown field, in an item or in a record that could not become a call."""
    link = "https://centre.example/rec/abc.mp3?sig=x&id=1"
    for address in (link, link.replace("/", "\\/"), link.upper(), f"x {link} y"):
        sent = f'{{"url":"{address}","n":1}}'
        hidden = show(connection, Class.FREE_TEXT, sent, kind)
        assert hidden is not None
        assert json.loads(hidden)["n"] == 1
        assert "abc" not in hidden.lower()
        assert show(connection, Class.FREE_TEXT, sent, kind, callers=Callers.CLEAR) == sent


def test_escapes_are_kept_whole(connection: duckdb.DuckDBPyConnection) -> None:
    masked = show(connection, Class.FREE_TEXT, '{"a":"\\u0000 0532 123 45 67 \\u0035"}', "JSON")
    assert masked is not None
    assert json.loads(masked)["a"].startswith("\0 99999")
    assert show(connection, Class.FREE_TEXT, "0532\\u2013123\\u201345\\u201367") == "*****67"


def test_a_long_text_that_would_have_to_be_masked_is_left_out(connection: duckdb.DuckDBPyConnection) -> None:
    """Each step of the masking holds a copy: of a text of 60 MB, the memory of a run could not."""
    assert show(connection, Class.FREE_TEXT, "x" * 2_000_000) == "x" * 2_000_000
    assert show(connection, Class.FREE_TEXT, "x" * 2_000_000 + "05321234567") is None


def test_of_a_short_number_no_digit_is_shown(connection: duckdb.DuckDBPyConnection) -> None:
    for number in ("12", "1001", "anonymous", "sip:ayse@example.com"):
        pseudonym = show(connection, Class.NUMBER, number)
        assert pseudonym is not None
        assert re.fullmatch("[0-9a-f]{4}-[0-9a-f]{16}", pseudonym)


def test_an_own_mart_cannot_call_a_caller_the_centres_line() -> None:
    columns = {"called_num": ("VARCHAR", Class.NUMBER), "inbound": ("INTEGER", Class.MEASURE)}
    assert "inbound THEN" not in shown("own", columns, privacy())
    assert privacy().class_of("own", "mine", "body", "BLOB") is None
