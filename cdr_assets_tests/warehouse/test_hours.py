"""Replacing hours: which calls are new, changed, vanished or moved, and which hours of the marts become stale."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdr_assets.domain.schema import CALLS, CHILDREN, REJECTED_RECORDS, UNKNOWN_FIELDS
from cdr_assets.ingest.balance import find_wrong
from cdr_assets.warehouse import Load, Warehouse, load_hours

HOUR = dt.datetime(2026, 3, 2, 5)
NEXT_HOUR = HOUR + dt.timedelta(hours=1)

_CALL_COLUMNS = {name: kind for name, kind in CALLS.polars_schema.items() if name not in ("fetched_at", "vanished_at")}


def call(key: str, hour: dt.datetime = HOUR, **fields: Any) -> dict[str, Any]:
    start = hour + dt.timedelta(minutes=10)
    return {
        "key": key,
        "partition_hour": hour,
        "calldate": start,
        "hangupdate": start + dt.timedelta(minutes=1),
        "call_tags_count": 1,
        "content_hash": "1",
    } | fields


def read(
    *calls: dict[str, Any], hours: tuple[dt.datetime, ...] = (HOUR,), minute: int = 0, filters: str | None = None
) -> Load:
    """A load of `hours` with these calls. Each has one tag, unless tags were not fetched."""
    frame = pl.DataFrame(list(calls), schema=_CALL_COLUMNS)
    tags = frame.filter(pl.col("call_tags_count").is_not_null()).select(
        "key", "partition_hour", position=pl.lit(0), tag=pl.lit("a"), extra=pl.lit(None, pl.String)
    )
    counts = frame.group_by("partition_hour").len("loaded").cast({"loaded": pl.Int64})
    loads = (
        pl.DataFrame({"partition_hour": list(hours)}, schema={"partition_hour": pl.Datetime("us")})
        .join(counts, on="partition_hour", how="left")
        .with_columns(
            pl.col("loaded").fill_null(0),
            pl.col("loaded").fill_null(0).alias("served"),
            *(pl.lit(0).alias(name) for name in ("outside_window", "elsewhere", "repeated", "rejected", "retries")),
            *(pl.lit(1).alias(name) for name in ("requests", "pages")),
            filters=pl.lit(filters, pl.String),
            fetched_at=pl.lit(dt.datetime(2026, 3, 2, 8, minute, tzinfo=dt.UTC)),
            ends_at=pl.lit(dt.datetime(2026, 3, 2, 3, tzinfo=dt.UTC)),
        )
    )
    return Load(
        calls=frame,
        children={name: table.polars_schema.to_frame() for name, table in CHILDREN.items()}
        | {"call_tags": tags.cast({"position": pl.Int32})},
        rejected_records=REJECTED_RECORDS.polars_schema.to_frame(),
        unknown_fields=UNKNOWN_FIELDS.polars_schema.to_frame().drop("noticed_at"),
        loads=loads,
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "cdr.duckdb")


def load(warehouse: Warehouse, loaded: Load) -> dict[str, int]:
    with warehouse.connect("test") as connection:
        loads = load_hours(connection, loaded, "run")
    return loads.select("new", "changed", "vanished", "moved").sum().row(0, named=True)


def ask(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect("test") as connection:
        return connection.execute(query).fetchall()


def test_a_second_load_of_the_same_hour_writes_nothing(warehouse: Warehouse) -> None:
    assert load(warehouse, read(call("a"), call("b"))) == {"new": 2, "changed": 0, "vanished": 0, "moved": 0}
    before = ask(warehouse, "SELECT * FROM cdr.calls ORDER BY key")
    with warehouse.connect("test") as connection:
        connection.execute("DELETE FROM cdr.stale_hours")
    assert load(warehouse, read(call("b"), call("a"), minute=1)) == {"new": 0, "changed": 0, "vanished": 0, "moved": 0}
    assert ask(warehouse, "SELECT * FROM cdr.calls ORDER BY key") == before
    assert ask(warehouse, "FROM cdr.stale_hours") == []
    assert ask(warehouse, "SELECT count(*) FROM cdr.loads") == [(2,)]


def test_a_changed_call_replaces_its_row_and_its_children(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("b")))
    assert load(warehouse, read(call("a", content_hash="2", agent="x@y"), call("b"), minute=1))["changed"] == 1
    assert ask(warehouse, "SELECT key, agent FROM cdr.calls ORDER BY key") == [("a", "x@y"), ("b", None)]
    assert ask(warehouse, "SELECT key, count(*) FROM cdr.call_tags GROUP BY ALL ORDER BY ALL") == [("a", 1), ("b", 1)]


def test_a_vanished_call_is_kept_marked_and_comes_back_when_it_is_listed_again(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("b")))
    assert load(warehouse, read(call("a"), minute=1))["vanished"] == 1
    assert ask(warehouse, "SELECT key, vanished_at IS NULL FROM cdr.calls ORDER BY key") == [("a", True), ("b", False)]
    assert load(warehouse, read(call("a"), minute=2))["vanished"] == 0
    assert load(warehouse, read(call("a"), call("b"), minute=3)) == {"new": 1, "changed": 0, "vanished": 0, "moved": 0}
    assert ask(warehouse, "SELECT key, vanished_at IS NULL FROM cdr.calls ORDER BY key") == [("a", True), ("b", True)]


def test_calls_are_stored_in_the_order_of_time_however_they_came(warehouse: Warehouse) -> None:
    seconds = range(0, 3600, 2)
    calls = [
        call(f"{hour.hour}-{second}", hour, calldate=hour + dt.timedelta(seconds=second))
        for hour in (NEXT_HOUR, HOUR)
        for second in reversed(seconds)
    ]
    load(warehouse, read(*calls, hours=(HOUR, NEXT_HOUR)))
    stored = ask(warehouse, "SELECT partition_hour, calldate FROM cdr.calls ORDER BY rowid")
    assert len(stored) == 2 * len(seconds)
    assert stored == sorted(stored)


def test_an_hour_without_calls_empties_nothing_of_its_neighbour(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("n", NEXT_HOUR), hours=(HOUR, NEXT_HOUR)))
    assert load(warehouse, read(hours=(HOUR,), minute=1))["vanished"] == 1
    assert ask(warehouse, "SELECT key FROM cdr.calls WHERE vanished_at IS NULL") == [("n",)]


def test_a_call_whose_date_was_corrected_moves_and_is_there_once(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("b")))
    load(warehouse, read(call("a", NEXT_HOUR), hours=(NEXT_HOUR,), minute=1))
    assert ask(warehouse, "SELECT key, partition_hour FROM cdr.calls ORDER BY key") == [("a", NEXT_HOUR), ("b", HOUR)]
    assert ask(warehouse, "SELECT key, partition_hour FROM cdr.call_tags ORDER BY key") == [
        ("a", NEXT_HOUR),
        ("b", HOUR),
    ]
    assert ask(warehouse, "SELECT loaded, moved FROM cdr.loads ORDER BY partition_hour") == [(2, 1), (1, 0)]
    stale = ask(warehouse, "SELECT hour FROM cdr.stale_hours WHERE reason = 'partition' ORDER BY ALL")
    assert stale == [(HOUR,), (NEXT_HOUR,)]


def test_a_call_that_moved_after_its_old_hour_had_been_read_again_counts_in_neither_load_of_that_hour(
    warehouse: Warehouse,
) -> None:
    load(warehouse, read(call("a"), call("b")))
    assert load(warehouse, read(call("b"), minute=1))["vanished"] == 1
    load(warehouse, read(call("a", NEXT_HOUR), hours=(NEXT_HOUR,), minute=2))
    assert ask(warehouse, "SELECT key, vanished_at IS NULL FROM cdr.calls ORDER BY key") == [("a", True), ("b", True)]
    # The newest load of the old hour counts one call, and the hour holds one.
    assert ask(warehouse, "SELECT loaded, moved FROM cdr.loads ORDER BY fetched_at") == [(2, 0), (1, 0), (1, 0)]


def test_the_same_key_in_two_hours_of_one_load_is_the_later_ones(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("a", NEXT_HOUR, content_hash="2"), hours=(HOUR, NEXT_HOUR)))
    assert ask(warehouse, "SELECT partition_hour FROM cdr.calls") == [(NEXT_HOUR,)]
    assert ask(warehouse, "SELECT partition_hour FROM cdr.call_tags") == [(NEXT_HOUR,)]
    assert ask(warehouse, "SELECT loaded, moved FROM cdr.loads ORDER BY partition_hour") == [(1, 1), (1, 0)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1, 1), (1, 1, 0, 0)])
@pytest.mark.parametrize("is_fetched_in_this_order", [True, False])
def test_the_same_key_in_two_hours_is_the_later_ones_in_whatever_order_they_are_read(
    warehouse: Warehouse, order: tuple[int, ...], is_fetched_in_this_order: bool
) -> None:
    listed = [(HOUR, [call("a"), call("b")]), (NEXT_HOUR, [call("a", NEXT_HOUR, content_hash="2")])]
    minutes = range(len(order)) if is_fetched_in_this_order else range(len(order), 0, -1)
    for minute, which in zip(minutes, order, strict=True):
        hour, calls = listed[which]
        load(warehouse, read(*calls, hours=(hour,), minute=minute))
        with warehouse.connect("test") as connection:
            assert find_wrong(connection, None)[:2] == ([], [])
    assert ask(warehouse, "SELECT key, partition_hour, content_hash, vanished_at FROM cdr.calls ORDER BY key") == [
        ("a", NEXT_HOUR, "2", None),
        ("b", HOUR, "1", None),
    ]
    assert ask(warehouse, "SELECT key, partition_hour FROM cdr.call_tags ORDER BY key") == [
        ("a", NEXT_HOUR),
        ("b", HOUR),
    ]


def test_a_call_goes_to_an_earlier_hour_once_its_own_lists_it_no_more(warehouse: Warehouse) -> None:
    place = "SELECT partition_hour, vanished_at IS NULL FROM cdr.calls"
    load(warehouse, read(call("a", NEXT_HOUR), hours=(NEXT_HOUR,)))
    load(warehouse, read(call("a"), minute=1))
    assert ask(warehouse, place) == [(NEXT_HOUR, True)]
    load(warehouse, read(call("a"), hours=(HOUR, NEXT_HOUR), minute=2))
    assert ask(warehouse, place) == [(HOUR, True)]
    load(warehouse, read(call("a", NEXT_HOUR), hours=(NEXT_HOUR,), minute=3))
    assert ask(warehouse, place) == [(NEXT_HOUR, True)]
    load(warehouse, read(hours=(NEXT_HOUR,), minute=4))
    load(warehouse, read(call("a"), minute=5))
    assert ask(warehouse, place) == [(HOUR, True)]
    with warehouse.connect("test") as connection:
        assert find_wrong(connection, None)[:2] == ([], [])


def test_every_hour_that_a_call_overlaps_is_touched_in_its_old_and_its_new_content(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a", hangupdate=HOUR + dt.timedelta(hours=2, minutes=30))))
    touched = "SELECT hour FROM cdr.stale_hours WHERE reason = 'touched' ORDER BY hour"
    assert ask(warehouse, touched) == [(HOUR + dt.timedelta(hours=n),) for n in range(3)]
    with warehouse.connect("test") as connection:
        connection.execute("DELETE FROM cdr.stale_hours")
    load(warehouse, read(call("a", content_hash="2"), minute=1))
    assert ask(warehouse, touched) == [(HOUR + dt.timedelta(hours=n),) for n in range(3)]


def merge(*calls: dict[str, Any], minute: int = 0) -> Load:
    """Merges the calls of a fetch with a filter for one queue."""
    return read(
        *calls, hours=tuple({call["partition_hour"] for call in calls}), minute=minute, filters='{"queue": "Q"}'
    )


def test_a_narrowed_fetch_merges_by_key_and_takes_nothing_away(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a"), call("b")))
    narrowed = merge(call("b", content_hash="2", agent="x@y"), call("c"), minute=1)
    assert load(warehouse, narrowed) == {"new": 1, "changed": 1, "vanished": 0, "moved": 0}
    assert ask(warehouse, "SELECT key, agent, vanished_at FROM cdr.calls ORDER BY key") == [
        ("a", None, None),
        ("b", "x@y", None),
        ("c", None, None),
    ]
    assert ask(warehouse, "SELECT key, count(*) FROM cdr.call_tags GROUP BY ALL ORDER BY ALL") == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
    ]
    with warehouse.connect("test") as connection:
        assert find_wrong(connection, [HOUR])[0] == []


def test_an_array_that_was_not_asked_for_stays_as_it_is_stored(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a", content_hash="1.h.c.t"), call("b", content_hash="1.h.c.t")))
    again = read(
        call("a", content_hash="1.h.c.-", call_tags_count=None),
        call("b", NEXT_HOUR, content_hash="2.h.c.-", call_tags_count=None, agent="x@y"),
        hours=(HOUR, NEXT_HOUR),
        minute=1,
    )
    load(warehouse, again)
    assert ask(warehouse, "SELECT key, partition_hour, content_hash, call_tags_count FROM cdr.calls ORDER BY key") == [
        ("a", HOUR, "1.h.c.t", 1),
        ("b", NEXT_HOUR, "2.h.c.t", 1),
    ]
    assert ask(warehouse, "SELECT key, partition_hour, tag FROM cdr.call_tags ORDER BY key") == [
        ("a", HOUR, "a"),
        ("b", NEXT_HOUR, "a"),
    ]


def test_of_two_fetches_the_later_wins_whichever_is_loaded_last(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a", content_hash="new"), call("b"), call("c"), minute=5))
    # The whole hour in an older state: one call with its old content, one that has vanished since, and one missing.
    assert load(warehouse, read(call("a", content_hash="old"), call("gone"), minute=1)) == {
        "new": 0,
        "changed": 0,
        "vanished": 0,
        "moved": 0,
    }
    # One call in an older state, and one in its present state.
    load(warehouse, merge(call("b", content_hash="old"), minute=2))
    load(warehouse, merge(call("c", content_hash="newest"), minute=7))
    load(warehouse, read(call("a", content_hash="new"), call("b"), call("c"), minute=6))
    stored = ask(warehouse, "SELECT key, content_hash, vanished_at FROM cdr.calls ORDER BY key")
    assert stored == [("a", "new", None), ("b", "1", None), ("c", "newest", None)]
    with warehouse.connect("test") as connection:
        assert find_wrong(connection, None)[0] == []


def test_unknown_fields_are_noticed_once_with_the_first_hour_that_has_them(warehouse: Warehouse) -> None:
    def mood(hour: dt.datetime, minute: int) -> Load:
        loaded = read(hours=(hour,), minute=minute)
        field = {"table_name": "calls", "name": "mood", "type": "string", "partition_hour": hour}
        object.__setattr__(loaded, "unknown_fields", pl.DataFrame([field], schema=loaded.unknown_fields.schema))
        return loaded

    load(warehouse, mood(NEXT_HOUR, 0))
    noticed = ask(warehouse, "SELECT noticed_at FROM cdr.unknown_fields")
    load(warehouse, mood(HOUR, 1))
    load(warehouse, mood(NEXT_HOUR, 2))
    assert ask(warehouse, "SELECT name, type, partition_hour FROM cdr.unknown_fields") == [("mood", "string", HOUR)]
    assert ask(warehouse, "SELECT noticed_at FROM cdr.unknown_fields") == noticed


def test_a_failure_in_the_middle_changes_nothing(warehouse: Warehouse) -> None:
    load(warehouse, read(call("a")))
    broken = read(call("a", content_hash="2"), minute=1)
    object.__setattr__(broken, "rejected_records", pl.DataFrame({"no_such_column": [1]}))
    with pytest.raises(Exception, match="no_such_column"):
        load(warehouse, broken)
    assert ask(warehouse, "SELECT content_hash FROM cdr.calls") == [("1",)]
    assert ask(warehouse, "SELECT count(*) FROM cdr.loads") == [(1,)]


def test_names_that_a_server_makes_up_do_not_fill_the_table(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr_assets.warehouse.hours._MOST_UNKNOWN_FIELDS", 5)

    def add(*names: str, minute: int) -> list[tuple[str, str]]:
        loaded = read(minute=minute)
        rows = [("calls", name, "any" if name == "(more)" else "number", HOUR) for name in names]
        unknown = pl.DataFrame(rows, schema=loaded.unknown_fields.schema, orient="row")
        object.__setattr__(loaded, "unknown_fields", unknown)
        load(warehouse, loaded)
        return ask(warehouse, "SELECT name, type FROM cdr.unknown_fields ORDER BY ALL")

    three = [(name, "number") for name in "abc"]
    assert add("a", "b", "c", minute=1) == three
    assert add("c", "(more)", minute=2) == [("(more)", "any"), *three]
    told = "SELECT noticed_at FROM cdr.unknown_fields WHERE name = '(more)'"
    [(noticed_at,)] = ask(warehouse, told)
    assert add("a", "b", "c", minute=3) == [("(more)", "any"), *three]
    assert ask(warehouse, told) == [(noticed_at,)]
    assert add("d", "e", "f", "g", minute=4) == [("(more)", "any"), *three, ("d", "number"), ("e", "number")]
    assert ask(warehouse, told) > [(noticed_at,)]
