"""For any input, `read_pages` gives the same result as the slow, independent reader in `reference`."""

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.domain.schema import CALLS, VENDOR_COLUMNS, Kind
from cdr_assets.transforms import Tables, read_pages
from cdr_assets_tests.transforms.reference import (
    ARRAYS,
    BOOLEANS,
    DATES,
    FETCHED_AT,
    INTEGERS,
    ITEM_COLUMNS,
    NOTHING,
    TEXTS,
    Hour,
    read_hour,
)
from cdr_assets_tests.transforms.test_read_pages import with_bodies

# For each zone: hours in which the clocks go back, go forward, or do not change.
HOURS = [
    ("Europe/Istanbul", dt.datetime(2015, 11, 8, 3)),
    ("Europe/Istanbul", dt.datetime(2015, 3, 29, 3)),
    ("Europe/Istanbul", dt.datetime(2026, 10, 25, 3)),
    ("Europe/Berlin", dt.datetime(2026, 10, 25, 2)),
    ("Europe/Berlin", dt.datetime(2026, 3, 29, 2)),
    ("Asia/Kolkata", dt.datetime(2026, 3, 29, 2)),
    ("Asia/Jerusalem", dt.datetime(1999, 9, 3, 1)),
    ("Asia/Jerusalem", dt.datetime(1999, 4, 2, 2)),
]

# Without control characters that only Python, not Unicode, takes for blanks: nobody sends them.
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1c\x1d\x1e\x1f"), max_size=8)
_numbers = st.integers(-(10**30), 10**30) | st.integers(-9, 9999).map(lambda quarters: quarters / 4)
_blanks = st.sampled_from(["", " ", "\t\n", "[", '["a"]', *NOTHING])
_scalars = st.none() | st.booleans() | _numbers | _texts | _blanks
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)


def _spelled(usual: st.SearchStrategy[Any], unusual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return usual | usual | unusual | _anything


_booleans = _spelled(
    st.booleans(),
    st.sampled_from(["true", "False", "1", "0", 1, 0, 1.0, 0.0, "1.0", "YES", "no", "T", "f", "y", "N", "on", "Off"])
    | st.sampled_from(["evet", "Hayır", "HAYIR", " true ", "2", "oui"]),
)
_whole = st.integers(-5, 4000) | st.sampled_from([2**31 - 1, 2**31, -(2**31), -(2**31) - 1])
_integers = _spelled(
    _whole,
    _whole.map(str)
    | _whole.map(float)
    | st.integers(-9, 9999).map(lambda quarters: quarters / 4)
    | st.integers(-9, 9999).map(lambda quarters: str(quarters / 4))
    | st.sampled_from([" 12 ", "1e2", "1E+2", "12.", ".5", "+7", "true", "FALSE", "1_0", "0x1", "nan", "inf", "-inf"])
    | st.sampled_from(["1e999", "12,5", "٣", "00:02:20", "1e-400", "1.234", "1,234", "0,125", ",5", "12,50", "1.2345"])
    | st.sampled_from(["00:00:30", "1:00:00", "24:00:01", "00:61:00", "00:00:30,5", "-00:00:30", "00:30", "86400"])
    | st.just(86401),
)
_FORMATS = [
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S,%f7",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%fZ",
    " %Y-%m-%d %H:%M ",
    "%Y-%m-%dT%H:%M:%S+03:00", "%Y-%m-%d %H:%M:%S-0530", "%Y-%m-%d %H:%M:%S +02", "%d.%m.%Y %H:%M:%S+01:00",
    "%Y-%m-%d %H:%M:%S UTC", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M", "%d/%m/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S+24:00",
]  # fmt: skip
_ODD_DATES = [
    "0001-01-01 00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59-12:00",
    "0000-00-00 00:00:00", "0000-01-01 00:00:00", "2026-02-30 00:00:00", "2026-03-02 24:00:00", "2026-3-2 4:5:6",
    "9999999999", "9999999999999", 0, "0", "1900-01-01 00:00:00", "1910-10-01 00:00:00", "31.02.2026", "10000-01-01",
]  # fmt: skip


def _dates(hour: dt.datetime) -> st.SearchStrategy[Any]:
    times = st.datetimes(hour - dt.timedelta(hours=1), hour + dt.timedelta(hours=2)).map(
        lambda time: time.replace(microsecond=0)
    )
    epochs = st.datetimes(hour, hour + dt.timedelta(hours=1)).map(lambda time: time.replace(tzinfo=dt.UTC).timestamp())
    return _spelled(
        times.map(str),
        st.builds(lambda time, spelling: time.strftime(spelling), times, st.sampled_from(_FORMATS))
        | epochs.map(int)
        | epochs.map(lambda seconds: str(int(seconds * 1000)))
        | epochs.map(lambda seconds: f"{int(seconds)}.25")
        | st.sampled_from(_ODD_DATES),
    )


def _item(table: str, hour: dt.datetime) -> st.SearchStrategy[Any]:
    names = {name: kind for _, kind, names, _ in ITEM_COLUMNS[table] for name in names}
    values = {"text": _spelled(_texts, _numbers), "number": _integers, "date": _dates(hour)}
    fields: dict[str, st.SearchStrategy[Any]] = {name: values[kind] for name, kind in names.items()}
    return st.fixed_dictionaries({}, optional=fields | {"new": _anything}) | _anything


def _array(table: str, hour: dt.datetime) -> st.SearchStrategy[Any]:
    items = st.lists(_item(table, hour), max_size=4)
    return items | items | items.map(json.dumps) | _item(table, hour) | st.sampled_from([None, "", " ", "[]", "[1,"])


@st.composite
def _record(draw: st.DrawFn, hour: dt.datetime) -> Any:
    dates = _dates(hour)
    record = draw(
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(TEXTS, _spelled(_texts, _numbers))
            | dict.fromkeys(BOOLEANS, _booleans)
            | dict.fromkeys(INTEGERS, _integers)
            | dict.fromkeys(DATES, dates)
            | {name: _array(name, hour) for name in ARRAYS}
            | {"new": _anything, 'a/b~"c': _anything, "": _anything},
        )
    )
    if draw(st.integers(0, 9)):
        # Most records must become calls, because only then are their other fields compared.
        minutes = st.integers(-10, 70).map(lambda n: str(hour + dt.timedelta(minutes=n)))
        record |= {"key": draw(st.sampled_from(["a", "b", "c", " a ", 7, "7"])), "calldate": draw(minutes)}
        if draw(st.booleans()):
            lasts = draw(st.integers(0, 7200))
            finish = dt.datetime.fromisoformat(record["calldate"]) + dt.timedelta(
                seconds=lasts + 3600 * draw(st.integers(-1, 1))
            )
            record |= {"hangupdate": str(finish), "duration": lasts}
    names = draw(st.permutations(list(record)))
    return {name: record[name] for name in names}


@st.composite
def _hours(draw: st.DrawFn) -> tuple[str, list[tuple[dt.datetime, list[list[Any]]]], bool]:
    zone, hour = draw(st.sampled_from(HOURS))
    hours = []
    for start in (hour, hour + dt.timedelta(hours=1)):
        pages = st.lists(st.lists(_record(start) | _anything, max_size=4), max_size=3)
        hours.append((start, draw(pages)))
    return zone, hours, draw(st.booleans())


def _pages(hours: list[tuple[dt.datetime | None, list[list[Any]]]]) -> pl.DataFrame:
    rows = [
        {
            "partition_hour": start,
            "page_number": number,
            "window_start": start,
            "window_finish": start and start + dt.timedelta(hours=1),
            "fetched_at": FETCHED_AT,
            "arrays": "call_history,call_tags",
            "body": json.dumps({"CallList": page}, ensure_ascii=number % 2 == 0),
        }
        for start, pages in hours
        for number, page in enumerate(pages)
    ]
    times = ("partition_hour", "window_start", "window_finish")
    schema = {name: pl.Datetime("us") for name in times} | {
        "fetched_at": pl.Datetime("us", "UTC"),
        "page_number": pl.Int64,
        "arrays": pl.String,
        "body": pl.String,
    }
    pages = pl.DataFrame(rows, schema=schema).sample(fraction=1, shuffle=True, seed=0)
    return with_bodies(pages, pages["body"])


def _rows(frame: pl.DataFrame, json_column: str) -> list[dict[str, Any]]:
    return [
        row | {json_column: None if row[json_column] is None else json.loads(row[json_column])}
        for row in frame.iter_rows(named=True)
    ]


def _check_hour(tables: Tables, start: dt.datetime | None, pages: list[list[Any]], expected: Hour) -> None:
    of_hour = pl.col("partition_hour").eq_missing(start)
    rejected = _rows(tables.rejected_records.filter(of_hour), "record")
    assert [
        (row["page_number"], row["position"], row["reason"], row["record"]) for row in rejected
    ] == expected.rejected
    if not pages:
        return
    counts = tables.counts.filter(of_hour).row(0, named=True)
    assert (counts["served"], counts["outside_window"], counts["repeated"], counts["rejected"], counts["loaded"]) == (
        expected.served,
        expected.outside_window,
        expected.repeated,
        len(expected.rejected),
        len(expected.calls),
    )
    of_calls = of_hour if start else pl.lit(True)
    calls = {row["key"]: row for row in _rows(tables.calls.filter(of_calls), "extra")}
    for row in calls.values():
        row["set_aside"] = json.loads(row["set_aside"] or "{}")
    assert calls.keys() == expected.calls.keys()
    for key, read in expected.calls.items():
        assert {name: calls[key][name] for name in read.call} == read.call
        for name in ARRAYS:
            items = _rows(getattr(tables, name).filter(of_calls, key=key), "extra")
            assert [
                {column: row[column] for column in row if column not in ("key", "partition_hour")} for row in items
            ] == (read.items[name])


_Drawn = tuple[str, list[tuple[dt.datetime, list[list[Any]]]], bool]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(_hours())
def test_every_record_is_read_as_the_reference_reads_it(drawn: _Drawn) -> None:
    assert_read_as_the_reference(drawn)


@pytest.mark.campaign
@settings(max_examples=500, deadline=None, derandomize=True)
@given(_hours())
def test_every_record_is_read_as_the_reference_reads_it_for_long(drawn: _Drawn) -> None:
    assert_read_as_the_reference(drawn)


def assert_read_as_the_reference(drawn: _Drawn) -> None:
    zone, hours_drawn, is_windowed = drawn
    hours: list[tuple[dt.datetime | None, list[list[Any]]]] = [*hours_drawn]
    if not is_windowed:
        hours = [(None, [page for _, pages in hours for page in pages])]
    tables = read_pages(_pages(hours), zone)
    for start, pages in hours:
        window = (start, start and start + dt.timedelta(hours=1))
        _check_hour(tables, start, pages, read_hour(pages, *window, zone))
    if not is_windowed:
        for calldate, hour in tables.calls.select("calldate", "partition_hour").rows():
            # A local time in a skipped hour becomes one hour later when it is converted to UTC and back.
            there = calldate.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).astimezone(ZoneInfo(zone))
            is_skipped = there.replace(tzinfo=None) != calldate
            assert hour == calldate.replace(minute=0, second=0, microsecond=0) - is_skipped * dt.timedelta(hours=1)


def test_the_reference_knows_every_column() -> None:
    kinds = {Kind.TEXT: TEXTS, Kind.BOOLEAN: BOOLEANS, Kind.INTEGER: INTEGERS, Kind.LOCAL: DATES}
    for kind, names in kinds.items():
        assert {column.name for column in VENDOR_COLUMNS if column.kind is kind} == set(names)
    assert CALLS.name == "calls"
