"""Freshness: is the newest hour that should be there there, and do calls still come.

Judged by the partition that is expected now, since a backfill of an old hour would pass for fresh where only the time
of the last materialization counts. Read from the published copy, which is what analysts see, and needs no lock.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    HourlyPartitionsDefinition,
    Output,
    multi_asset_check,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from cdr_assets.assets.keys import PUBLISHED_KEY
from cdr_assets.checks.evaluation import evaluated
from cdr_assets.partitions import HOUR, hours_between
from cdr_assets.settings import Settings
from cdr_assets.warehouse import open_published

# A run needs its time too: an hour is late once it could have been fetched and published, and was not.
_GRACE = dt.timedelta(minutes=30)
# Silence as long as a night or a free day is usual somewhere; the longest one of the last four weeks is the measure.
_USUAL_SILENCE = dt.timedelta(days=1)


def build_freshness_checks(partitions: HourlyPartitionsDefinition, settings: Settings) -> AssetChecksDefinition:
    @multi_asset_check(
        name="freshness_checks",
        specs=[
            AssetCheckSpec(
                "newest_hour_is_there",
                asset=PUBLISHED_KEY,
                description="The newest hour that has ended and settled is in the published copy.",
            ),
            AssetCheckSpec(
                "calls_still_come",
                asset=PUBLISHED_KEY,
                description="The time without a call is no longer than the longest of the last four weeks, or a day.",
            ),
        ],
    )
    def freshness() -> Iterator[Output[None] | AssetCheckEvaluation]:
        now = dt.datetime.now(dt.UTC)
        loaded, newest_call, silence = read_newest(settings.published_path)
        expected = expected_hour(partitions, now, settings.cdr_settle_minutes)
        missing = 0
        if expected is not None and (loaded is None or loaded < expected):
            missing = int((expected - (loaded or expected - HOUR)) / HOUR)
        hour_is_there = AssetCheckResult(
            asset_key=PUBLISHED_KEY,
            check_name="newest_hour_is_there",
            passed=missing == 0,
            severity=AssetCheckSeverity.WARN,
            description=f"{missing} h late: expected {expected}, newest is {loaded}; see failed and missing partitions"
            if missing
            else None,
            metadata={"expected": str(expected), "newest": str(loaded)},
        )
        quiet = now - newest_call if newest_call else None
        calls_come = AssetCheckResult(
            asset_key=PUBLISHED_KEY,
            check_name="calls_still_come",
            passed=quiet is not None and quiet <= max(silence, _USUAL_SILENCE) + HOUR,
            severity=AssetCheckSeverity.WARN,
            description=f"no call for {quiet}; the longest silence of the four weeks before was {silence}"
            if quiet
            else "there is no call at all",
            metadata={"newest call": str(newest_call)},
        )
        yield from evaluated(freshness, hour_is_there)
        yield from evaluated(freshness, calls_come)

    return freshness


def expected_hour(partitions: HourlyPartitionsDefinition, now: dt.datetime, settle_minutes: int) -> dt.datetime | None:
    """The newest local hour that should have been published at `now`; None before the first hour."""
    settled = now - dt.timedelta(minutes=settle_minutes) - _GRACE
    hours = hours_between(partitions, settled - 3 * HOUR, settled, settled)
    return hours[-1].start if hours else None


def read_newest(published: Path) -> tuple[dt.datetime | None, dt.datetime | None, dt.timedelta]:
    """Newest loaded hour (local), newest call (instant), and the longest silence in the four weeks before that call."""
    if not published.exists():
        return None, None, dt.timedelta()
    with open_published(published) as connection:
        (hour,) = _row(connection, "SELECT max(partition_hour) FROM cdr.loads WHERE error IS NULL AND filters IS NULL")
        (call,) = _row(connection, "SELECT max(calldate_utc) FROM cdr.calls")
        (silence,) = _row(
            connection,
            """SELECT max(gap) FROM (
                   SELECT calldate_utc - lag(calldate_utc) OVER (ORDER BY calldate_utc) AS gap FROM cdr.calls
                   WHERE calldate_utc >= (SELECT max(calldate_utc) - INTERVAL 28 DAY FROM cdr.calls)
               )""",
        )
    return hour, call, silence or dt.timedelta()


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return connection.execute(query).fetchone() or (None,)
