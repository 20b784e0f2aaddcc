"""From pages to typed tables: every spelling, every array, rejected records, and the real month."""

import datetime as dt
import gzip
import itertools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.domain.schema import ARRAYS, CALL_DATES, CALLS, CHILDREN, VENDOR_COLUMNS, Kind
from cdr_assets.transforms import PageError, Tables, compress, read_pages

HOUR = dt.datetime(2026, 3, 2, 5)
ZONE = "Europe/Istanbul"


def with_bodies(pages: pl.DataFrame, bodies: Iterable[str | None]) -> pl.DataFrame:
    """Pages with these bodies, stored as in the warehouse and with their records counted as by the client."""
    bodies = list(bodies)
    sent = [None if body is None else body.encode() for body in bodies]
    compressed = [None if body is None else compress(body) for body in sent]
    return pages.with_columns(
        body=pl.Series(compressed, dtype=pl.Binary),
        body_size=pl.Series([None if body is None else len(body) for body in sent], dtype=pl.Int64),
        record_count=pl.Series([_counted(body) for body in bodies], dtype=pl.Int32),
    )


FETCHED_AT = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def _counted(body: str | None) -> int | None:
    try:
        return len(json.loads(body or "", strict=False)["CallList"] or [])
    except RecursionError:
        return None
    except (ValueError, TypeError, LookupError):
        return 0


def pages(
    *bodies: list[Any], hour: dt.datetime = HOUR, windowed: bool = True, arrays: str = ",".join(ARRAYS)
) -> pl.DataFrame:
    finish = hour + dt.timedelta(hours=1)
    frame = pl.DataFrame(
        {
            "partition_hour": [hour if windowed else None] * len(bodies),
            "page_number": range(len(bodies)),
            "window_start": [hour if windowed else None] * len(bodies),
            "window_finish": [finish if windowed else None] * len(bodies),
            "fetched_at": [FETCHED_AT] * len(bodies),
            "arrays": [arrays] * len(bodies),
        },
        schema_overrides={
            "partition_hour": pl.Datetime("us"),
            "window_start": pl.Datetime("us"),
            "window_finish": pl.Datetime("us"),
        },
    )
    return with_bodies(frame, [json.dumps({"CallList": body, "cursor": None}, ensure_ascii=False) for body in bodies])


def read(*records: Any, zone: str = ZONE, hour: dt.datetime = HOUR) -> Tables:
    return read_pages(pages(list(records), hour=hour), zone)


def call(**fields: Any) -> dict[str, Any]:
    return {"key": "k", "calldate": "2026-03-02 05:10:00"} | fields


def only(tables: Tables) -> dict[str, Any]:
    assert tables.calls.height == 1, tables.rejected_records
    return tables.calls.row(0, named=True)


def read_each(field: str, sent: Iterable[Any]) -> list[dict[str, Any]]:
    """Reads a call with each of these values of the field, all from one page, because a reading takes 0.1 s."""
    calls = read(*(call(key=f"{n:03}", **{field: value}) for n, value in enumerate(sent))).calls
    return calls.sort("key").to_dicts()


_BOOLEANS: list[tuple[Any, bool | None]] = [
    (True, True), (False, False), ("true", True), ("False", False), (1, True), (0, False), ("1", True),
    ("0", False),
    ("yes", True), ("NO", False), ("evet", True), ("hayır", False), ("", None), ("  ", None), (None, None),
]  # fmt: skip


def test_booleans_in_every_spelling() -> None:
    rows = read_each("answered", (sent for sent, _ in _BOOLEANS))
    assert [(sent, row["answered"]) for (sent, _), row in zip(_BOOLEANS, rows, strict=True)] == _BOOLEANS


# Sent, read as, and kept in `extra`.
_WHOLE_NUMBERS: list[tuple[Any, int | None, Any]] = [
    (12, 12, None), ("12", 12, None), ("12.0", 12, None), (12.0, 12, None), (" 12 ", 12, None), ("", None, None),
    (None, None, None), (-3, None, {"duration": -3}), (12.5, 13, {"duration": 12.5}),
    ("soon", None, {"duration": "soon"}), (99999999999, None, {"duration": 99999999999}), ("null", None, None),
    (86400, 86400, None), (86401, None, {"duration": 86401}), (-(2**31), None, {"duration": -(2**31)}),
    ("00:00:30", 30, None), ("1:00:00", 3600, None), ("00:00:30,5", 31, {"duration": 30.5}),
    ("00:30", None, {"duration": "00:30"}), ("-00:00:30", None, {"duration": "-00:00:30"}),
    ("12,5", 13, {"duration": "12,5"}), ("12,0", 12, None), ("1.234", None, {"duration": "1.234"}),
    ("1,234", None, {"duration": "1,234"}), (1.234, 1, {"duration": 1.234}), ("0,125", 0, {"duration": "0,125"}),
]  # fmt: skip


def test_whole_numbers_in_every_spelling() -> None:
    rows = read_each("duration", (sent for sent, *_ in _WHOLE_NUMBERS))
    assert [
        (sent, row["duration"], json.loads(row["extra"]) if row["extra"] else None)
        for (sent, *_), row in zip(_WHOLE_NUMBERS, rows, strict=True)
    ] == _WHOLE_NUMBERS


@pytest.mark.parametrize(
    "sent",
    [
        "2026-03-02 05:10:00", "2026-03-02T05:10:00", "2026-03-02 05:10", "2026-03-02T05:10:00+03:00",
        "2026-03-02T02:10:00Z", "02.03.2026 05:10:00", 1772417400, "1772417400000",
    ],
)  # fmt: skip
def test_dates_in_every_spelling_are_the_wall_clock_and_the_instant(sent: Any) -> None:
    row = only(read(call(calldate=sent)))
    assert row["calldate"] == dt.datetime(2026, 3, 2, 5, 10)
    assert row["calldate_utc"] == dt.datetime(2026, 3, 2, 2, 10, tzinfo=dt.UTC)


def test_what_cannot_become_a_call_is_kept_with_its_reason() -> None:
    tables = read(
        call(), 7, "text", None, [], {"calldate": "2026-03-02 05:10:00"}, {"key": "x"}, call(key="y", calldate="?")
    )
    assert tables.calls["key"].to_list() == ["k"]
    assert tables.rejected_records.height == 7
    assert tables.rejected_records["reason"].null_count() == 0
    assert [json.loads(record) for record in tables.rejected_records["record"]][:4] == [7, "text", None, []]
    assert tables.counts.select("served", "rejected", "loaded").row(0) == (8, 7, 1)


def test_an_hour_holds_the_calls_of_its_window_and_the_later_of_a_key() -> None:
    times = ["04:59:59", "05:00:00", "05:59:59", "06:00:00"]
    records = [call(key=str(n), calldate=f"2026-03-02 {time}") for n, time in enumerate(times)]
    tables = read_pages(pages([*records, call(key="1", agent="old")], [call(key="1", agent="new")]), ZONE)
    assert sorted(tables.calls["key"]) == ["1", "2"]
    assert tables.calls.filter(key="1")["agent"].to_list() == ["new"]
    counts = tables.counts.select("served", "outside_window", "repeated", "rejected", "loaded").row(0)
    assert counts == (6, 2, 2, 0, 2)


def test_an_hour_without_records_is_counted() -> None:
    assert read().counts.select("served", "loaded").rows() == [(0, 0)]


@pytest.mark.parametrize(
    ("sent", "count", "tags"),
    [
        (["a", "b"], 2, ["a", "b"]), ([{"name": "a"}, {"tag": "b"}], 2, ["a", "b"]), ([], 0, []), (None, 0, []),
        ("", 0, []), ("solo", 1, ["solo"]), ({"name": "a"}, 1, ["a"]),
    ],
)  # fmt: skip
def test_arrays_in_every_shape(sent: Any, count: int, tags: list[str]) -> None:
    tables = read(call(call_tags=sent))
    assert only(tables)["call_tags_count"] == count
    assert tables.call_tags["tag"].to_list() == tags
    assert tables.call_tags["position"].to_list() == list(range(count))


def test_an_array_that_was_not_asked_for_is_told_apart_from_none() -> None:
    sent = call(call_tags=["a"], csat_answers=[])
    row = only(read(sent))
    assert (row["call_tags_count"], row["csat_answers_count"], row["call_history_count"]) == (1, 0, 0)
    unasked = only(read_pages(pages([sent], arrays="call_tags"), ZONE))
    assert (unasked["call_tags_count"], unasked["csat_answers_count"], unasked["call_history_count"]) == (1, 0, None)
    # The hash shows which part is not known. The other parts are the same.
    assert unasked["content_hash"].split(".") == [
        *row["content_hash"].split(".")[:1],
        "-",
        *row["content_hash"].split(".")[2:],
    ]


def test_a_call_of_no_window_is_of_the_hour_of_its_date_and_a_skipped_one_of_the_hour_before() -> None:
    dates = ["2026-03-29 01:10:00", "2026-03-29 02:10:00", "2026-03-29 03:10:00"]
    records = [call(key=str(n), calldate=date) for n, date in enumerate(dates)]
    found = read_pages(pages(records, windowed=False), "Europe/Berlin").calls.sort("key")
    assert [hour.hour for hour in found["partition_hour"]] == [1, 1, 3]


def test_items_give_their_columns_and_keep_what_no_column_tells() -> None:
    item = {"event": "kuyruğa girdi", "date": "2026-03-02 05:10:05", "queue": "Satış", "n": 1.50, "deep": {"a": [1]}}
    tables = read(call(call_history=[item], csat_answers=[{"question": "Soru", "score": "4", "scale": 5}]))
    row = tables.call_history.row(0, named=True)
    assert (row["event"], row["date"], row["queue"]) == ("kuyruğa girdi", dt.datetime(2026, 3, 2, 5, 10, 5), "Satış")
    assert row["extra"] == '{"deep":{"a":[1]},"n":1.5}'
    assert tables.csat_answers.select("question", "score", "scale").row(0) == ("Soru", 4.0, 5.0)


def test_unknown_fields_are_kept() -> None:
    row = only(read(call(mood="good", nested={"a": [1, None]})))
    assert json.loads(row["extra"]) == {"mood": "good", "nested": {"a": [1, None]}}


def test_the_hash_knows_a_change_from_another_spelling_and_from_a_new_link() -> None:
    plain = call(duration=12, answered=True, call_tags=["a"], recordingurl="https://x/1")

    def hash_of(**fields: Any) -> str:
        return str(only(read(plain | fields))["content_hash"])

    assert hash_of(duration="12", answered="true", recordingurl="https://x/2") == hash_of()
    for change in ({"duration": 13}, {"call_tags": ["b"]}, {"agent": "x"}, {"mood": 1}, {"csat_answers": [4]}):
        assert hash_of(**change) != hash_of(), change


def test_the_repeated_hour_is_the_earlier_unless_the_call_proves_the_later() -> None:
    hour = dt.datetime(2026, 10, 25, 2)
    plain = {"key": "k", "calldate": "2026-10-25 02:50:00"}
    first = only(read(plain, zone="Europe/Berlin", hour=hour))
    proven = only(read(plain | {"hangupdate": "2026-10-25 03:05:00", "duration": 900}, zone="Europe/Berlin", hour=hour))
    exact = only(read({"key": "k", "calldate": "2026-10-25T02:50:00+01:00"}, zone="Europe/Berlin", hour=hour))
    assert first["calldate_utc"] == dt.datetime(2026, 10, 25, 0, 50, tzinfo=dt.UTC)
    assert proven["calldate_utc"] == exact["calldate_utc"] == dt.datetime(2026, 10, 25, 1, 50, tzinfo=dt.UTC)


@pytest.mark.parametrize("zone", ["Europe/Istanbul", "Europe/Berlin", "Asia/Kolkata", "Asia/Jerusalem"])
@pytest.mark.parametrize("day", ["1999-07-01", "2015-11-04", "2016-08-10", "2026-03-29", "2026-06-01"])
def test_instants_are_those_of_the_zone(zone: str, day: str) -> None:
    local = dt.datetime.fromisoformat(f"{day} 12:34:56")
    row = only(read({"key": "k", "calldate": str(local)}, zone=zone, hour=local.replace(minute=0, second=0)))
    assert row["calldate_utc"] == local.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)


def test_a_page_that_is_no_json_is_named() -> None:
    broken = with_bodies(pages([]), ["<html>"])
    with pytest.raises(PageError, match="page 0 of 2026-03-02 05:00 cannot be read, fetch it again"):
        read_pages(broken, ZONE)


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["", " ", "true", "12", "2026-03-02 05:30:00", "2026-03-02T02:30:00Z"]),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_records = st.fixed_dictionaries(
    {"key": st.sampled_from("abcdef")},
    optional=dict.fromkeys([*(column.name for column in VENDOR_COLUMNS[1:]), *CHILDREN, "new"], _values)
    | {"calldate": st.just("2026-03-02 05:20:00")},
) | _values  # fmt: skip


_any_content = given(st.lists(_records, max_size=12), st.data())


@settings(max_examples=10, deadline=None, derandomize=True)
@_any_content
def test_any_content_in_any_paging_gives_the_same_rows_and_balances(records: list[Any], data: st.DataObject) -> None:
    assert_same_rows_in_any_paging(records, data)


@pytest.mark.campaign
@settings(max_examples=300, deadline=None, derandomize=True)
@_any_content
def test_any_content_in_any_paging_gives_the_same_rows_for_long(records: list[Any], data: st.DataObject) -> None:
    assert_same_rows_in_any_paging(records, data)


def assert_same_rows_in_any_paging(records: list[Any], data: st.DataObject) -> None:
    whole = read_pages(pages(records), ZONE)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))
    parts = [records[start:finish] for start, finish in itertools.pairwise([0, *cuts, len(records)])]
    paged = read_pages(pages(*parts), ZONE)
    assert paged.calls.sort("key").equals(whole.calls.sort("key"))
    for name in CHILDREN:
        table = getattr(whole, name)
        assert getattr(paged, name).sort("key", "position").equals(table.sort("key", "position"))
        assert table.height == whole.calls[f"{name}_count"].sum()
    assert paged.counts.equals(whole.counts)
    counts = whole.counts.row(0, named=True)
    assert counts["served"] == len(records)
    assert counts["served"] == sum(counts[name] for name in ("outside_window", "repeated", "rejected", "loaded"))


def test_the_columns_are_those_declared() -> None:
    tables = read(call())
    declared = {name: dtype for name, dtype in CALLS.polars_schema.items() if name not in ("fetched_at", "vanished_at")}
    assert dict(tables.calls.schema) == declared
    for name, table in CHILDREN.items():
        assert getattr(tables, name).schema == table.polars_schema


def test_the_real_month_is_read_as_it_is_written() -> None:
    beside = Path(__file__).parents[3] / "shared" / "data" / "anonymous-bank-1999-01.jsonl.gz"
    path = Path(os.environ.get("CDR_REAL_CALLS", beside))
    if not path.exists():
        pytest.skip(f"the real calls are not there: {path}; set CDR_REAL_CALLS")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    bodies = [records[start : start + 100] for start in range(0, len(records), 100)]
    tables = read_pages(pages(*bodies, windowed=False), "Asia/Jerusalem")
    expected = pl.DataFrame(records, infer_schema_length=None).with_columns(
        pl.col(CALL_DATES).str.to_datetime(time_unit="us")
    )
    assert tables.calls.height == 31359
    for column in VENDOR_COLUMNS:
        kind = CALLS.polars_schema[column.name]
        assert tables.calls[column.name].equals(expected[column.name].cast(kind)), column.name
        assert column.kind in Kind
    assert (tables.call_history.height, tables.csat_answers.height, tables.call_tags.height) == (106464, 0, 31359)


# Field, what is sent, and the reason why it is set aside.
_CANNOT_BE_TRUE: list[tuple[str, Any, str]] = [
    ("hangupdate", "0001-01-01 00:00:00", "before calldate"),
    ("hangupdate", "2026-03-02 05:09:59", "before calldate"),
    ("hangupdate", "2026-11-22 00:00:00", "more than a day after it was fetched"),
    ("hangupdate", "9999-12-31 23:59:59", "more than a day after it was fetched"),
    ("talkdate", "1970-01-01 02:00:00", "more than a day away from calldate"),
    ("queuedate", "2026-03-03 05:10:01", "more than a day away from calldate"),
    ("holdduration", -1, "not from 0 to 86400"),
    ("transferred", 10**6, "not from 0 to 86400"),
    ("waitduration", "1.234", "cannot be read"),
]


@pytest.mark.parametrize("zone", ["Europe/Istanbul", "America/New_York"])
def test_what_cannot_be_true_is_set_aside_with_its_reason(zone: str) -> None:
    records = [call(key=str(n), **{field: sent}) for n, (field, sent, _) in enumerate(_CANNOT_BE_TRUE)]
    rows = read(*records, zone=zone).calls.sort("key").to_dicts()
    for (field, sent, reason), row in zip(_CANNOT_BE_TRUE, rows, strict=True):
        assert row[field] is None
        assert json.loads(row["extra"]) == {field: sent}
        assert json.loads(row["set_aside"]) == {field: reason}


@pytest.mark.parametrize(
    "fields",
    [
        {"hangupdate": "2026-03-02 05:10:00", "talkdate": "2026-03-01 05:10:00", "queuedate": "2026-03-03 05:10:00"},
        {"hangupdate": "2026-11-20 20:00:00", "waitduration": 0, "duration": 86_400, "hold": 0},
    ],
)
def test_what_can_be_true_stays(fields: dict[str, Any]) -> None:
    row = only(read(call(**fields)))
    assert row["set_aside"] is row["extra"] is None
    assert all(row[field] is not None for field in fields)
