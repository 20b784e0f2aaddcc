"""Pages that no good server sends: they are read if they are JSON, and named in the error if they are not."""

import json
from typing import Any

import polars as pl
import pytest

from cdr_assets.transforms import PageError, Tables, read_pages
from cdr_assets.transforms import pages as pages_module
from cdr_assets_tests.transforms.test_read_pages import HOUR, ZONE, call, only, pages, with_bodies


def read_body(body: str | None) -> Tables:
    """Reads the page under test, followed by a good page."""
    good = json.dumps({"CallList": [call(key="other")]})
    return read_pages(with_bodies(pages([], []), [body, good]), ZONE)


def first(fields: str) -> dict[str, Any]:
    """The call made from a record with these fields."""
    body = '{"CallList":[{"key":"k","calldate":"2026-03-02 05:10:00",' + fields + "}]}"
    return read_body(body).calls.filter(key="k").row(0, named=True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "it has no body"),
        ("", "it is no JSON: "),
        ("<html>busy</html>", "it is no JSON: "),
        ('{"CallList":[{"key":"k"', "it is no JSON: "),
        ("[]", "it is no JSON object"),
        ("null", "it is no JSON object"),
        ('{"CallList":{"key":"k"}}', "its CallList is no array"),
        ('{"CallList":"busy"}', "its CallList is no array"),
    ],
)
def test_what_is_no_page_is_named_in_one_line(body: str | None, reason: str) -> None:
    with pytest.raises(PageError) as raised:
        read_body(body)
    assert str(raised.value).startswith(f"page 0 of 2026-03-02 05:00 cannot be read, fetch it again: {reason}")
    assert "\n" not in str(raised.value)
    assert (raised.value.partition_hour, raised.value.page_number) == (HOUR, 0)


@pytest.mark.parametrize(
    ("body", "counted", "read"),
    [
        # If a name comes twice, the client counts the last and reading takes the first.
        ('{"CallList":[],"CallList":[{"key":"k","calldate":"2026-03-02 05:10:00"}]}', 1, 0),
        ('{"CallList":[{"key":"k","calldate":"2026-03-02 05:10:00"}],"\\u0043allList":[]}', 0, 1),
        ('{"calls":[{"key":"k"}]}', 1, 0),
        ('{"CallList":[1,2]}', 3, 2),
    ],
)
def test_a_page_of_other_records_than_the_client_counted_is_not_read(body: str, counted: int, read: int) -> None:
    two = with_bodies(pages([], []), ['{"CallList":[]}', body]).with_columns(
        record_count=pl.Series([0, counted], dtype=pl.Int32)
    )
    with pytest.raises(PageError) as raised:
        read_pages(two, ZONE)
    assert str(raised.value) == (
        "page 1 of 2026-03-02 05:00 cannot be read, fetch it again: "
        f"it was fetched as a page of {counted} records, and {read} are read in it"
    )


@pytest.mark.parametrize("body", ["{}", '{"CallList":null}', '{"CallList":[]}', '{"success":true,"CallList":[ ]}'])
def test_a_page_without_records_is_empty(body: str) -> None:
    assert read_body(body).counts["served"].to_list() == [1]


def test_of_a_name_that_comes_twice_the_first_value_counts() -> None:
    row = first('"queue":"a","queue":"b","new":1,"new":2,"call_history":[{"event":1,"event":2}]')
    assert (row["queue"], row["extra"], row["call_history_count"]) == ("a", '{"new":1}', 1)


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_kept() -> None:
    row = first('"queue":"a\\ud800b","agent":"\\ud83d\\ude00\\\\ud800","size":1.0')
    assert (row["queue"], row["agent"]) == ("a\ufffdb", "\U0001f600\\ud800")
    assert row["extra"] == '{"size":1.0}'


def test_control_characters_within_texts_are_read_as_they_are() -> None:
    row = first('"queue":"a\nb","agent":"\t\\"c\x00",\n\t"new":["\r\n"]')
    assert (row["queue"], row["agent"], row["extra"]) == ("a\nb", '\t"c\x00', '{"new":["\\r\\n"]}')


def test_numbers_and_texts_keep_what_they_say() -> None:
    new = '{"a":1.0,"b":123456789012345678901234567890,"c":-0.0,"d":1e400,"e":"\\u0130\\n\\u0000"}'
    row = first('"callerid":905551112233,"new":' + new)
    assert row["callerid"] == "905551112233"
    assert row["extra"].startswith('{"new":{"a":1.0,"b":123456789012345678901234567890,')
    assert json.loads(row["extra"])["new"] == json.loads(new)


def test_depth_and_size_do_not_matter() -> None:
    deep = "[" * 20_000 + "]" * 20_000
    row = first(f'"queue":{deep},"call_tags":{deep},"new":{deep}')
    assert (row["queue"], row["call_tags_count"]) == (None, 1)
    assert row["extra"] == f'{{"new":{deep},"queue":{deep}}}'


def test_many_rejected_records_of_one_page_keep_their_places() -> None:
    tables = read_pages(pages(list(range(3000))), ZONE)
    assert tables.rejected_records["record"].to_list() == [str(number) for number in range(3000)]
    assert tables.rejected_records["position"].to_list() == list(range(3000))


def test_a_record_without_a_key_is_rejected_by_its_own_hour_alone() -> None:
    tables = read_pages(pages([{"calldate": "2026-03-02 04:59:59"}, {"calldate": "2026-03-02 05:00:00"}]), ZONE)
    assert tables.counts.select("outside_window", "rejected").row(0) == (1, 1)


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [call(key=str(n % 7), call_tags=[str(n)], duration=n) for n in range(20)]
    odd = [7, {"key": "x"}, call(key="out", calldate="2026-03-02 07:00:00")]
    many = pages(*([record] for record in [*records, *odd]), [])
    whole = read_pages(many, ZONE)
    monkeypatch.setattr(pages_module, "_BATCH_PAGES", 3)
    batched = read_pages(many, ZONE)
    for name, frame in vars(whole).items():
        assert getattr(batched, name).equals(frame), name
    assert whole.counts.select("served", "outside_window", "repeated", "rejected", "loaded").row(0) == (23, 1, 13, 2, 7)
    assert whole.call_tags["tag"].to_list() == [str(n) for n in range(13, 20)]


def test_the_same_text_in_other_columns_is_another_content() -> None:
    one = only(read_pages(pages([call(callerid="a\x1fb", called_num="c")]), ZONE))
    other = only(read_pages(pages([call(callerid="a", called_num="b\x1fc")]), ZONE))
    assert one["content_hash"] != other["content_hash"]


def test_no_pages_make_no_rows() -> None:
    tables = read_pages(pages(), ZONE)
    assert [frame.height for frame in vars(tables).values()] == [0] * 7
