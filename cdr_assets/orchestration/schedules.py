"""The schedules. Each one starts the runs that are due at its tick; hours missed in an outage are left to `sensors`.

When they tick is in `domain.ticks`, the runs' contents are in `jobs`, the spans of days in `domain.lateness`.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping

from dagster import (
    DefaultScheduleStatus,
    HourlyPartitionsDefinition,
    JobDefinition,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from cdr_assets.domain.hours import HOUR, Hour, consecutive
from cdr_assets.domain.lateness import (
    CATCH_UP,
    CSAT_DAYS,
    HISTORY_KEPT_FOR,
    LAST_READ_WITHIN,
    NIGHTLY_LOOK_BACK,
    OPEN_FOR,
    REPORTED_DAYS,
)
from cdr_assets.domain.settings import Settings
from cdr_assets.domain.ticks import ticks
from cdr_assets.orchestration.ops import config_of
from cdr_assets.orchestration.partitions import daily_partitions, days_before, hours_between, range_of, range_tags
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition
from cdr_assets.publishing.reading import has_open_calls, hours_left_out, last_read

_Requests = Iterator[RunRequest | SkipReason]

# Most calls end and get their survey answers and tags within a few hours.
LOOK_BACK_HOURS = 6


def build_schedules(
    jobs: Mapping[str, JobDefinition | UnresolvedAssetJobDefinition],
    partitions: HourlyPartitionsDefinition,
    settings: Settings,
) -> list[ScheduleDefinition]:
    """All schedules, switched on by default. `jobs` are all jobs by name."""
    settle = dt.timedelta(minutes=settings.cdr_settle_minutes)

    tick_of = ticks(settings)

    def build(
        name: str, job: str, description: str, due: Callable[[dt.datetime], Iterable[RunRequest]]
    ) -> ScheduleDefinition:
        @schedule(
            name=name,
            job=jobs[job],
            cron_schedule=tick_of[name].cron,
            execution_timezone=settings.alotech_timezone,
            default_status=DefaultScheduleStatus.RUNNING,
            description=description,
        )
        def ticked(context: ScheduleEvaluationContext) -> _Requests:
            requests = list(due(context.scheduled_execution_time.astimezone(dt.UTC)))
            yield from requests
            if not requests:
                yield SkipReason("nothing is due")

        return ticked

    def hourly(now: dt.datetime) -> Iterator[RunRequest]:
        for hour in hours_between(partitions, now - settle - 2 * HOUR, now - settle, now - settle)[-1:]:
            yield RunRequest(run_key=hour.key, partition_key=hour.key)

    def last_hours(now: dt.datetime) -> Iterator[RunRequest]:
        settled = now - settle
        hours = hours_between(partitions, settled - (LOOK_BACK_HOURS + 1) * HOUR, settled, settled)
        return _runs(hours[-LOOK_BACK_HOURS:], now)

    def last_days(now: dt.datetime) -> Iterator[RunRequest]:
        settled = now - settle
        hours = hours_between(partitions, settled - CATCH_UP, settled, settled)
        left_out = hours_left_out(settings.published_path)
        newest = settled - NIGHTLY_LOOK_BACK
        return _runs([hour for hour in hours if hour.ends_at > newest or hour.start in left_out], now)

    def csat(now: dt.datetime) -> Iterator[RunRequest]:
        today = now.astimezone(settings.zone).date()
        since, until = today - dt.timedelta(days=CSAT_DAYS), today + dt.timedelta(days=1)
        yield RunRequest(run_key=f"{now}", run_config=config_of("ask_for_csat", since=f"{since}", until=f"{until}"))

    def calls_that_were_open(now: dt.datetime) -> Iterator[RunRequest]:
        since = (now - OPEN_FOR).astimezone(settings.zone).replace(tzinfo=None)
        if has_open_calls(settings.published_path, since):
            yield RunRequest(
                run_key=f"{now}", run_config=config_of("ask_for_open_calls", since=f"{since:%Y-%m-%d %H:%M}")
            )

    def daily_report(now: dt.datetime) -> Iterator[RunRequest]:
        read = last_read(settings.published_path)
        days = days_before(daily_partitions(settings), now, CATCH_UP.days)
        due = [day for day in days if day in days[-REPORTED_DAYS:] or _is_behind(settings, read, day)]
        if due and read:
            # One range, with days in between that are not due: a page takes two seconds.
            yield RunRequest(run_key=f"{now}", tags=range_of(due[0], due[-1]))

    def at(now: dt.datetime) -> Iterator[RunRequest]:
        yield RunRequest(run_key=f"{now}")

    return [
        build(
            "hourly",
            "hourly",
            f"Fetches, loads and publishes the hour that ended {settings.cdr_settle_minutes} minutes ago.",
            hourly,
        ),
        build(
            "lookback_hourly",
            "lookback",
            f"Fetches the last {LOOK_BACK_HOURS} hours again, because most late changes come within hours.",
            last_hours,
        ),
        build(
            "lookback_nightly",
            "lookback",
            f"Fetches the last {LAST_READ_WITHIN.days} days again, and older hours that are not loaded, or were "
            "fetched too early to be final.",
            last_days,
        ),
        build(
            "csat_sweep",
            "csat_sweep",
            f"Fetches the calls of the last {CSAT_DAYS} days that have survey answers.",
            csat,
        ),
        build(
            "open_calls",
            "open_calls",
            "Fetches the last day's calls that had not ended again, by key, or whole hours where there are many.",
            calls_that_were_open,
        ),
        build(
            "retention",
            "retention",
            f"Deletes logs of runs older than {HISTORY_KEPT_FOR.days} days, and what CDR_CALLS_DAYS, CDR_MARTS_DAYS "
            "and CDR_RAW_PAGES_DAYS no longer keep.",
            at,
        ),
        build("audit", "audit", "Fetches a sample of old hours again and compares them.", at),
        build(
            "daily_report",
            "daily_report",
            f"Writes the reports of the last {REPORTED_DAYS} days: yesterday's, and older ones whose calls may have "
            "changed; and of older days that were read after their report was written.",
            daily_report,
        ),
        build("freshness", "freshness", "Checks for the newest hour and whether calls still come.", at),
    ]


def _is_behind(settings: Settings, read: Mapping[dt.date, dt.datetime], day: str) -> bool:
    """Whether hours of the day were read after its report was written: an outage left them out until then."""
    last = read.get(dt.date.fromisoformat(day))
    page = settings.reports_dir / f"{day}.html"
    return last is not None and (not page.exists() or page.stat().st_mtime < last.timestamp())


def _runs(hours: Iterable[Hour], now: dt.datetime) -> Iterator[RunRequest]:
    for group in consecutive(list(hours)):
        yield RunRequest(run_key=f"{group[0].key} to {group[-1].key} at {now}", tags=range_tags(group))
