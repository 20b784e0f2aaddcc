"""The number of calls to expect in an hour: the median of loaded hours with the same weekday and hour."""

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.warehouse import Warehouse, expected
from cdr_assets.warehouse.expected import expected_calls

HOUR = dt.datetime(2026, 3, 2, 5)
WEEK = dt.timedelta(weeks=1)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path / "cdr.duckdb").connect("test") as connection:
        yield connection


def load(connection: duckdb.DuckDBPyConnection, calls: Mapping[dt.datetime, int]) -> None:
    """Adds loads of whole hours, each with this many calls."""
    for hour, count in calls.items():
        connection.execute("INSERT INTO cdr.loads (partition_hour) VALUES (?)", [hour])
        connection.execute(
            "INSERT INTO cdr.calls (key, partition_hour) SELECT $hour || ' ' || n, $hour FROM range($count) t (n)",
            {"hour": hour, "count": count},
        )


def test_is_the_median_of_the_same_weekday_and_hour(connection: duckdb.DuckDBPyConnection) -> None:
    load(connection, {HOUR - n * WEEK: count for n, count in enumerate((7, 30, 0, 31, 29, 90))})
    # Other hours and other weekdays do not count.
    load(connection, {HOUR - WEEK - dt.timedelta(hours=1): 1000, HOUR - dt.timedelta(days=1): 1000})
    assert expected_calls(connection, [HOUR]) == {HOUR: 30.0}


def test_an_hour_that_was_not_loaded_is_none_without_calls(connection: duckdb.DuckDBPyConnection) -> None:
    load(connection, {HOUR - 9 * WEEK: 40, HOUR - WEEK: 20})
    failed, narrowed = HOUR - 2 * WEEK, HOUR - 3 * WEEK
    connection.execute("INSERT INTO cdr.loads (partition_hour, error) VALUES (?, 'refused')", [failed])
    connection.execute("INSERT INTO cdr.loads (partition_hour, filters) VALUES (?, 'csat')", [narrowed])
    assert expected_calls(connection, [HOUR]) == {HOUR: 30.0}


def test_nothing_is_expected_where_no_such_hour_was_loaded(connection: duckdb.DuckDBPyConnection) -> None:
    load(connection, {HOUR: 40, HOUR + WEEK: 40})
    unlike = HOUR + dt.timedelta(hours=1)
    assert expected_calls(connection, [HOUR, unlike, HOUR + WEEK, HOUR + WEEK]) == {
        HOUR: None,
        unlike: None,
        HOUR + WEEK: 40.0,
    }
    assert expected_calls(connection, []) == {}


def test_only_the_last_eight_loaded_hours_count(connection: duckdb.DuckDBPyConnection) -> None:
    load(connection, {HOUR - n * WEEK: 100 if n > 8 else 10 for n in range(1, 40)})
    assert expected_calls(connection, [HOUR]) == {HOUR: 10.0}


def test_calls_that_vanished_did_not_come(connection: duckdb.DuckDBPyConnection) -> None:
    load(connection, {HOUR - WEEK: 3})
    connection.execute("UPDATE cdr.calls SET vanished_at = now() WHERE key LIKE '% 0'")
    # An hour that is loaded again counts once.
    load(connection, {HOUR - WEEK: 0, HOUR - 2 * WEEK: 4})
    assert expected_calls(connection, [HOUR]) == {HOUR: 3.0}


@pytest.fixture
def special_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "special_days.csv"
    monkeypatch.setattr(expected, "_SPECIAL_DAYS", path)
    return path


def test_a_special_day_is_no_example_and_nothing_is_expected_on_it(
    connection: duckdb.DuckDBPyConnection, special_days: Path
) -> None:
    load(connection, {HOUR - n * WEEK: count for n, count in enumerate((0, 0, 30, 90, 20))})
    special_days.write_text("local_date,name\n", encoding="utf-8")
    assert expected_calls(connection, [HOUR, HOUR - WEEK]) == {HOUR: 25.0, HOUR - WEEK: 30.0}
    # A holiday and the day of a campaign, written by Excel.
    noted = f"local_date,name\r\n{HOUR - WEEK:%Y-%m-%d},Bayram\r\n{HOUR - 3 * WEEK:%Y-%m-%d},\r\n"
    special_days.write_text(noted, encoding="utf-8-sig")
    assert expected_calls(connection, [HOUR, HOUR - WEEK]) == {HOUR: 25.0, HOUR - WEEK: None}
    load(connection, {HOUR - 5 * WEEK: 24})
    assert expected_calls(connection, [HOUR]) == {HOUR: 24.0}


@pytest.mark.parametrize("text", ["local_date,name\n2026-13-01,x\n", "local_date;name\n2026-01-01;x\n"])
def test_a_line_that_is_no_day_is_named(connection: duckdb.DuckDBPyConnection, special_days: Path, text: str) -> None:
    special_days.write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match=r"special_days\.csv, line 2: .* is no date; the first line must be"):
        expected_calls(connection, [HOUR])


def test_the_file_of_the_project_can_be_read() -> None:
    assert expected._special_days(expected._SPECIAL_DAYS) == []
