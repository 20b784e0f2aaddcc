"""Changes after an hour was first fetched: runs with filters, single calls, look-backs, the CSAT sweep, open calls, new
fields."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.orchestration.keys import CDR_KEYS, PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, Pipeline, record
from cdr_assets_tests.orchestration.test_hours import failure_of, files_with_the_token

NEXT = dt.timedelta(hours=1)
STORED = "SELECT key, queue, csat_answers_count FROM cdr.calls ORDER BY key"


def materialized(pipeline: Pipeline) -> set[str]:
    return pipeline.instance.get_materialized_partitions(PUBLISHED_KEY)


def test_a_narrowed_run_merges_and_never_replaces_an_hour_by_less(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    calls.add(record("b", queuekey="Q2", queue="Destek"))
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    calls.edit("b", queue="Destek (yeni)")
    calls.edit("a", queue="Satış (yeni)")
    calls.add(record("c", HOUR + dt.timedelta(minutes=5), queuekey="Q2", queue="Destek (yeni)"))
    assert pipeline.run(HOUR, asked={"queue": "Q2"}).success
    # The run merged the calls of queue Q2, and changed nothing else.
    assert pipeline.ask(STORED) == [("a", "Satış", 1), ("b", "Destek (yeni)", 1), ("c", "Destek (yeni)", 1)]
    assert pipeline.ask("SELECT filters, loaded, new, changed FROM cdr.loads ORDER BY fetched_at") == [
        (None, 2, 2, 0),
        ('{"queue": "Q2"}', 2, 1, 1),
    ]
    # The pages of the whole hour stay next to the filtered ones, so that the hour can be loaded again from them.
    assert pipeline.ask("SELECT filters, record_count FROM raw.cdr_pages ORDER BY ALL") == [
        ('{"queue": "Q2"}', 2),
        (None, 2),
    ]
    assert pipeline.run(HOUR, selection=CDR_KEYS).success
    assert pipeline.ask(STORED) == [("a", "Satış", 1), ("b", "Destek (yeni)", 1), ("c", "Destek (yeni)", 1)]
    assert pipeline.ask_published("SELECT queue_name, offered FROM marts.queue_hourly ORDER BY ALL") == [
        ("Destek (yeni)", 2),
        ("Satış", 1),
    ]


def test_an_hour_that_was_read_in_part_alone_counts_as_missing(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    calls.add(record("b", queuekey="Q2"))
    assert pipeline.run(HOUR, asked={"agent": "A1", "untransferred": True, "csat_only": True, "queue": "Q2"}).success
    assert materialized(pipeline) == set()
    assert pipeline.ask_published("SELECT DISTINCT is_loaded FROM marts.dim_hours") == [(False,)]
    assert pipeline.run(HOUR).success
    assert materialized(pipeline) == {"2026-03-02-05:00"}
    assert [key for key, *_ in pipeline.ask(STORED)] == ["a", "b"]


@pytest.mark.parametrize("sorting", ["asc", "desc"])
def test_arrays_that_are_not_asked_for_are_not_known_and_take_nothing_away(
    pipeline: Pipeline, calls: ListedCalls, sorting: str
) -> None:
    calls.add(record("a"))
    without = {"include_csat": False, "include_call_tags": False, "sorting": sorting}
    assert pipeline.run(HOUR, asked=without, selection=None if sorting == "asc" else UP_TO_THE_CALLS).success
    if sorting == "asc":
        # An hour fetched without its arrays is still whole: all its calls are there.
        assert materialized(pipeline) == {"2026-03-02-05:00"}
    counts = "SELECT call_history_count, csat_answers_count, call_tags_count FROM cdr.calls"
    assert pipeline.ask(counts) == [(2, None, None)]
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    assert pipeline.ask(counts) == [(2, 1, 1)]
    before = pipeline.ask("SELECT * FROM cdr.calls"), pipeline.ask("SELECT * FROM cdr.call_tags")
    assert pipeline.run(HOUR, asked=without, selection=UP_TO_THE_CALLS).success
    assert (pipeline.ask("SELECT * FROM cdr.calls"), pipeline.ask("SELECT * FROM cdr.call_tags")) == before


@pytest.mark.parametrize("name", ["callkey", "activecallkey", "uniqueid"])
def test_a_call_is_refreshed_by_each_of_its_keys(pipeline: Pipeline, calls: ListedCalls, name: str) -> None:
    calls.add(record("a", hangupdate=None, duration=None, uniqueid="crm-1", activecallkey="live-1", csat_answers=[]))
    # By its first key, in a copy that holds the call already.
    is_published = name == "callkey"
    assert pipeline.run(HOUR, selection=None if is_published else UP_TO_THE_CALLS).success
    calls.edit("a", hangupdate="2026-03-02 05:01:30", duration=90, csat_answers=[{"score": 4, "scale": 5}])
    keys = {"callkey": "a", "activecallkey": "live-1", "uniqueid": "crm-1"}
    assert pipeline.merge("refresh_call", is_published=is_published, **{name: keys[name]}).success
    assert pipeline.ask("SELECT duration, csat_answers_count FROM cdr.calls") == [(90, 1)]
    if is_published:
        assert pipeline.ask_published("SELECT talk_seconds, is_open FROM marts.fct_calls") == [(60, False)]
        assert pipeline.ask_published("SELECT score FROM marts.fct_csat_answers") == [(4.0,)]
    assert pipeline.ask("SELECT filters, new, changed FROM cdr.loads WHERE filters IS NOT NULL") == [
        (f'{{"{name}": "{keys[name]}"}}', 0, 1)
    ]


def test_a_call_that_is_not_there_changes_nothing(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    before = pipeline.ask("SELECT * FROM cdr.calls"), pipeline.ask("SELECT count(*) FROM cdr.loads")
    assert pipeline.merge("refresh_call", is_published=False, callkey="nobody").success
    assert (pipeline.ask("SELECT * FROM cdr.calls"), pipeline.ask("SELECT count(*) FROM cdr.loads")) == before
    assert pipeline.ask("SELECT count(*) FROM raw.cdr_pages") == [(1,)]


@pytest.mark.parametrize(
    ("job", "config", "told"),
    [
        ("refresh_call", {}, "name the call by exactly one of callkey, activecallkey and uniqueid"),
        ("refresh_call", {"callkey": "a", "uniqueid": "b"}, "name the call by exactly one of callkey"),
        ("open_calls", {"since": "yesterday"}, "'yesterday' is not a date"),
    ],
)
def test_a_run_that_asks_for_nothing_sensible_says_so(
    pipeline: Pipeline, job: str, config: dict[str, Any], told: str
) -> None:
    result = pipeline.merge(job, **config)
    assert not result.success
    assert failure_of(result).startswith(told)


def test_a_blank_filter_is_told(pipeline: Pipeline) -> None:
    result = pipeline.run(HOUR, asked={"queue": " "})
    assert failure_of(result).startswith("filter queue is blank")


def test_one_call_that_fails_costs_only_itself(
    make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cdr_assets.alotech.client._backoff", lambda _: 0)
    later = HOUR + dt.timedelta(hours=1)
    calls = ListedCalls([record("a", hangupdate=None), record("b", later, hangupdate=None)])
    with Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url)
        assert pipeline.run(HOUR, 2, selection=UP_TO_THE_CALLS).success
        served = sandbox.answer

        def answer(path: str, query: str, accepts_gzip: bool) -> Any:
            return served(path.replace("api", "gone") if "callkey=b" in query else path, query, accepts_gzip)

        sandbox.answer = answer  # type: ignore[method-assign]
        for key in ("a", "b"):
            calls.edit(key, hangupdate="2026-03-02 05:01:30")
        result = pipeline.merge("open_calls", since="2026-03-02 00:00")
    assert not result.success
    assert (
        "1 fetch failed in ask_for_open_calls and keeps what it held: 2026-03-02 06:00:00: the answer is HTTP 404"
        in failure_of(result)
    )
    stored = pipeline.ask_published("SELECT key, hangupdate IS NULL FROM cdr.calls ORDER BY key")
    assert stored == [("a", False), ("b", True)]
    assert not files_with_the_token(tmp_path)


def test_old_pages_go_and_their_calls_stay(make_pipeline: Callable[..., Pipeline]) -> None:
    later = HOUR + dt.timedelta(hours=1)
    with Sandbox(ListedCalls([record("a"), record("b", later)]), token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, cdr_raw_pages_days=1)
        assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
        pipeline.ask("UPDATE raw.cdr_pages SET fetched_at = fetched_at - INTERVAL 25 HOUR")
        assert pipeline.run(later).success
    assert pipeline.ask("SELECT DISTINCT partition_hour FROM raw.cdr_pages") == [(later,)]
    assert pipeline.ask_published("SELECT key FROM cdr.calls ORDER BY key") == [("a",), ("b",)]


def test_many_open_calls_are_asked_for_by_their_hour(make_pipeline: Callable[..., Pipeline]) -> None:
    calls = ListedCalls([record(f"{n}", HOUR + dt.timedelta(seconds=n), hangupdate=None) for n in range(50)])
    with Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url)
        assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
        before = sandbox.requests
        for n in range(49):
            calls.edit(f"{n}", hangupdate="2026-03-02 05:01:30")
        assert pipeline.merge("open_calls", is_published=False, since="2026-03-02 00:00").success
        assert sandbox.requests == before + 1
        open_calls = "SELECT key FROM cdr.calls WHERE hangupdate IS NULL"
        assert pipeline.ask(open_calls) == [("49",)]
        calls.edit("49", hangupdate="2026-03-02 05:01:30")
        assert pipeline.merge("open_calls", is_published=False, since="2026-03-02 00:00").success
        assert dict(sandbox.asked[-1].parameters)["callkey"] == "49"
        assert pipeline.ask(open_calls) == []


def test_new_fields_raise_a_warning_that_names_no_value(pipeline: Pipeline, calls: ListedCalls) -> None:
    def told() -> tuple[bool, str]:
        result = pipeline.run(HOUR, selection=UP_TO_THE_CALLS)
        assert result.success
        [check] = [check for check in result.get_asset_check_evaluations() if check.check_name == "fields_are_known"]
        return check.passed, check.description or ""

    calls.add(record("a"))
    assert told() == (True, "")
    calls.edit("a", sentiment="secretly angry", call_tags=[["nested secret"]])
    passed, description = told()
    assert not passed
    assert "calls.sentiment (string, first in 2026-03-02 05:00:00)" in description
    assert "call_tags.(item) (array, first in 2026-03-02 05:00:00)" in description
    assert "secret" not in description
    assert pipeline.ask("SELECT extra ->> 'sentiment' FROM cdr.calls") == [("secretly angry",)]
