"""Pages read in one typed pass give the same tables as in the thorough way, which they do not use."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.domain.schema import CHILDREN, VENDOR_COLUMNS, Kind
from cdr_assets.transforms import Tables, read_pages
from cdr_assets.transforms import pages as pages_module
from cdr_assets.transforms.uniform_pages import UniformPages
from cdr_assets_tests.transforms.test_read_pages import ZONE, call, pages, with_bodies

TABLES = ("calls", *CHILDREN, "rejected_records", "unknown_fields", "counts")

_texts = st.text(max_size=6) | st.sampled_from(
    ['"', "\\", "\x00", "\x1f\n", "null", " None ", "", " ", "{", "[1]", "İ", "12"]
)
_integers = st.integers(-5, 4000) | st.sampled_from([2**31, -(2**31) - 1, 2**63 - 1, 86_401])
_numbers = _integers.map(str) | st.sampled_from(["12", " 12", "1.5", "1.234", "0012", "-0", "", "soon"])
_dates = st.integers(0, 3599).map(lambda n: f"2026-03-02 05:{n // 60:02}:{n % 60:02}") | st.sampled_from(
    [
        "",
        "2026-03-02T05:10:00",
        "2026-03-02 05:10:00.5",
        "05.03.2026",
        "0000-00-00 00:00:00",
        "2026-03-02 05:10:00+03:00",
    ]
)
# For each kind of column: how a tenant may write it, in all of its pages.
_STYLES: dict[Kind, list[st.SearchStrategy[Any]]] = {
    Kind.TEXT: [_texts, _integers, st.booleans()],
    Kind.BOOLEAN: [st.booleans(), st.sampled_from(["true", "False", "1", "evet", "?"]), st.sampled_from([0, 1, 7])],
    Kind.INTEGER: [_integers, _numbers, st.booleans()],
    Kind.NUMBER: [_integers, _numbers],
    Kind.LOCAL: [_dates, st.sampled_from([1772420400, 1772420400000, 12])],
}
_UNKNOWN = [_texts, _integers, st.booleans()]
# What is not uniform: the page that has it is read in the thorough way.
_ODD = st.sampled_from([1.5, -0.0, 10**30, {"a": 1}, [1], [None], {}, []])


def _objects(draw: st.DrawFn, kinds: dict[str, Kind]) -> st.SearchStrategy[dict[str, Any]]:
    styles = {name: draw(st.sampled_from(_STYLES[kind])) for name, kind in kinds.items()}
    styles |= {
        name: draw(st.sampled_from(_UNKNOWN))
        for name in draw(st.lists(st.sampled_from(["new", "x", "ü"]), unique=True))
    }
    return st.fixed_dictionaries({}, optional={name: st.none() | style for name, style in styles.items()})


@st.composite
def _tenants(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """The pages of a tenant, nearly all of them uniform."""
    record = _objects(draw, {column.name: column.kind for column in VENDOR_COLUMNS})
    arrays: dict[str, st.SearchStrategy[Any]] = {}
    for name, table in CHILDREN.items():
        items = _objects(draw, {field: column.kind for column in table.columns for field in column.names})
        of_name = draw(st.sampled_from([items, _texts]))
        arrays[name] = st.none() | st.lists(st.none() | of_name, max_size=3)
    whole = st.builds(
        lambda fields, items, number, date: {**fields, **items, "key": f"k{number}", "calldate": date},
        record,
        st.fixed_dictionaries({}, optional=arrays),
        st.integers(0, 5),
        _dates,
    )
    drawn = draw(st.lists(st.lists(whole, max_size=4), min_size=1, max_size=5))
    if draw(st.integers(0, 3)) == 0 and any(drawn):
        name = draw(st.sampled_from(["duration", "queue", "hangupdate", "new", *CHILDREN]))
        next(page for page in drawn if page)[0][name] = draw(_ODD)
    return drawn


@contextmanager
def _ways(monkeypatch: pytest.MonkeyPatch, *, thorough: bool) -> Iterator[list[int]]:
    """Yields a list of the numbers of pages that are read in the thorough way; with `thorough`, all pages are."""
    taken: list[int] = []
    take_apart = pages_module.take_apart

    def noted(connection: Any, some: pl.DataFrame) -> Any:
        taken.extend(some["page"])
        return take_apart(connection, some)

    with monkeypatch.context() as patch:
        patch.setattr(pages_module, "take_apart", noted)
        if thorough:
            patch.setattr(UniformPages, "take_apart", lambda _, some: ([], some))
        yield taken


def assert_both_ways_equal(monkeypatch: pytest.MonkeyPatch, bodies: list[str]) -> tuple[Tables, list[int]]:
    frame = with_bodies(pages(*([] for _ in bodies)), bodies)
    with _ways(monkeypatch, thorough=False) as taken:
        here = read_pages(frame, ZONE)
    with _ways(monkeypatch, thorough=True):
        there = read_pages(frame, ZONE)
    for name in TABLES:
        one, other = getattr(here, name), getattr(there, name)
        assert one.schema == other.schema, name
        assert one.equals(other), (name, one.to_dicts(), other.to_dicts())
    return here, taken


@settings(max_examples=25, deadline=None, derandomize=True)
@given(drawn=_tenants(), is_escaped=st.booleans())
def test_both_ways_give_the_same_tables(drawn: list[list[dict[str, Any]]], is_escaped: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_both_ways_equal(monkeypatch, _bodies(drawn, is_escaped))


@pytest.mark.campaign
@settings(max_examples=1500, deadline=None)
@given(drawn=_tenants(), is_escaped=st.booleans())
def test_both_ways_give_the_same_tables_for_long(drawn: list[list[dict[str, Any]]], is_escaped: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_both_ways_equal(monkeypatch, _bodies(drawn, is_escaped))


def _bodies(drawn: list[list[dict[str, Any]]], is_escaped: bool) -> list[str]:
    return [json.dumps({"CallList": page, "cursor": "c"}, ensure_ascii=is_escaped) for page in drawn]


def test_usual_pages_are_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [
        call(key=str(n), duration=n, call_tags=[{"tag": "a"}], call_history=[{"event": "ring", "new": n}])
        for n in range(40)
    ]
    _, taken = assert_both_ways_equal(monkeypatch, _bodies([[one] for one in usual], False))
    assert taken == []


def test_a_tenant_that_writes_numbers_as_texts_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [call(key=str(n), duration=str(n), hold="0", answered="true", call_tags=["a"]) for n in range(40)]
    tables, taken = assert_both_ways_equal(monkeypatch, _bodies([[one] for one in texts], False))
    assert (tables.calls["duration"].sum(), taken) == (sum(range(40)), [])


def test_only_the_odd_page_is_read_in_the_thorough_way(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [call(key=str(n)) for n in range(40)]
    many[20] |= {"duration": 1.5, "new": {"deep": [1]}}
    _, taken = assert_both_ways_equal(monkeypatch, _bodies([[one] for one in many], False))
    assert taken == [20]


def test_a_tenant_whose_pages_are_all_odd_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    learn = pages_module.UniformPages._parse_or_learn

    def counted(self: Any, page: pl.DataFrame) -> Any:
        nonlocal tried
        tried += 1
        return learn(self, page)

    monkeypatch.setattr(pages_module.UniformPages, "_parse_or_learn", counted)
    odd = [call(key=str(n), duration=n + 0.5) for n in range(200)]
    _, taken = assert_both_ways_equal(monkeypatch, _bodies([[one] for one in odd], False))
    assert (len(taken), tried) == (200, 32)


def test_a_tenant_that_changes_its_types_from_page_to_page_is_not_learnt_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = [call(key=str(n), call_tags=["a"] if n % 2 else [{"tag": "a"}]) for n in range(200)]
    _, taken = assert_both_ways_equal(monkeypatch, _bodies([[one] for one in both], False))
    assert len(taken) > 150


@pytest.mark.parametrize(
    "fields",
    [
        '"queue":"a","queue":"b"', '"new":1,"new":2', '"queue":"a\\ud800b"', '"queue":"a\nb"', '"duration":-0',
        '"agentid":-0', '"agentid":0', '"duration":12345678901234567890', '"new":{"a":1}', '"queue":["a"]',
        '"call_tags":"a"', '"call_tags":["a",1]', '"call_history":[{"event":"a","event":"b"}]', '"call_history":[[1]]',
        '"csat_answers":[{"score":4.5}]', '"waitduration":"00:01:00"', '"\\u0071ueue":"a"', '"queue":"\\u0000"',
        '"call_history":[{"event":""},{"event":null},{},null]', '"call_tags":[]', '"call_tags":null',
    ],
)  # fmt: skip
def test_odd_json_gives_the_same_tables(monkeypatch: pytest.MonkeyPatch, fields: str) -> None:
    odd = '{"CallList":[{"key":"k","calldate":"2026-03-02 05:10:00",' + fields + "}]}"
    usual = json.dumps({"CallList": [call(key="other")], "cursor": None})
    assert_both_ways_equal(monkeypatch, [usual, odd, " \n" + usual])


@pytest.mark.parametrize("body", ["{}", '{"CallList":null}', '{"CallList":[]}', '{"CallList":[],"success":true}'])
def test_pages_without_records(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    frame = with_bodies(pages([]), [body])
    with _ways(monkeypatch, thorough=False):
        tables = read_pages(frame, ZONE)
    assert (tables.counts["served"].to_list(), tables.calls.height) == ([0], 0)
