"""Freshness: is the newest hour that should be there there, and do calls still come.

Judged by the partition that is expected now, since a backfill of an old hour would pass for fresh where only the time
of the last materialization counts. Read from the published copy, which is what analysts see, and needs no lock.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
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

from cdr_assets.assets.keys import PUBLISHED_KEY
from cdr_assets.checks.evaluation import evaluated, evaluation
from cdr_assets.partitions import HOUR, hours_between
from cdr_assets.settings import Settings
from cdr_assets.warehouse import open_published
from cdr_assets.warehouse.expected import WORTH_NOTICING, expected_calls

# A run needs its time too: an hour is late once it could have been fetched and published, and was not.
_GRACE = dt.timedelta(minutes=30)

_LOADED = "(SELECT DISTINCT partition_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL)"


@dataclass(frozen=True)
class Newest:
    """What the published copy holds of late, in local hours that were read whole.

    `is_there`: the hour that is asked about. `loaded`: the newest hour up to it. `with_calls`: the newest hour with a
    call. `silent`: the hours without a call since then. `missing`: the calls that those should have brought.
    """

    is_there: bool
    loaded: dt.datetime | None
    with_calls: dt.datetime | None
    silent: int
    missing: float


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


def read_newest(published: Path, expected: dt.datetime | None) -> Newest:
    """What the copy holds of late; `expected` is the hour that should be there."""
    if not published.exists():
        return Newest(is_there=False, loaded=None, with_calls=None, silent=0, missing=0.0)
    with open_published(published) as connection:
        # Hours that are newer than the expected one don't make up for it.
        (loaded,) = _row(
            connection,
            f"SELECT max(partition_hour) FROM {_LOADED} WHERE partition_hour <= $expected OR $expected IS NULL",
            expected=expected,
        )
        # Of loaded hours: a single call that was asked for by its key says nothing of its hour.
        (with_calls,) = _row(
            connection,
            f"SELECT max(partition_hour) FROM cdr.calls SEMI JOIN {_LOADED} USING (partition_hour) "
            "WHERE vanished_at IS NULL",
        )
        silent = [
            hour
            for (hour,) in connection.execute(
                f"SELECT partition_hour FROM {_LOADED} WHERE partition_hour > $with_calls", {"with_calls": with_calls}
            ).fetchall()
        ]
        calls = expected_calls(connection, silent).values()
    return Newest(
        is_there=loaded is not None and loaded == expected,
        loaded=loaded,
        with_calls=with_calls,
        silent=len(silent),
        missing=sum(count for count in calls if count is not None),
    )


def _row(connection: duckdb.DuckDBPyConnection, query: str, **given: object) -> tuple[Any, ...]:
    return connection.execute(query, given).fetchone() or (None,)
