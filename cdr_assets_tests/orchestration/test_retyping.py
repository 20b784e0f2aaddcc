"""Hours loaded by an older version: the first run that builds marts types them again from their stored pages, once."""

import datetime as dt
import json
from collections.abc import Callable

import pytest

from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import hours
from cdr_assets_tests.conftest import UP_TO_THE_CALLS, Pipeline
from cdr_assets_tests.orchestration.field_calls import DAY, ordinary

HOUR = dt.timedelta(hours=1)

# As version 4 typed them: every readable value is in its column, but it could not read a slash.
_AS_VERSION_4 = """
    UPDATE cdr.calls SET waitduration = -2147483648, extra = NULL WHERE key LIKE 'wait%';
    UPDATE cdr.calls SET hangupdate = '9999-12-31 23:59:59', hangupdate_utc = '9999-12-31 20:59:59+00', extra = NULL
        WHERE key LIKE 'end%';
    UPDATE cdr.calls SET waitduration = NULL, extra = '{"waitduration":"00:00:30"}' WHERE key LIKE 'clock%';
    UPDATE cdr.csat_answers SET score = 905550000001;
    UPDATE cdr.calls SET content_hash = 'old' WHERE NOT starts_with(key, 'good');
    INSERT INTO cdr.rejected_records
        SELECT partition_hour, 0, 3, 'calldate cannot be read', '{}' FROM cdr.calls WHERE key LIKE 'slash%';
    DELETE FROM cdr.calls WHERE key LIKE 'slash%';
    INSERT INTO cdr.calls BY NAME SELECT * REPLACE ('None' AS key) FROM cdr.calls WHERE key = 'good1';
    DELETE FROM cdr.rejected_records WHERE reason = 'no key';
    UPDATE cdr.loads SET loaded = if(partition_hour = '2026-03-02 01:00', 5, 4), rejected = 1;
    ALTER TABLE cdr.call_history RENAME COLUMN extra TO item;
    ALTER TABLE cdr.csat_answers RENAME COLUMN extra TO item;
    ALTER TABLE cdr.call_tags RENAME COLUMN extra TO item;
    ALTER TABLE cdr.calls DROP COLUMN set_aside;
    ALTER TABLE cdr.loads DROP COLUMN elsewhere;
    DROP TABLE cdr.hours_without_pages;
    DROP TABLE raw.hours_to_retype;
    DROP TABLE raw.typed_hours;
    DROP TABLE raw.built_marts;
    ALTER TABLE cdr.calls DROP COLUMN callerid_e164;
    ALTER TABLE cdr.calls DROP COLUMN called_num_e164;
    ALTER TABLE raw.warehouse DROP COLUMN country;
    UPDATE raw.warehouse SET version = 4;
"""


@pytest.fixture
def old(pipeline: Pipeline, calls: ListedCalls) -> Pipeline:
    """A warehouse of version 4 with two hours. The pages of the second are deleted."""
    for hour in (1, 2):
        calls.add(ordinary(f"good{hour}", hour, csat_answers=[{"answer": "905550000001"}]))
        calls.add(ordinary(f"wait{hour}", hour, 11, waitduration=-(2**31)))
        calls.add(ordinary(f"end{hour}", hour, 12, hangupdate="9999-12-31 23:59:59"))
        calls.add(ordinary(f"clock{hour}", hour, 13, waitduration="00:00:30"))
        slashed = f"2026/03/02 0{hour}:14:00"
        calls.add(ordinary(f"slash{hour}", hour, 14, calldate=slashed), slashed.replace("/", "-"))
    # A key that version 4 accepted.
    calls.add(ordinary("None", 1))
    assert pipeline.run(DAY + HOUR, 2).success
    pipeline.ask(f"{_AS_VERSION_4}; DELETE FROM raw.cdr_pages WHERE partition_hour = TIMESTAMP '{DAY + 2 * HOUR}'")
    return pipeline


def test_old_hours_are_typed_again_from_their_pages(old: Pipeline) -> None:
    before = old.ask("SELECT partition_hour, new, changed, fetched_at FROM cdr.loads ORDER BY ALL")
    # Another hour, in which nothing happens.
    assert old.run(DAY + 5 * HOUR).success

    calls = old.ask("SELECT key, waitduration, hangupdate, extra, set_aside FROM cdr.calls WHERE extra IS NOT NULL")
    aside = {
        key: (wait, end, set(json.loads(extra)), set(json.loads(why or "{}"))) for key, wait, end, extra, why in calls
    }
    assert aside == {
        "wait1": (None, DAY + dt.timedelta(hours=1, minutes=12), {"waitduration"}, {"waitduration"}),
        "wait2": (None, DAY + dt.timedelta(hours=2, minutes=12), {"waitduration"}, {"waitduration"}),
        "end1": (30, None, {"hangupdate"}, {"hangupdate"}),
        "end2": (30, None, {"hangupdate"}, {"hangupdate"}),
        # Its page is deleted, so a text that version 4 could not read stays unread.
        "clock2": (None, DAY + dt.timedelta(hours=2, minutes=14), {"waitduration"}, set()),
    }
    assert old.ask("SELECT waitduration FROM cdr.calls WHERE key = 'clock1'") == [(30,)]
    assert old.ask("SELECT score FROM cdr.csat_answers WHERE key = 'good1'") == [(None,)]
    assert old.ask("SELECT key FROM cdr.calls WHERE key LIKE 'slash%'") == [("slash1",)]
    assert old.ask("SELECT hour(partition_hour), reason FROM cdr.rejected_records ORDER BY ALL") == [
        (1, "no key"),
        (2, "calldate cannot be read"),
    ]
    assert old.ask("SELECT key FROM cdr.calls WHERE vanished_at IS NOT NULL") == [("None",)]

    # The counts of each old fetch are kept, and the hours balance.
    loads = old.ask("SELECT partition_hour, new, changed, fetched_at FROM cdr.loads ORDER BY ALL")
    assert loads[:2] == before
    assert old.ask("SELECT loaded, rejected FROM cdr.loads ORDER BY partition_hour") == [(5, 1), (4, 1), (0, 0)]
    assert old.ask("SELECT partition_hour, calls FROM cdr.hours_without_pages") == [(DAY + 2 * HOUR, 4)]
    assert old.ask("FROM raw.hours_to_retype") == []
    assert old.ask_published(
        """SELECT hour(local_hour), answered, wait_known_answered, asa_seconds, talk_known FROM marts.queue_hourly
           ORDER BY ALL"""
    ) == [(1, 5, 4, 30.0, 4), (2, 4, 2, 30.0, 3)]

    # Fetched again, the hour is as the new version loads it.
    assert old.run(DAY + 2 * HOUR, selection=UP_TO_THE_CALLS).success
    assert old.ask("SELECT count(*) FROM cdr.hours_without_pages") == [(0,)]
    assert old.ask("SELECT waitduration FROM cdr.calls WHERE key = 'clock2'") == [(30,)]
    assert old.ask("SELECT hour(partition_hour) FROM cdr.rejected_records") == [(1,)]


def test_a_run_that_dies_between_goes_on_where_it_was(old: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "_RETYPED_AT_ONCE", 1)
    done = []
    retype: Callable[..., int] = hours.retype_hours

    def dies_after_one(*args: object) -> int:
        if done:
            raise MemoryError
        done.append(args)
        return retype(*args)

    with monkeypatch.context() as patch:
        patch.setattr("cdr_assets.ingest.loading.retype_hours", dies_after_one)
        assert not old.run(DAY + 5 * HOUR).success
    assert old.ask("SELECT partition_hour FROM raw.hours_to_retype") == [(DAY + 2 * HOUR,)]
    assert old.run(DAY + 6 * HOUR).success
    assert old.ask("FROM raw.hours_to_retype") == []
    assert old.ask_published("SELECT sum(wait_known_answered), sum(answered) FROM marts.queue_hourly") == [(6, 9)]


def test_marts_of_version_5_are_made_anew_with_their_new_columns(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(ordinary("good", 1))
    assert pipeline.run(DAY + HOUR).success
    pipeline.ask(
        """ALTER TABLE marts.fct_calls DROP COLUMN is_sl_known;
           ALTER TABLE marts.queue_hourly DROP COLUMN sl_known;
           ALTER TABLE cdr.call_history RENAME COLUMN extra TO item;
           ALTER TABLE cdr.csat_answers RENAME COLUMN extra TO item;
           ALTER TABLE cdr.call_tags RENAME COLUMN extra TO item;
           ALTER TABLE cdr.calls DROP COLUMN callerid_e164;
           ALTER TABLE cdr.calls DROP COLUMN called_num_e164;
           ALTER TABLE raw.warehouse DROP COLUMN country;
           UPDATE raw.warehouse SET version = 5"""
    )
    # Another hour, in which nothing happens.
    assert pipeline.run(DAY + 5 * HOUR).success
    assert pipeline.ask_published("SELECT local_hour, sl_known, service_level FROM marts.queue_hourly") == [
        (DAY + HOUR, 1, 0.0)
    ]
