"""The freshness checks: is the newest expected hour published, and do calls still come?"""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from dagster import AssetCheckResult

from cdr_assets.alerts.faults import call_faults
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.balance import find_silence
from cdr_assets.orchestration.checks.freshness import expected_hour, judge_freshness
from cdr_assets.orchestration.partitions import hourly_partitions
from cdr_assets.publishing.copy import publish
from cdr_assets.publishing.reading import Newest, read_newest
from cdr_assets.warehouse import Warehouse, expected
from cdr_assets_tests.conftest import settings_for
from cdr_assets_tests.publishing.privacy import privacy

# A Monday.
HOUR = dt.datetime(2026, 3, 30, 10)
H, WEEK = dt.timedelta(hours=1), dt.timedelta(weeks=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for("http://127.0.0.1:1", tmp_path, cdr_start="2026-01-01")


def load(
    settings: Settings,
    hours: Iterable[dt.datetime],
    calls: int,
    *,
    filters: str | None = None,
    error: str | None = None,
) -> None:
    """Puts hours into the warehouse, each with this many calls."""
    with Warehouse(settings.warehouse_path).connect("test") as connection:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE hours AS SELECT unnest($hours) AS hour", {"hours": list(hours)}
        )
        connection.execute(
            "INSERT INTO cdr.loads (partition_hour, filters, error) SELECT hour, ?, ? FROM hours", [filters, error]
        )
        connection.execute(
            "INSERT INTO cdr.calls (key, partition_hour) SELECT hour || ' ' || n, hour FROM hours, range(?) t (n)",
            [calls],
        )


def published(settings: Settings) -> Path:
    with Warehouse(settings.warehouse_path).connect("test") as connection:
        publish(connection, settings.published_path, privacy())
    return settings.published_path


def hours(first: dt.datetime, last: dt.datetime) -> list[dt.datetime]:
    return [first + n * H for n in range(int((last - first) / H) + 1)]


def judged(settings: Settings, at: dt.datetime) -> tuple[AssetCheckResult, AssetCheckResult]:
    """The results of both checks at a local time, after publishing the warehouse."""
    published(settings)
    now = at.replace(tzinfo=settings.zone).astimezone(dt.UTC)
    newest_hour_is_there, calls_still_come = judge_freshness(hourly_partitions(settings), settings, now)
    return newest_hour_is_there, calls_still_come


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # Ten minutes to settle, and half an hour for the run.
        (dt.datetime(2026, 3, 30, 11, 39), HOUR - H),
        (dt.datetime(2026, 3, 30, 11, 40), HOUR),
        (dt.datetime(2026, 1, 1, 1, 39), None),
        (dt.datetime(2026, 1, 1, 1, 40), dt.datetime(2026, 1, 1)),
    ],
)
def test_the_expected_hour_has_ended_settled_and_had_time_to_run(
    settings: Settings, at: dt.datetime, expected: dt.datetime | None
) -> None:
    now = at.replace(tzinfo=settings.zone).astimezone(dt.UTC)
    assert expected_hour(hourly_partitions(settings), now, settings.cdr_settle_minutes) == expected


def test_the_expected_hour_where_the_clock_changes(tmp_path: Path) -> None:
    berlin = settings_for("http://127.0.0.1:1", tmp_path, alotech_timezone="Europe/Berlin")
    partitions, zone = hourly_partitions(berlin), ZoneInfo("Europe/Berlin")
    # On the 29th there is no hour from 02:00 to 03:00.
    at = dt.datetime(2026, 3, 29, 3, 45, tzinfo=zone).astimezone(dt.UTC)
    assert expected_hour(partitions, at, 10) == dt.datetime(2026, 3, 29, 1)


def test_without_a_copy_neither_the_hour_nor_a_call_is_there(settings: Settings) -> None:
    assert read_newest(settings.published_path, HOUR) == Newest(False, None, None, 0, 0.0)
    there, come = judge_freshness(hourly_partitions(settings), settings, dt.datetime(2026, 3, 30, tzinfo=dt.UTC))
    assert not there.passed
    assert not come.passed
    assert come.description == "there is no call at all"


def test_hours_that_nobody_loaded_say_nothing_of_calls(settings: Settings) -> None:
    """A gap of two and a half days once counted as the centre's longest silence, so that a real silence looked
    usual."""
    load(settings, hours(HOUR - 2 * WEEK, HOUR - WEEK), 10)
    # After the gap calls come as before; then they stop.
    load(settings, hours(HOUR - WEEK + dt.timedelta(hours=60), HOUR), 10)
    _, come = judged(settings, HOUR + H)
    assert come.passed
    load(settings, [HOUR + H], 0)
    _, come = judged(settings, HOUR + 2 * H)
    assert come.passed, "ten calls may be missing by chance"
    load(settings, [HOUR + 2 * H], 0)
    _, come = judged(settings, HOUR + 3 * H)
    assert not come.passed
    assert come.description is not None
    assert come.description.startswith(
        "no call since the hour 2026-03-30 10:00:00; the 2 h read since then should have brought 20, "
    )
    assert read_newest(published(settings), HOUR + H) == Newest(True, HOUR + H, HOUR, 2, 20.0)


def test_no_call_is_missing_on_a_special_day(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check, the alert and the check of the run, which reads the warehouse, before the day is noted and after."""
    load(settings, hours(HOUR - 2 * WEEK, HOUR - H), 10)
    load(settings, hours(HOUR, HOUR + 5 * H), 0)

    def told() -> list[bool]:
        _, come = judged(settings, HOUR + 6 * H)
        with Warehouse(settings.warehouse_path).connect("test") as connection:
            connection.execute("UPDATE cdr.loads SET run_id = 'run', loaded = 0 WHERE partition_hour >= ?", [HOUR])
            silence = find_silence(connection, "run")
        faults = call_faults(read_newest(settings.published_path, HOUR + 5 * H))
        return [not come.passed, silence is not None, bool(faults)]

    assert told() == [True, True, True]
    special_days = tmp_path / "special_days.csv"
    special_days.write_text(f"local_date,name\n{HOUR:%Y-%m-%d},Bayram\n", encoding="utf-8")
    monkeypatch.setattr(expected, "_SPECIAL_DAYS", special_days)
    assert told() == [False, False, False]


def test_a_usual_silence_is_none_however_long(settings: Settings) -> None:
    # Only one hour a week has calls.
    for week in range(1, 5):
        load(settings, hours(HOUR - week * WEEK + H, HOUR - (week - 1) * WEEK - H), 0)
        load(settings, [HOUR - week * WEEK], 100)
    _, come = judged(settings, HOUR)
    assert come.passed
    load(settings, [HOUR], 0)
    _, come = judged(settings, HOUR + H)
    assert not come.passed


def test_calls_asked_for_by_key_and_failed_hours_are_no_hours_that_were_read(settings: Settings) -> None:
    load(settings, [HOUR - n * WEEK for n in (1, 2)], 50)
    load(settings, [HOUR], 0)
    load(settings, [HOUR + H], 1, filters="callkey")
    load(settings, [HOUR + 2 * H], 0, error="refused")
    there, come = judged(settings, HOUR + 4 * H)
    assert not there.passed
    assert not come.passed
    assert read_newest(published(settings), HOUR + 2 * H) == Newest(False, HOUR, HOUR - WEEK, 1, 50.0)


def test_a_newer_hour_does_not_make_up_for_the_expected_one(settings: Settings) -> None:
    load(settings, [HOUR - H, HOUR + H], 10)
    there, _ = judged(settings, HOUR + H + dt.timedelta(minutes=50))
    assert not there.passed
    assert there.description is not None
    assert there.description.startswith(
        "2026-03-30 10:00:00 is not there, the newest hour before it is 2026-03-30 09:00"
    )
    load(settings, [HOUR], 10)
    there, _ = judged(settings, HOUR + H + dt.timedelta(minutes=50))
    assert there.passed
    assert there.description is None


def test_before_the_first_hour_none_is_missing(settings: Settings) -> None:
    load(settings, [HOUR], 10)
    there, come = judged(settings, dt.datetime(2026, 1, 1))
    assert (there.passed, come.passed) == (True, True)
