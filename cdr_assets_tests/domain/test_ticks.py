"""The next tick of each schedule is the one that Dagster would run."""

import datetime as dt

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from cdr_assets.domain.settings import Settings
from cdr_assets.domain.ticks import ticks


@pytest.mark.parametrize("settle", [10, 45])
# The evening before an ordinary day, the day on which an hour is repeated, and one on which the first hour is skipped.
@pytest.mark.parametrize(
    ("zone", "evening"),
    [
        ("Europe/Istanbul", dt.datetime(2026, 3, 1, 20, 10)),
        ("Europe/Berlin", dt.datetime(2026, 10, 24, 20, 10)),
        ("Europe/Berlin", dt.datetime(2026, 3, 28, 20, 10)),
    ],
)
def test_is_dagsters(zone: str, evening: dt.datetime, settle: int) -> None:
    settings = Settings(alotech_timezone=zone, cdr_settle_minutes=settle)
    start = evening.replace(tzinfo=settings.zone).astimezone(dt.UTC)
    for name, tick in ticks(settings).items():
        for minutes in range(0, 16 * 60, 35):
            now = start + dt.timedelta(minutes=minutes)
            dagsters = schedule_execution_time_iterator(now.timestamp() + 1, tick.cron, zone, ascending=True)
            expected = next(dagsters)
            # Dagster moves 02:30 of the night that skips it to 03:00.
            if not (name == "lookback_nightly" and expected.hour == 3):
                assert tick.after(now, settings.zone) == expected, (name, now)
