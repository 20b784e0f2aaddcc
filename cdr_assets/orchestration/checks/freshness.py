"""Freshness: is the newest hour that should be there there, and do calls still come.

Judged by the partition that is expected now, since a backfill of an old hour would pass for fresh where only the time
of the last materialization counts. Read from the published copy, which is what analysts see, and needs no lock.
"""

import datetime as dt
from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    HourlyPartitionsDefinition,
    Output,
    multi_asset_check,
)

from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.checks.evaluation import evaluated, evaluation
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.orchestration.partitions import hours_between
from cdr_assets.publishing.reading import read_newest
from cdr_assets.warehouse.expected import WORTH_NOTICING

# A run needs its time too: an hour is late once it could have been fetched and published, and was not.
_GRACE = dt.timedelta(minutes=30)


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
                description=(
                    f"The hours read since the last call should have brought fewer than {WORTH_NOTICING}: of each the "
                    "median of the same weekday and hour."
                ),
            ),
        ],
    )
    def freshness() -> Iterator[Output[None] | AssetCheckEvaluation]:
        for result in judge_freshness(partitions, settings, dt.datetime.now(dt.UTC)):
            yield from evaluated(freshness, result)

    return freshness


def freshness_of_failing_run(
    partitions: HourlyPartitionsDefinition, settings: Settings
) -> Iterator[AssetCheckEvaluation]:
    """The checks' evaluations, for a step that is about to fail: Dagster skips the checks' own step then."""
    for result in judge_freshness(partitions, settings, dt.datetime.now(dt.UTC)):
        yield evaluation(result, blocking=False)


def judge_freshness(
    partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> Iterator[AssetCheckResult]:
    """What both checks find at `now`."""
    expected = expected_hour(partitions, now, settings.cdr_settle_minutes)
    newest = read_newest(settings.published_path, expected)
    yield AssetCheckResult(
        asset_key=PUBLISHED_KEY,
        check_name="newest_hour_is_there",
        passed=expected is None or newest.is_there,
        severity=AssetCheckSeverity.WARN,
        description=f"{expected} is not there, the newest hour before it is {newest.loaded}; see failed and missing "
        "partitions"
        if expected is not None and not newest.is_there
        else None,
        metadata={"expected": str(expected), "newest": str(newest.loaded)},
    )
    calls_come = newest.with_calls is not None and newest.missing < WORTH_NOTICING
    yield AssetCheckResult(
        asset_key=PUBLISHED_KEY,
        check_name="calls_still_come",
        passed=calls_come,
        severity=AssetCheckSeverity.WARN,
        description=None
        if calls_come
        else f"no call since the hour {newest.with_calls}; the {newest.silent} h read since then should have brought "
        f"{newest.missing:.0f}, by the same weekday and hour: ask the centre, then AloTech"
        if newest.with_calls
        else "there is no call at all",
        metadata={"newest hour with a call": str(newest.with_calls), "missing": newest.missing},
    )


def expected_hour(partitions: HourlyPartitionsDefinition, now: dt.datetime, settle_minutes: int) -> dt.datetime | None:
    """The newest local hour that should have been published at `now`; None before the first hour."""
    settled = now - dt.timedelta(minutes=settle_minutes) - _GRACE
    hours = hours_between(partitions, settled - 3 * HOUR, settled, settled)
    return hours[-1].start if hours else None
