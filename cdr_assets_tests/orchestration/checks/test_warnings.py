"""The checks that warn: of rejected records, records of other hours, missing calls, flags that are not sent."""

import datetime as dt
from pathlib import Path
from typing import Any

from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.cli.command import cdr
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, Pipeline, record

MINUTE = dt.timedelta(minutes=1)
WARNINGS = ("records_become_calls", "records_are_of_their_hours", "calls_came", "flags_are_known")


def warned(pipeline: Pipeline, start: dt.datetime, hours: int = 1) -> dict[str, str]:
    """Runs the hours up to cdr/calls and their checks; returns the warnings by check."""
    result = pipeline.run(start, hours, selection=UP_TO_THE_CALLS)
    assert result.success
    found = [check for check in result.get_asset_check_evaluations() if check.check_name in WARNINGS]
    assert len(found) == len(WARNINGS)
    return {check.check_name: check.description or "" for check in found if not check.passed}


def test_records_that_cannot_become_calls_are_told_without_their_content(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("good"))
    assert warned(pipeline, HOUR) == {}
    calls.add(record("secret", calldate="02/03/2026 05:11:00"), f"{HOUR + MINUTE}")
    calls.add(record("", HOUR + 61 * MINUTE))
    told = warned(pipeline, HOUR, 2)
    assert told == {
        "records_become_calls": (
            "2 records could not become a call (calldate cannot be read: 1, no key: 1) in 2 hours, 2026-03-02 05:00 to "
            "2026-03-02 06:00; the first is of 2026-03-02 05:00, page 0, position 1; cdr.rejected_records holds them: "
            "report them to AloTech"
        )
    }
    # Of the run's hours alone.
    assert warned(pipeline, HOUR + 300 * MINUTE) == {}


def test_a_server_that_reads_the_window_in_another_zone_is_told_with_the_hours_that_it_is_off(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("night", HOUR - 4 * 60 * MINUTE))
    assert warned(pipeline, HOUR - 4 * 60 * MINUTE) == {}
    for n in range(0, 120, 7):
        # The server lists calls by UTC, three hours earlier than the local time in the record.
        calls.add(record(f"k{n}", HOUR + n * MINUTE + 180 * MINUTE), f"{HOUR + n * MINUTE}")
    told = warned(pipeline, HOUR, 2)
    assert told.keys() == {"records_are_of_their_hours"}
    assert told["records_are_of_their_hours"].startswith(
        "2 hours are empty, though 18 records came for them, all about 3 h later; the first is 2026-03-02 05:00: the "
        "server reads what it is asked for in another time zone, such as UTC, or ALOTECH_TIMEZONE (Europe/Istanbul)"
    )


def test_records_of_other_hours_beside_those_of_the_hour_are_told(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("good"))
    calls.add(record("queued later", HOUR - dt.timedelta(seconds=30)), f"{HOUR + MINUTE}")
    calls.add(record("default", calldate="1970-01-01 02:00:00"), f"{HOUR + MINUTE}")
    told = warned(pipeline, HOUR)
    assert told["records_are_of_their_hours"].startswith(
        "1 records in 1 h belong to other hours than the requested ones, first in 2026-03-02 05:00; they are loaded "
    )
    assert "(calldate cannot be true: 1)" in told["records_become_calls"]
    assert pipeline.ask("SELECT served, loaded, outside_window, elsewhere, rejected FROM cdr.loads") == [
        (3, 1, 1, 1, 1)
    ]


def test_the_last_second_of_the_hour_before_is_no_record_of_another_hour(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("last", HOUR + dt.timedelta(seconds=3599)))
    assert warned(pipeline, HOUR) == {}
    assert warned(pipeline, HOUR + 60 * MINUTE) == {}
    served = pipeline.ask("SELECT served, outside_window FROM cdr.loads ORDER BY partition_hour DESC LIMIT 1")
    assert served == [(1, 1)]


def test_a_run_without_a_call_is_told_where_calls_were_expected_or_none_ever_came(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    assert warned(pipeline, HOUR, 2)["calls_came"].startswith("no call came in 2 h, and none ever has; ")
    week = dt.timedelta(days=7)
    for n in range(19):
        calls.add(record(f"k{n}", HOUR + n * MINUTE))
    assert warned(pipeline, HOUR) == {}
    assert warned(pipeline, HOUR + week) == {}
    calls.add(record("one more", HOUR + 50 * MINUTE))
    assert warned(pipeline, HOUR) == {}
    # The median of 20 and of 0 in the week after.
    assert warned(pipeline, HOUR + 2 * week) == {}
    told = warned(pipeline, HOUR + week)
    assert told["calls_came"].startswith("no call came in 1 h, where 20 were expected (median of the same weekday and")


def without(made: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in made.items() if name not in fields}


def test_flags_that_come_with_no_call_are_told(pipeline: Pipeline, calls: ListedCalls) -> None:
    later = HOUR + 60 * MINUTE
    for n in range(20):
        calls.add(without(record(f"k{n}", HOUR + n * MINUTE), "sl", "assigned"))
        # Sent with one call of twenty: the field is known, and no news.
        calls.add(record(f"l{n}", later + n * MINUTE, **({} if n else {"abandon": None})))
    assert warned(pipeline, HOUR, 2) == {
        "flags_are_known": (
            "assigned is known for none of 20 calls in 1 h, first in 2026-03-02 05:00: it counts as no; sl is known "
            "for none of 20 answered calls in 1 h, first in 2026-03-02 05:00: service levels leave these calls out, "
            "and are NULL if there are no others; ask AloTech why it is not sent, and load the hours again once it is"
        )
    }
    # Of the run's hours alone.
    assert warned(pipeline, later) == {}


def test_few_calls_and_calls_that_nobody_answered_say_nothing_of_a_flag(pipeline: Pipeline, calls: ListedCalls) -> None:
    for n in range(19):
        calls.add(without(record(f"k{n}", HOUR + n * MINUTE), "sl", "assigned"))
    for n in range(19, 40):
        abandoned = record(f"k{n}", HOUR + n * MINUTE, answered=False, abandon=True, talkdate=None)
        outbound = record(f"o{n}", HOUR + n * MINUTE, inbound=False, queued=False)
        calls.add(without(abandoned, "sl"))
        calls.add(without(outbound, "sl"))
    # Some call had each flag except sl. 19 answered calls are too few to warn that sl is not sent.
    assert warned(pipeline, HOUR) == {}
    # Each of the two hours has too few calls for a warning, but both together have enough.
    calls.add(without(record("one more", HOUR + 60 * MINUTE), "sl"))
    assert warned(pipeline, HOUR, 2)["flags_are_known"].startswith("sl is known for none of 20 answered calls in 2 h, ")


def test_the_last_line_of_a_backfill_tells_what_it_brought_and_what_it_warns_of(tmp_path: Path) -> None:
    calls = ListedCalls([record(f"k{n}", HOUR + n * MINUTE) for n in range(3)])
    calls.add(record("[lost]", calldate="02/03/2026 05:11:00"), f"{HOUR + MINUTE}")
    with Sandbox(calls, token=TOKEN) as sandbox:
        base = {"ALOTECH_BASE_URL": sandbox.base_url, "ALOTECH_APP_TOKEN": TOKEN, "CDR_START": "2026-03-01"}
        done = cdr(tmp_path, "backfill", "2026-03-02 05:00", "2026-03-02 07:00", **base)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 hours published in ")
    assert done.stdout.endswith(" s: 3 calls, 3 new, 0 changed, 1 rejected, 1 warning\n")
    warnings = [line for line in done.stderr.splitlines() if "warning: " in line]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "cdr: warning: records_become_calls: 1 record could not become a call (calldate cannot"
    )
