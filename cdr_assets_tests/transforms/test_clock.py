"""Local times and their UTC times on days with clock changes: compared with `zoneinfo`, and the rule for repeated
hours."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from cdr_assets.domain.schema import CALL_DATES
from cdr_assets.transforms.clock import instants

DAYS = [
    ("Europe/Istanbul", dt.date(2015, 3, 29)),
    ("Europe/Istanbul", dt.date(2015, 11, 8)),
    ("Europe/Istanbul", dt.date(2016, 9, 7)),
    ("Europe/Istanbul", dt.date(2026, 10, 25)),
    ("Europe/Berlin", dt.date(2026, 3, 29)),
    ("Europe/Berlin", dt.date(2026, 10, 25)),
    ("Asia/Kolkata", dt.date(2026, 10, 25)),
    ("Asia/Jerusalem", dt.date(1999, 4, 2)),
    ("Asia/Jerusalem", dt.date(1999, 9, 3)),
    ("Australia/Lord_Howe", dt.date(2026, 4, 5)),
    ("Australia/Lord_Howe", dt.date(2026, 10, 4)),
    ("Pacific/Apia", dt.date(2011, 12, 30)),
]


def calls(*rows: dict[str, Any]) -> pl.DataFrame:
    """Calls with these dates, times on 25 October 2026, and with the UTC times that were sent."""
    frame: dict[str, pl.Series] = {"duration": pl.Series([row.get("duration") for row in rows], dtype=pl.Int32)}
    for date in CALL_DATES:
        times = [row.get(date) for row in rows]
        local = [time and dt.datetime.fromisoformat(f"2026-10-25 {time}") for time in times]
        frame[date] = pl.Series(local, dtype=pl.Datetime("us"))
        exact = [row.get(f"{date}_exact") for row in rows]
        frame[f"{date}_exact"] = pl.Series(exact, dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame(frame)


def berlin(**row: Any) -> dict[str, str]:
    """The UTC times of one call, as times of day."""
    found = instants(calls(row), "Europe/Berlin").row(0, named=True)
    return {date: f"{found[f'{date}_utc']:%H:%M}" for date in CALL_DATES if found[f"{date}_utc"] is not None}


@pytest.mark.parametrize(("zone", "day"), DAYS, ids=str)
def test_every_minute_of_a_day_is_the_instant_that_zoneinfo_gives_the_earlier_of_two(zone: str, day: dt.date) -> None:
    midnight = dt.datetime.combine(day, dt.time())
    minutes = pl.Series([midnight + dt.timedelta(minutes=n) for n in range(24 * 60)], dtype=pl.Datetime("us"))
    nothing = pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(minutes))
    frame = pl.DataFrame(dict.fromkeys(CALL_DATES, minutes) | {f"{date}_exact": nothing for date in CALL_DATES})
    found = instants(frame.with_columns(duration=pl.lit(0, pl.Int32)), zone)
    expected = [minute.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC) for minute in minutes]
    for date in CALL_DATES:
        assert found[f"{date}_utc"].to_list() == expected


def test_without_proof_a_repeated_time_is_the_earlier() -> None:
    assert berlin(calldate="02:30:00") == {"calldate": "00:30"}
    assert berlin(calldate="02:30:00", hangupdate="02:40:00", duration=600) == {
        "calldate": "00:30",
        "hangupdate": "00:40",
    }


def test_times_that_would_run_backwards_are_the_later() -> None:
    assert berlin(calldate="02:50:00", queuedate="02:51:00", talkdate="02:10:00", hangupdate="02:20:00") == {
        "calldate": "00:50",
        "queuedate": "00:51",
        "talkdate": "01:10",
        "hangupdate": "01:20",
    }


def test_the_duration_proves_a_later_hangup() -> None:
    proven = berlin(calldate="02:10:00", hangupdate="02:20:00", duration=4200)
    assert proven == {"calldate": "00:10", "hangupdate": "01:20"}


def test_the_duration_proves_a_later_start_and_all_that_follows() -> None:
    proven = berlin(calldate="02:50:00", talkdate="02:55:00", hangupdate="03:05:00", duration=901)
    assert proven == {"calldate": "01:50", "talkdate": "01:55", "hangupdate": "02:05"}


def test_a_duration_that_fits_nothing_proves_nothing() -> None:
    assert berlin(calldate="02:50:00", hangupdate="03:05:00", duration=7) == {
        "calldate": "00:50",
        "hangupdate": "02:05",
    }


def test_an_instant_that_was_sent_is_exact_and_moves_what_follows() -> None:
    later = dt.datetime(2026, 10, 25, 1, 10, tzinfo=dt.UTC)
    assert berlin(calldate="02:10:00", calldate_exact=later, queuedate="02:11:00") == {
        "calldate": "01:10",
        "queuedate": "01:11",
    }


def test_the_ends_of_the_calendar_do_not_raise() -> None:
    edges = [dt.datetime.min, dt.datetime.max]
    frame = calls({}, {}).with_columns(pl.Series(date, edges, dtype=pl.Datetime("us")) for date in CALL_DATES)
    for zone in ("Europe/Istanbul", "America/New_York"):
        for found in instants(frame, zone):
            assert found.null_count() == 1
            assert found.drop_nulls().to_list()[0].year in (1, 9999)
