"""The freshness checks: is the newest expected hour in the published copy, and do calls still come?

They look for the hour that is expected now. The time of the last materialization is no help, because a backfill of an
old hour would look fresh. They read the published copy, because analysts use it and reading it needs no lock. Whether
rows are right is checked in `row_counts`.
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

# A run takes time: an hour is late only when there was time to fetch and publish it.
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
                    f"Fewer than {WORTH_NOTICING} calls were to be expected in the hours read since the last call, "
                    "going by the median of the same weekday and hour."
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
    """The evaluations of both checks, for a step that is about to fail. Dagster skips the checks' own step after it."""
    for result in judge_freshness(partitions, settings, dt.datetime.now(dt.UTC)):
        yield evaluation(result, blocking=False)


def judge_freshness(
    partitions: HourlyPartitionsDefinition, settings: Settings, now: dt.datetime
) -> Iterator[AssetCheckResult]:
    """The results of both checks at `now`, an aware time."""
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
        f"{newest.missing:.0f}, going by the same weekday and hour: ask the centre, then AloTech"
        if newest.with_calls
        else "there is no call at all",
        metadata={"newest hour with a call": str(newest.with_calls), "missing": newest.missing},
    )


def expected_hour(partitions: HourlyPartitionsDefinition, now: dt.datetime, settle_minutes: int) -> dt.datetime | None:
    """The newest local hour that should be published by `now`, an aware time; None before the first hour."""
    settled = now - dt.timedelta(minutes=settle_minutes) - _GRACE
    hours = hours_between(partitions, settled - 3 * HOUR, settled, settled)
    return hours[-1].start if hours else None
