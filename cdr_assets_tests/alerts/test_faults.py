"""What counts as a fault: hours by their causes, jobs and checks until they succeed, sources that cannot be read."""

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from cdr_assets.alerts.faults import Ended, Evaluation, Fault, Kind, Runs, Source, hour_faults
from cdr_assets.alerts.telling import faults_of_calls, look
from cdr_assets.alotech.errors import ServiceUnavailableError, TokenRejectedError, UnreachableError
from cdr_assets.domain.lateness import LOOK_BACK_OVER
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.fetching import NOT_TRIED
from cdr_assets.status.hours import HourStatus, State

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ONE, TWO, THREE, FOUR = (dt.datetime(2026, 3, 2, hour) for hour in (1, 2, 3, 4))


def failed(hour: dt.datetime, error: str) -> HourStatus:
    return HourStatus(hour, State.FAILED, None, None, error)


def test_one_outage_is_one_fault_whatever_each_hour_says() -> None:
    found = hour_faults(
        [
            failed(ONE, f"the answer is HTTP 503; {ServiceUnavailableError.advice}"),
            failed(TWO, f"acme.alo-tech.com refuses the connection; {UnreachableError.advice}"),
            HourStatus(THREE, State.LOADED, 7, NOW, None),
            failed(FOUR, f"no connection to acme.alo-tech.com within 10 s; {UnreachableError.advice}"),
        ]
    )
    assert [(fault.key, fault.hours) for fault in found] == [("hours: outage", (ONE, TWO, FOUR))]
    assert found[0].reason.startswith("no connection to acme")


def test_hours_that_were_not_tried_belong_to_the_token() -> None:
    found = hour_faults([failed(ONE, NOT_TRIED), failed(TWO, f'"not valid"; {TokenRejectedError.advice}')])
    assert [(fault.key, fault.hours) for fault in found] == [("hours: token", (ONE, TWO))]
    assert found[0].reason.startswith('"not valid"')


def test_other_causes_are_told_apart_by_their_words_and_not_by_their_numbers() -> None:
    found = hour_faults(
        [failed(ONE, "page 3 of 17 is cut"), failed(TWO, "page 12 of 170 is cut"), failed(THREE, "odd")]
    )
    assert [fault.hours for fault in found] == [(ONE, TWO), (THREE,)]


def test_late_hours_are_one_fault() -> None:
    found = hour_faults(
        [
            HourStatus(ONE, State.FINAL, 3, NOW, None),
            *(HourStatus(h, State.LATE, None, None, None) for h in (TWO, THREE)),
        ]
    )
    assert found == [
        Fault(
            Kind.HOURS_LATE,
            "late",
            reason="the newest hour in the published copy is 2026-03-02 01:00",
            hours=(TWO, THREE),
        )
    ]


def ended(job: str, success: bool, minute: int, **more: object) -> Ended:
    return Ended("0123456789", job, success, NOW + dt.timedelta(minutes=minute), **more)  # type: ignore[arg-type]


def keys(runs: Runs) -> list[tuple[Kind, str]]:
    return [(fault.kind, fault.subject) for fault in runs.faults()]


def test_a_failed_job_is_a_fault_until_it_succeeds() -> None:
    runs = Runs()
    runs.add(ended("hourly", False, 0, hours=(ONE,), reason="the disk is full"), NOW)
    runs.add(ended("audit", True, 1), NOW)
    runs.add(ended("hourly", False, 2, hours=(TWO,), reason="the disk is full"), NOW)
    [fault] = runs.faults()
    assert (fault.kind, fault.subject, fault.hours) == (Kind.RUN_FAILED, "hourly", (ONE, TWO))
    assert fault.reason == "the disk is full (run 01234567)"
    runs.add(ended("hourly", True, 3, hours=(THREE,)), NOW)
    assert runs.faults() == []


def test_a_run_that_failed_for_its_hours_is_told_with_the_hours() -> None:
    runs = Runs()
    runs.add(ended("hourly", False, 0, hours=(ONE, TWO), reason="1 hour failed", failed_hours={"odd": [TWO]}), NOW)
    assert runs.faults() == []
    assert [(hour, attempt.error) for hour, attempt in runs.attempts.items()] == [(TWO, "odd")]
    # Hours that are too old for the map of hours are told with the run.
    old = ONE - dt.timedelta(days=40)
    runs.add(ended("hourly", False, 1, reason="1 hour failed", failed_hours={"odd": [old]}), NOW)
    assert keys(runs) == [(Kind.RUN_FAILED, "hourly")]
    runs.forget(NOW, dt.UTC)
    assert list(runs.attempts) == [TWO]


def check(name: str, passed: bool, is_error: bool = False) -> tuple[Evaluation, ...]:
    return (Evaluation(name, passed, is_error, "" if passed else "odd"),)


def test_a_check_that_passes_for_other_hours_has_not_passed() -> None:
    runs = Runs()
    runs.add(ended("lookback", True, 0, hours=(ONE, TWO), checks=check("calls c", False)), NOW)
    runs.add(ended("hourly", True, 1, hours=(THREE,), checks=check("calls c", True)), NOW)
    assert keys(runs) == [(Kind.CHECK_WARNS, "calls c")]
    runs.add(ended("lookback", True, 2, hours=(TWO, THREE), checks=check("calls c", True)), NOW)
    assert runs.faults()[0].hours == (ONE,)
    runs.add(ended("lookback", True, 3, hours=(ONE,), checks=check("calls c", True)), NOW)
    assert runs.faults() == []


def test_a_check_without_hours_passes_for_all() -> None:
    runs = Runs()
    runs.add(ended("audit", True, 0, checks=check("calls a", False, is_error=True)), NOW)
    assert keys(runs) == [(Kind.CHECK_FAILED, "calls a")]
    runs.add(ended("audit", True, 1, checks=check("calls a", True)), NOW)
    assert runs.faults() == []


def test_what_no_schedule_repeats_is_forgotten() -> None:
    runs = Runs()
    runs.add(ended("mine", False, 0, reason="x", checks=check("calls c", False)), NOW)
    runs.forget(NOW + LOOK_BACK_OVER, dt.UTC)
    assert runs == Runs()


def test_freshness_is_told_by_the_hours_alone() -> None:
    runs = Runs()
    for name in ("published/cdr newest_hour_is_there", "published/cdr calls_still_come"):
        runs.add(ended("freshness", True, 0, checks=check(name, False)), NOW)
    assert runs.faults() == []


def test_a_source_that_cannot_be_read_does_not_silence_the_others() -> None:
    there = Fault(Kind.CALLS_MISSING, "calls", reason="none came")

    def broken() -> list[Fault]:
        raise OSError("cannot open 0532 123 45 67")

    found, unread = look(
        {Source.HOURS: broken, Source.CALLS: lambda: [there]}, lambda text: text.replace("123 45", "*")
    )
    assert unread == {Source.HOURS}
    assert [fault.kind for fault in found] == [Kind.UNSEEN, Kind.CALLS_MISSING]
    assert found[0].reason == "OSError: cannot open 0532 * 67; what was told of them before stays as it is"


@pytest.mark.parametrize(("usual", "is_told"), [(20, True), (19, False)])
def test_silence_is_a_fault_where_calls_were_to_be_expected(tmp_path: Path, usual: int, is_told: bool) -> None:
    settings = Settings(cdr_data_dir=tmp_path)
    settings.published_path.parent.mkdir()
    week = dt.timedelta(weeks=1)
    with duckdb.connect(str(settings.published_path)) as copy:
        copy.execute(
            "CREATE SCHEMA cdr; CREATE TABLE cdr.loads (partition_hour TIMESTAMP, error VARCHAR, filters JSON)"
        )
        copy.execute("CREATE TABLE cdr.calls (partition_hour TIMESTAMP, vanished_at TIMESTAMPTZ)")
        for hour, calls in ((ONE - week, 50), (TWO - week, usual), (ONE, 50), (TWO, 0)):
            copy.execute("INSERT INTO cdr.loads VALUES (?, NULL, NULL)", [hour])
            copy.execute("INSERT INTO cdr.calls SELECT ?, NULL FROM range(?)", [hour, calls])
    found = faults_of_calls(settings)
    assert [(fault.kind, fault.reason) for fault in found] == [
        (
            Kind.CALLS_MISSING,
            "no call since the hour 2026-03-02 01:00; the 1 h read since then should have brought 20, going by the "
            "same weekdays and hours",
        )
    ] * is_told
