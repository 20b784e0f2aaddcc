"""Calls with impossible values, from the API to the published copy: each figure is right or NULL."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, ExecuteInProcessResult

from cdr_assets.domain.project import PROJECT
from cdr_assets.report import write_report
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import TOKEN, Pipeline, pipelines_in
from cdr_assets_tests.dirty import live_through_dirty_calls
from cdr_assets_tests.orchestration.field_calls import DAY, FIELD_CALLS, ordinary


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, ExecuteInProcessResult]]:
    """The calls of `field_calls`, loaded days later in one run over their day."""
    calls = ListedCalls()
    for record in FIELD_CALLS:
        calls.add(record, None if record["calldate"].startswith("2026-") else record["talkdate"])
    with Sandbox(calls, token=TOKEN) as sandbox, pipelines_in(tmp_path_factory.mktemp("dirty")) as make:
        pipeline = make(sandbox.base_url)
        yield pipeline, pipeline.run(DAY, 24)


def test_the_marts_are_built_whatever_a_call_says(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, result = day
    assert result.success
    assert pipeline.ask_published("SELECT count(*) FROM marts.fct_calls") == [(len(FIELD_CALLS) - 1,)]


@pytest.mark.parametrize(
    ("key", "known", "aside"),
    [
        ("lowest wait", {"wait_seconds": None, "talk_seconds": 30}, {"waitduration": -(2**31)}),
        (
            "clock set back",
            {"wait_seconds": None, "talk_seconds": None, "duration_seconds": None, "ended_at": None},
            {"waitduration": -1, "duration": -300, "hangupdate": "2026-03-02 01:05:00"},
        ),
        (
            "hang-up in 9999",
            {"wait_seconds": 30, "talk_seconds": None, "ended_at": None, "is_open": False},
            {"hangupdate": "9999-12-31 23:59:59"},
        ),
        (
            "talk in year 1",
            {"wait_seconds": 30, "talk_started_at": None, "talk_seconds": None, "duration_seconds": 60},
            {"talkdate": "0001-01-01 00:00:00"},
        ),
        (
            "talk in 1970",
            {"wait_seconds": 30, "talk_started_at": None, "is_abandoned": True},
            {"talkdate": "1970-01-01 02:00:00"},
        ),
        ("clock", {"wait_seconds": 30, "duration_seconds": 60, "hold_seconds": 10}, {}),
        ("no wait", {"wait_seconds": None, "talk_seconds": 30}, {"waitduration": "n/a"}),
        ("year first", {"started_at": DAY + dt.timedelta(hours=7, minutes=10), "wait_seconds": 30}, {}),
        ("no agent", {"agent_id": "(none)", "agent_username": None, "is_answered": True}, {}),
        ("decimal comma", {"wait_seconds": 13, "duration_seconds": None}, {"duration": "1.234"}),
        ("talk before the call", {"talk_seconds": None, "ended_at": DAY + dt.timedelta(hours=16, minutes=11)}, {}),
        ("talk of two days", {"talk_seconds": None, "duration_seconds": None}, {"duration": 172830}),
        (
            "queued in another year",
            {"queued_at": None, "local_hour": DAY + dt.timedelta(hours=19), "wait_seconds": 30},
            {"queuedate": "2025-03-02 19:10:00"},
        ),
    ],
)
def test_what_cannot_be_true_is_unknown_and_kept(
    day: tuple[Pipeline, ExecuteInProcessResult], key: str, known: dict[str, Any], aside: dict[str, Any]
) -> None:
    pipeline, _ = day
    # Read from the warehouse, because the copy masks everything that may be a phone number.
    [row] = pipeline.ask(
        f"""SELECT {", ".join(known)}, extra, set_aside FROM marts.fct_calls
            JOIN cdr.calls AS calls ON call_key = calls.key WHERE call_key = '{key}'"""
    )
    *values, extra, reasons = row
    assert dict(zip(known, values, strict=True)) == known
    assert set(json.loads(reasons or "{}")) == set(aside)
    assert {name: json.loads(extra)[name] for name in aside} == aside


def test_an_unknown_value_is_in_no_sum_and_in_no_mean(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day

    def of_hour(hour: int, columns: str) -> tuple[Any, ...]:
        [row] = pipeline.ask_published(
            f"SELECT {columns} FROM marts.queue_hourly WHERE local_hour = TIMESTAMP '{DAY + dt.timedelta(hours=hour)}'"
        )
        return tuple(row)

    assert of_hour(0, "answered, wait_known_answered, asa_seconds, aht_ex_acw_seconds") == (1, 0, None, 30.0)
    assert of_hour(1, "asa_seconds, aht_ex_acw_seconds, wait_seconds_max, wait_seconds_p50") == (None,) * 4
    assert of_hour(3, "talk_known, aht_ex_acw_seconds, asa_seconds") == (0, None, 30.0)
    assert of_hour(6, "answered, wait_known_answered, asa_seconds") == (2, 1, 30.0)
    assert pipeline.ask_published("SELECT min(threshold_seconds), max(threshold_seconds) FROM marts.queue_hourly") == [
        (12, 20)
    ]
    # One call's hang-up is a month later. All hours are final; none waits for it.
    assert pipeline.ask_published("SELECT DISTINCT is_final FROM marts.queue_hourly") == [(True,)]


def test_an_abandoned_call_waits_until_it_hangs_up(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    hour = DAY + dt.timedelta(hours=4)
    assert pipeline.ask_published(
        f"""SELECT busy_seconds FROM marts.concurrency_hourly
            WHERE local_hour = TIMESTAMP '{hour}' AND scope = 'q1' AND kind = 'waiting'"""
    ) == [(60,)]


def test_what_comes_before_an_unknown_end_is_workload(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    hours = [1, 2, 18]
    listed = ", ".join(f"TIMESTAMP '{DAY + dt.timedelta(hours=hour)}'" for hour in hours)
    assert pipeline.ask_published(
        f"""SELECT DISTINCT kind, peak, busy_seconds FROM marts.concurrency_hourly
            WHERE local_hour IN ({listed}) OR local_date > DATE '{DAY:%Y-%m-%d}'"""
    ) == [("waiting", 1, 30)]


def test_nobody_is_not_a_caller_an_agent_or_a_chain(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    assert pipeline.ask_published(
        """SELECT DISTINCT has_usable_callerid, is_repeat_candidate, repeated_within_24h
           FROM marts.fct_contacts WHERE first_call_key LIKE 'zeros%'"""
    ) == [(False, False, None)]
    assert pipeline.ask_published("SELECT DISTINCT legs FROM marts.fct_contacts") == [(1,)]
    assert pipeline.ask_published("SELECT agent_id FROM marts.dim_agents ORDER BY ALL") == [("(none)",), ("a1",)]


def test_a_number_is_no_score(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    assert pipeline.ask_published("SELECT answer, score FROM marts.fct_csat_answers") == [("*****01", None)]


def test_a_check_counts_what_was_set_aside(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    key = AssetCheckKey(AssetKey(["cdr", "calls"]), "values_are_plausible")
    records = pipeline.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    evaluation = records[0].event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert not evaluation.passed
    assert evaluation.metadata["set aside"].value == 11
    assert "waitduration not from 0 to 86400: 2 calls, for instance lowest wait of 2026-03-02 00:00" in str(
        evaluation.description
    )
    assert "905550000001" not in str(evaluation.description)


def test_the_report_is_written(day: tuple[Pipeline, ExecuteInProcessResult]) -> None:
    pipeline, _ = day
    settings = pipeline.settings
    page, figures = write_report(settings, dt.datetime.now(dt.UTC), DAY.date(), DAY.date() + dt.timedelta(1))
    text = page.read_text(encoding="utf-8")
    assert "[bold]x[/bold] :x: " in text
    assert "are not known" in text
    assert figures.totals["asa_seconds"] == pytest.approx((30 * 14 + 13) / 15, abs=5)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A server that sends no sl on the first evening, and on the second morning only for half of another queue's
    calls."""
    calls = ListedCalls()
    for minute in range(20):
        made = ordinary(f"never{minute}", 22, minute, queuekey="never")
        del made["sl"]
        calls.add(made)
    lost = {"answered": False, "abandon": True, "talkdate": None, "sl": None}
    calls.add(ordinary("never lost", 22, 30, queuekey="never", **lost))
    calls.add(ordinary("only lost", 22, 40, queuekey="lost", **lost))
    for minute, sl in enumerate((True, True, True, False, None, None, None, None)):
        side = None if sl is None else minute % 2 == 0
        calls.add(ordinary(f"half{minute}", 25, minute, queuekey="half", queue="Yarım", sl=sl, localrelease=side))
    calls.add(ordinary("half lost", 25, 30, queuekey="half", queue="Yarım", **lost))
    with Sandbox(calls, token=TOKEN) as sandbox, pipelines_in(tmp_path_factory.mktemp("silent")) as make:
        pipeline = make(sandbox.base_url)
        assert pipeline.run(DAY + dt.timedelta(hours=22), 4).success
        yield pipeline


@pytest.mark.parametrize("mart", ["queue_hourly", "queue_daily"])
def test_a_service_level_is_of_calls_whose_sl_is_known_or_null(silent: Pipeline, mart: str) -> None:
    levels = silent.ask_published(
        f"""SELECT queue_key, service_level, service_level_strict, service_level_2t, service_level_answered,
                service_level_credit FROM marts.{mart} ORDER BY queue_key"""
    )
    assert levels == [
        # Its flags mean a threshold of 30 s. The abandoned call waited that long.
        ("half", 3 / 5, 3 / 5, 3 / 4, 3 / 4, 4 / 5),
        # No call was answered, so no flag is needed.
        ("lost", 0, 0, 0, None, 0),
        ("never", None, None, None, None, None),
    ]
    parts = silent.ask_published(
        f"""SELECT answered, answered_within_threshold, sl_known, agent_hung_up, localrelease_known, agent_hung_up_rate
            FROM marts.{mart} WHERE queue_key = 'half'"""
    )
    assert parts == [(8, 3, 4, 2, 4, 1 / 2)]


def test_a_report_has_no_service_level_that_nobody_knows(silent: Pipeline) -> None:
    settings, first, second = silent.settings, DAY.date(), DAY.date() + dt.timedelta(1)
    page, figures = write_report(settings, dt.datetime.now(dt.UTC), first, second)
    assert {name: figures.totals[name] for name in _SHARES[:5]} == dict.fromkeys(_SHARES[:5])
    assert figures.queues.select("queue_name", "answered", "service_level").rows() == [
        ("Destek", 20, None),
        ("Destek", 0, 0.0),
    ]
    text = page.read_text(encoding="utf-8")
    assert '<span class="name">Service level</span><b>–</b>' in text
    assert "Whether 20 of 20 answered calls were answered in time is not known" in text
    # Over both days: the known calls of one day, the abandoned ones of both.
    page, figures = write_report(settings, dt.datetime.now(dt.UTC), first, second + dt.timedelta(1))
    assert (figures.totals["sl_known"], figures.totals["service_level"]) == (4, 3 / (4 + 3))
    assert figures.week.select("hour_of_day", "service_level").rows() == [(22, None), (23, None), (0, None), (1, 3 / 5)]
    assert "Whether 24 of 28 answered calls were answered in time is not known" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("question", "levels"),
    [
        ("worst_hours", {None, 3 / 5}),
        # In the order of the queues' names. Both queues of the evening have the same figures.
        ("service_level_by_half_day", {None, 3 / 5}),
        ("service_levels_side_by_side", {None, 0, 3 / 5}),
    ],
)
def test_the_questions_know_no_more_than_the_marts(silent: Pipeline, question: str, levels: set[float | None]) -> None:
    [path] = (PROJECT / "docs" / "questions").glob(f"*_{question}.sql")
    query = path.read_text(encoding="utf-8").rstrip().removesuffix(";")
    assert {level for (level,) in silent.ask_published(f"SELECT service_level FROM ({query})")} == levels


def test_the_first_query_of_the_readme_knows_no_more_either(silent: Pipeline) -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    query = text.split("```sql\n")[1].split("```")[0].rstrip().removesuffix(";")
    levels = silent.ask_published(f"SELECT queue_name, service_level FROM ({query}) ORDER BY ALL")
    assert levels == [("Destek", None), ("Yarım", 60)]


# Shares: each numerator is a part of its denominator.
_SHARES = (
    "service_level", "service_level_strict", "service_level_2t", "service_level_answered", "service_level_credit",
    "abandonment_rate", "abandonment_rate_long", "voicemail_rate", "hold_rate", "transfer_rate", "missed_rate",
    "outbound_connect_rate", "agent_hung_up_rate", "occupancy",
)  # fmt: skip
_LONGEST = 86_400


def check_figures(pipeline: Pipeline) -> None:
    """Every share is NULL or from 0 to 1, every duration NULL or from 0 to a day, every mean its sum divided by its
    count."""
    columns = pipeline.ask_published(
        """SELECT table_name, column_name FROM duckdb_columns()
           WHERE database_name = 'published' AND schema_name = 'marts'"""
    )
    starts = ("asa", "aht", "wait_seconds_p", "wait_seconds_max", "hold_seconds_per", "wait_seconds_per")
    looked_at = 0
    for table, column in columns:
        is_share = column in _SHARES or column.endswith("_share")
        is_length = column.endswith("_seconds") and table in ("fct_calls", "fct_call_events")
        if not is_share and not is_length and not column.startswith(starts):
            continue
        looked_at += 1
        wrong = pipeline.ask_published(
            f"""SELECT {column} FROM marts.{table}
                WHERE {column} NOT BETWEEN 0 AND {1 if is_share else _LONGEST} OR isnan({column}::DOUBLE) LIMIT 1"""
        )
        assert not wrong, (table, column, wrong)
    assert looked_at > 60
    assert pipeline.ask_published(
        """SELECT count(*) FROM marts.queue_hourly WHERE threshold_seconds < 0 OR (asa_seconds IS NULL) <>
           (wait_known_answered = 0) OR wait_known_answered > answered OR talk_known > answered"""
    ) == [(0,)]
    [(calls, talks)] = pipeline.ask_published("SELECT count(*), count(talk_seconds) FROM marts.fct_calls")
    assert calls > 300
    assert 50 < talks < calls


def check_figures_and_report(pipeline: Pipeline) -> None:
    check_figures(pipeline)
    page, _ = write_report(pipeline.settings, dt.datetime.now(dt.UTC), DAY.date())
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text.replace("<script></script>", "")
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))


# The life of seed 0 is looked at in `marts/test_dirty.py`.
@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(1, 32))
def test_no_life_of_dirty_calls_breaks_a_figure(seed: int, tmp_path: Path) -> None:
    check_figures_and_report(live_through_dirty_calls(tmp_path, seed))
