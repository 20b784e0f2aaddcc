"""Unknown fields are reported with their type and first hour, but never with a value."""

import datetime as dt

import polars as pl

from cdr_assets.transforms import read_pages
from cdr_assets_tests.transforms.test_read_pages import HOUR, ZONE, call, pages, read


def test_known_fields_are_no_drift() -> None:
    tables = read(call(call_history=[{"event": "x"}, "y"], csat_answers=[{"max": 5}, 4], call_tags=[1, -2.5]))
    assert tables.unknown_fields.height == 0
    assert read().unknown_fields.schema == tables.unknown_fields.schema


def test_unknown_fields_of_records_and_items_are_told_with_their_type() -> None:
    odd = {
        'a/b~c"*$.[0]': [1],
        "": None,
        "0": True,
        "deep": {"x": "secret"},
        "mood": "secret",
        "size": 1.5,
        "big": 10**30,
    }
    tables = read(
        call(call_history=[{"event": "x", "lamp": 1}, {"lamp": "on"}], **odd),
        call(key="l", mood=1, duration="soon", call_tags=["a", True, None, [1]]),
    )
    found = tables.unknown_fields
    assert found.select("table_name", "name", "type").rows() == [
        ("call_history", "lamp", "number"),
        ("call_history", "lamp", "string"),
        ("call_tags", "(item)", "array"),
        ("calls", "0", "boolean"),
        ("calls", 'a/b~c"*$.[0]', "array"),
        ("calls", "big", "number"),
        ("calls", "deep", "object"),
        ("calls", "duration", "string"),
        ("calls", "mood", "number"),
        ("calls", "mood", "string"),
        ("calls", "size", "number"),
    ]
    assert found["partition_hour"].unique().to_list() == [HOUR]
    assert "secret" not in str(found.rows())


def test_the_first_hour_is_that_of_the_earliest_call() -> None:
    later = HOUR + dt.timedelta(hours=1)
    both = pl.concat(
        [pages([call(key="b", calldate=str(later), mood="bad")], hour=later), pages([call(key="a", mood="good")])]
    )
    row = read_pages(both, ZONE).unknown_fields.row(0, named=True)
    assert (row["partition_hour"], row["type"]) == (HOUR, "string")


def test_names_beyond_all_measure_are_told_as_more() -> None:
    # A field in most calls comes before a field in one call. Known fields are not counted.
    made_up = {f"made_up_{n:05}": n for n in range(20_000)}
    usual = [call(key=str(n), call_tags=[{"tag": "a", "zone": n}], zone=n) for n in range(3)]
    tables = read(*usual, call(**made_up, call_tags=[made_up]))
    found = tables.unknown_fields
    assert found["table_name"].value_counts().sort("table_name").rows() == [("call_tags", 201), ("calls", 201)]
    assert found.filter(name="zone").select("table_name", "type").rows() == [
        ("call_tags", "number"),
        ("calls", "number"),
    ]
    assert found.filter(name="(more)").select("table_name", "type", "partition_hour").rows() == [
        ("call_tags", "any", HOUR),
        ("calls", "any", HOUR),
    ]
