"""The nightly look-back fetches hours again that were last fetched before their look-backs were over."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from dagster import DagsterInstance, RunRequest, build_schedule_context

from cdr_assets.definitions import build_defs
from cdr_assets.domain.lateness import FINAL_AFTER
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between, range_of
from cdr_assets.orchestration.schedules import hours_left_out
from cdr_assets_tests.conftest import settings_for

ISTANBUL = ZoneInfo("Europe/Istanbul")
NIGHT = dt.datetime(2026, 3, 20, 2, 30, tzinfo=ISTANBUL)
HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for("http://127.0.0.1:1", tmp_path / "data")


def publish(settings: Settings, late: Mapping[dt.datetime, dt.timedelta | None]) -> None:
    """Publishes a copy in which local hours were last fetched this long after their end; None means never."""
    settings.published_path.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.published_path)) as connection:
        connection.execute("CREATE SCHEMA marts")
        connection.execute(
            "CREATE TABLE marts.dim_hours (local_hour TIMESTAMP, ends_at_utc TIMESTAMPTZ, fetched_at TIMESTAMPTZ, "
            "is_loaded BOOLEAN, seconds BIGINT, local_date DATE AS (local_hour::DATE))"
        )
        for hour, after in late.items():
            ends_at = hour.replace(tzinfo=ISTANBUL) + HOUR
            fetched_at = None if after is None else ends_at + after
            connection.execute(
                "INSERT INTO marts.dim_hours VALUES (?, ?, ?, ?, 3600)",
                [hour, ends_at, fetched_at, fetched_at is not None],
            )


def test_without_a_copy_no_hour_was_left_out(settings: Settings) -> None:
    assert hours_left_out(settings.published_path) == set()


def test_an_hour_is_left_out_until_it_was_read_late_enough(settings: Settings) -> None:
    early, late = (dt.datetime(2026, 3, 5, hour) for hour in (1, 2))
    publish(settings, {early: FINAL_AFTER - SECOND, late: FINAL_AFTER})
    assert hours_left_out(settings.published_path) == {early}


def test_an_hour_that_was_never_read_is_left_out_between_others(settings: Settings) -> None:
    """The gap sensor asks for it too, unless Dagster's home was lost."""
    before, first, hole, last, after = (dt.datetime(2026, 3, 5, hour) for hour in (1, 2, 3, 4, 5))
    publish(settings, {before: None, first: FINAL_AFTER, hole: None, last: FINAL_AFTER, after: None})
    assert hours_left_out(settings.published_path) == {hole}


def test_the_night_asks_for_three_days_and_for_what_was_left_out(settings: Settings, tmp_path: Path) -> None:
    left_out, read, too_old = dt.datetime(2026, 3, 5, 1), dt.datetime(2026, 3, 5, 2), dt.datetime(2026, 2, 10, 1)
    publish(settings, {left_out: HOUR, read: FINAL_AFTER, too_old: HOUR})
    schedule = build_defs(settings).get_repository_def().get_schedule_def("lookback_nightly")
    (tmp_path / "home").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        asked = list(schedule(build_schedule_context(instance, scheduled_execution_time=NIGHT)))
    [left, recent] = [answer.tags for answer in asked if isinstance(answer, RunRequest)]
    assert left == range_of("2026-03-05-01:00", "2026-03-05-01:00")
    # Three days and two hours before the last settled hour: in this span each hour is fetched for the last time.
    hours = hours_between(hourly_partitions(settings), NIGHT - 75 * HOUR, NIGHT, NIGHT)
    assert recent == range_of(hours[0].key, hours[-1].key)
