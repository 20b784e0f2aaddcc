"""The faults that are there now: hours, calls, runs and checks. Each function takes facts and returns faults.

What was told of them before is in `memory`, their wording in `message`. Reasons may quote a server, DuckDB or a user's
model: `cleaner` cuts secrets and phone numbers out before anything is kept or sent.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from cdr_assets.alotech.errors import ServiceUnavailableError, TokenRejectedError, UnknownHostError, UnreachableError
from cdr_assets.domain.lateness import CATCH_UP
from cdr_assets.domain.masking import mask
from cdr_assets.domain.redaction import redactors
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.fetching import NOT_TRIED
from cdr_assets.publishing.reading import Newest
from cdr_assets.status.hours import HourStatus, State
from cdr_assets.warehouse.expected import WORTH_NOTICING

#: Hours that failed are looked at for as many days as a schedule reads them again.
DAYS = CATCH_UP.days + 1

# One outage shows as several errors, one hour after the other. As one cause, it is one fault.
_OUTAGE = tuple(kind.advice for kind in (ServiceUnavailableError, UnknownHostError, UnreachableError))


class Kind(StrEnum):
    """The kinds of faults. Messages name them by these words, which are headings in docs/when-something-is-wrong.md."""

    HOURS_FAILED = "hours failed"
    HOURS_LATE = "newest hour is late"
    CALLS_MISSING = "calls are missing"
    RUN_FAILED = "run failed"
    CHECK_FAILED = "check failed"
    CHECK_WARNS = "check warns"
    UNSEEN = "alerts cannot look"


class Source(StrEnum):
    """Where faults are read. If one cannot be read, its faults are unknown, and the others are told all the same."""

    HOURS = "hours in the published copy"
    CALLS = "calls in the published copy"
    RUNS = "runs and checks in Dagster"


SOURCE_OF = {
    Kind.HOURS_FAILED: Source.HOURS,
    Kind.HOURS_LATE: Source.HOURS,
    Kind.CALLS_MISSING: Source.CALLS,
    Kind.RUN_FAILED: Source.RUNS,
    Kind.CHECK_FAILED: Source.RUNS,
    Kind.CHECK_WARNS: Source.RUNS,
}


class Fault(msgspec.Struct, frozen=True):
    """A fault. `key` stays the same as long as it is the same fault, however its hours and its reason change.

    `subject` names the job or the check; `hours` are naive local hours. `reason` may hold words of a server.
    """

    kind: Kind
    key: str
    subject: str = ""
    reason: str = ""
    hours: tuple[dt.datetime, ...] = ()


_LONGEST_REASON = 500


def cleaner(settings: Settings) -> Callable[[str], str]:
    """A function that returns a text in one line, without secrets, phone numbers and commands to a chat program."""
    redact, _ = redactors(settings.secrets)

    def clean(text: str) -> str:
        line = " ".join("".join(c if c.isprintable() else " " for c in redact(text)).split())
        # `<!channel>` in a server's words would call everybody in Slack. Masked before it is cut, because a number that
        # is cut off would not be found.
        return mask(line)[:_LONGEST_REASON].replace("<", "(").replace(">", ")")

    return clean


def hour_faults(statuses: Sequence[HourStatus]) -> list[Fault]:
    """A fault for each cause of failed hours, and one for all late hours."""
    hours_of: dict[str, list[HourStatus]] = {}
    not_tried = []
    for status in statuses:
        if status.state is State.FAILED:
            error = status.error or "no reason is known"
            if error == NOT_TRIED:
                not_tried.append(status)
            else:
                hours_of.setdefault(_cause(error), []).append(status)
    if not_tried:
        # A run gives up all its hours after the first refused token, so that this is their cause too.
        hours_of.setdefault(next(iter(hours_of), NOT_TRIED), []).extend(not_tried)
    faults = []
    for cause, found in hours_of.items():
        reasons = [status.error for status in sorted(found, key=_hour) if status.error and status.error != NOT_TRIED]
        hours = tuple(sorted(map(_hour, found)))
        faults.append(Fault(Kind.HOURS_FAILED, f"hours: {cause}", reason=(reasons or [NOT_TRIED])[-1], hours=hours))
    late = tuple(status.hour for status in statuses if status.state is State.LATE)
    if late:
        last = [status.hour for status in statuses if status.state not in (State.LATE, State.MISSING)]
        told = f"the newest hour in the published copy is {max(last):%Y-%m-%d %H:%M}" if last else "there is none"
        faults.append(Fault(Kind.HOURS_LATE, "late", reason=told, hours=late))
    return faults


def _hour(status: HourStatus) -> dt.datetime:
    return status.hour


def _cause(error: str) -> str:
    """What the errors of one cause have in common: they name other pages, times and numbers of tries."""
    if error.endswith(_OUTAGE):
        return "outage"
    if error.endswith(TokenRejectedError.advice):
        return "token"
    return " ".join(re.sub(r"[\d:.,-]*\d", "#", error).split())[:120]


def call_faults(newest: Newest) -> list[Fault]:
    """A fault if so many calls are missing since the last one that this is no chance."""
    if newest.with_calls is None or newest.missing < WORTH_NOTICING:
        return []
    reason = (
        f"no call since the hour {newest.with_calls:%Y-%m-%d %H:%M}; the {newest.silent} h read since then should "
        f"have brought {newest.missing:.0f}, going by the same weekdays and hours"
    )
    return [Fault(Kind.CALLS_MISSING, "calls", reason=reason)]


def unseen(source: Source, error: Exception) -> Fault:
    """The fault that a source of faults cannot be read."""
    return Fault(
        Kind.UNSEEN,
        f"unseen: {source}",
        subject=source,
        reason=f"{type(error).__name__}: {error}; what was told of them before stays as it is",
    )


class Evaluation(msgspec.Struct, frozen=True):
    """What an asset check found in a run: `name` is asset and check."""

    name: str
    passed: bool
    is_error: bool = False
    reason: str = ""


class Ended(msgspec.Struct, frozen=True):
    """A run that has ended. `hours` are its local hours, none if it is over days or single calls.

    `failed_hours` are those that could not be read or loaded, by their reasons; None if the run failed otherwise, or
    did not fail. `at` is when it failed, an aware time.
    """

    run_id: str
    job: str
    success: bool
    at: dt.datetime
    hours: tuple[dt.datetime, ...] = ()
    reason: str = ""
    failed_hours: Mapping[str, Sequence[dt.datetime]] | None = None
    checks: tuple[Evaluation, ...] = ()


class FailedAttempt(msgspec.Struct, frozen=True):
    """A failed attempt to read an hour."""

    at: dt.datetime
    error: str


class Open(msgspec.Struct, frozen=True):
    """A job or a check that failed and has not succeeded since. A check's hours are those not checked again."""

    at: dt.datetime
    reason: str
    hours: tuple[dt.datetime, ...] = ()
    is_error: bool = True


#: After this time without another failure, a run or a check is not reported any more: no schedule repeats it.
FORGOTTEN_AFTER = dt.timedelta(days=3)

# A backfill of years must not fill the sensor's cursor.
_MOST_HOURS = 200

# `newest hour is late` and `calls are missing` tell the same from the copy itself, at every tick and with
# CDR_LATE_MINUTES.
TOLD_BY_HOURS = ("newest_hour_is_there", "calls_still_come")


class Runs(msgspec.Struct):
    """What the runs so far have left behind: failed attempts by hour, failed jobs, failed checks."""

    attempts: dict[dt.datetime, FailedAttempt] = {}
    jobs: dict[str, Open] = {}
    checks: dict[str, Open] = {}

    def add(self, ended: Ended, now: dt.datetime) -> None:
        """Takes a run into account. Runs must be added in the order in which they ended."""
        for error, hours in (ended.failed_hours or {}).items():
            self.attempts |= {hour: FailedAttempt(ended.at, error) for hour in hours}
        if ended.success:
            self.jobs.pop(ended.job, None)
        elif ended.failed_hours is None or _are_old(ended.failed_hours, now):
            before = self.jobs.get(ended.job)
            hours = _joined(before.hours if before else (), ended.hours)
            self.jobs[ended.job] = Open(ended.at, f"{ended.reason} (run {ended.run_id[:8]})", hours)
        for check in ended.checks:
            self._add_check(check, ended)

    def _add_check(self, check: Evaluation, ended: Ended) -> None:
        before = self.checks.get(check.name)
        if not check.passed and not check.name.endswith(TOLD_BY_HOURS):
            hours = _joined(before.hours if before else (), ended.hours)
            self.checks[check.name] = Open(ended.at, check.reason, hours, check.is_error)
        elif before is not None and check.passed:
            # A pass over other hours says nothing about the hours that failed. A run without hours looks at all.
            left = tuple(hour for hour in before.hours if hour not in ended.hours) if ended.hours else ()
            if left:
                self.checks[check.name] = Open(before.at, before.reason, left, before.is_error)
            else:
                del self.checks[check.name]

    def forget(self, now: dt.datetime, zone: dt.tzinfo) -> None:
        """Forgets what no schedule repeats any more."""
        oldest = (now - dt.timedelta(days=DAYS)).astimezone(zone).replace(tzinfo=None)
        newest_first = sorted(self.attempts.items(), reverse=True)
        self.attempts = {hour: attempt for hour, attempt in newest_first[:1000] if hour >= oldest}
        self.jobs = {job: found for job, found in self.jobs.items() if now - found.at < FORGOTTEN_AFTER}
        self.checks = {name: found for name, found in self.checks.items() if now - found.at < FORGOTTEN_AFTER}

    def faults(self) -> list[Fault]:
        """The faults of jobs and of checks."""
        jobs = [
            Fault(Kind.RUN_FAILED, f"run: {job}", job, found.reason, found.hours) for job, found in self.jobs.items()
        ]
        checks = [
            Fault(
                Kind.CHECK_FAILED if found.is_error else Kind.CHECK_WARNS,
                f"check: {name}",
                name,
                found.reason,
                found.hours,
            )
            for name, found in self.checks.items()
        ]
        return jobs + checks


def _joined(hours: Sequence[dt.datetime], more: Sequence[dt.datetime]) -> tuple[dt.datetime, ...]:
    return tuple(sorted({*hours, *more})[-_MOST_HOURS:])


def _are_old(failed: Mapping[str, Sequence[dt.datetime]], now: dt.datetime) -> bool:
    """Whether an hour is too old for `hour_faults`. A day more than that, because these hours have no zone."""
    oldest = now.replace(tzinfo=None) - dt.timedelta(days=DAYS - 1)
    return any(hour < oldest for hours in failed.values() for hour in hours)
