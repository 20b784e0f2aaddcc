"""The partitions: which hours and days there are, and which local times each stands for.

Keys are never parsed, because the repeated hour of a clock change has a key with an offset and a skipped hour has no
key. The class `Hour` is in `domain.hours`; clock changes inside an hour are handled in `transforms.clock`.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from dagster import DagsterRun, DailyPartitionsDefinition, HourlyPartitionsDefinition, PartitionKeyRange, TimeWindow

from cdr_assets.domain.hours import HOUR, Hour, runs_twice
from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.private import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)


def hourly_partitions(settings: Settings) -> HourlyPartitionsDefinition:
    """Every hour since CDR_START, in the tenant's time zone."""
    return HourlyPartitionsDefinition(
        start_date=settings.cdr_start.strftime("%Y-%m-%d-%H:%M"), timezone=settings.alotech_timezone
    )


def daily_partitions(settings: Settings) -> DailyPartitionsDefinition:
    """Every day since that of CDR_START, in the tenant's time zone: the days that have a report."""
    return DailyPartitionsDefinition(
        start_date=settings.cdr_start.strftime("%Y-%m-%d"), timezone=settings.alotech_timezone
    )


def hour_of(key: str, window: TimeWindow) -> Hour:
    """The hour of a partition: its key, and the window that Dagster gives it."""
    start = window.start.replace(tzinfo=None)
    before = (window.start.astimezone(dt.UTC) - dt.timedelta(seconds=1)).astimezone(window.start.tzinfo)
    is_after_skipped = before.replace(tzinfo=None) < start - dt.timedelta(seconds=1)
    return Hour(
        key=key,
        start=start,
        finish=max(start + HOUR, window.end.replace(tzinfo=None)),
        ends_at=window.end.astimezone(dt.UTC),
        is_repeated=runs_twice(start, window.start.tzinfo),
        asked_from=start - 2 * HOUR if is_after_skipped else start,
    )


def hours_of(partitions: HourlyPartitionsDefinition, keys: Iterable[str]) -> list[Hour]:
    """The hours with these keys, in the same order."""
    return [hour_of(key, partitions.time_window_for_partition_key(key)) for key in keys]


def hours_of_run(partitions: HourlyPartitionsDefinition, run: DagsterRun) -> list[Hour]:
    """The hours of a run, in order; none for a run without partitions or over days.

    They come from the run's tags, because a check's context has no partition when the run is over a range.
    """
    key = run.tags.get(PARTITION_NAME_TAG)
    first, last = run.tags.get(ASSET_PARTITION_RANGE_START_TAG), run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if not partitions.has_partition_key(key or first or ""):
        return []
    if key is not None:
        return hours_of(partitions, [key])
    if first is not None and last is not None:
        return hours_of(partitions, partitions.get_partition_keys_in_range(PartitionKeyRange(first, last)))
    return []


def hours_between(
    partitions: HourlyPartitionsDefinition, start: dt.datetime, finish: dt.datetime, now: dt.datetime
) -> list[Hour]:
    """The hours that begin in [start, finish) and have ended by `now`; all three are aware times."""
    hours = hours_of(
        partitions, keys_between(partitions, start, min(finish.astimezone(dt.UTC), now.astimezone(dt.UTC)))
    )
    return [hour for hour in hours if hour.ends_at <= now]


def keys_between(partitions: HourlyPartitionsDefinition, start: dt.datetime, finish: dt.datetime) -> Sequence[str]:
    """The keys of the hours that begin in [start, finish), aware times, in order; much faster than the hours."""
    # In UTC, because local times in the repeated hour compare and subtract wrongly.
    first = partitions.start.astimezone(dt.UTC)
    window = TimeWindow(max(start.astimezone(dt.UTC), first), finish.astimezone(dt.UTC))
    if window.start >= window.end:
        return []
    zone = ZoneInfo(partitions.timezone)
    local = TimeWindow(window.start.astimezone(zone), window.end.astimezone(zone))
    return partitions.get_partition_keys_in_time_window(local)


def days_before(partitions: DailyPartitionsDefinition, moment: dt.datetime, at_most: int) -> list[str]:
    """The keys of the last `at_most` days that have ended by `moment`, an aware time, in order."""
    return list(partitions.get_partition_keys(current_time=moment))[-at_most:]


def range_tags(hours: Sequence[Hour]) -> dict[str, str]:
    """The tags of a run over consecutive hours."""
    return range_of(hours[0].key, hours[-1].key)


def range_of(first: str, last: str) -> dict[str, str]:
    """The tags of a run over the partitions from the first to the last."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
