"""cdr.restatements: which hours' figures changed after they were built, through whole runs."""

import datetime as dt
from typing import Any

import pytest

from cdr_assets.ingest import building
from cdr_assets.marts.build import DbtError
from cdr_assets.report import write_report
from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import Warehouse
from cdr_assets.warehouse.migrations import rebuild_marts
from cdr_assets_tests.conftest import HOUR, Pipeline, record

RESTATED = """SELECT local_hour, was_final, new, changed, vanished, calls_before, calls_after, answered_before,
    answered_after, talk_seconds_before, talk_seconds_after FROM cdr.restatements ORDER BY restated_at, local_hour"""


def test_an_hour_whose_figures_change_is_restated_once(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    calls.add(record("b"))
    calls.add(record("next", HOUR + dt.timedelta(hours=1)))
    assert pipeline.run(HOUR, hours=2).success
    assert pipeline.ask(RESTATED) == []

    # One call is new, one changed, one is gone. Another changes a tag, which no figure counts.
    calls.edit("a", answered=False, abandon=True, talkdate=None)
    calls.remove("b")
    calls.add(record("late"))
    calls.edit("next", call_tags=["iade"])
    assert pipeline.run(HOUR, hours=2, job="lookback").success
    (row,) = pipeline.ask_published(RESTATED)
    assert row == (HOUR, True, 1, 1, 1, 2, 2, 2, 1, 120, 60)

    calls.add(record("later"))
    assert pipeline.run(HOUR, hours=2, job="lookback").success
    assert pipeline.ask_published(RESTATED) == [row, (HOUR, True, 1, 0, 0, 2, 3, 1, 2, 60, 120)]
    page, _ = write_report(pipeline.settings, dt.datetime.now(dt.UTC), HOUR.date())
    told = "1 hours have other figures than when they were first built, <b>1 of them changed after they were final</b>"
    assert told in page.read_text(encoding="utf-8")


def test_the_figures_before_are_those_that_were_published(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that fails halfway may have written some marts; an upgrade drops all of them."""
    calls.add(record("a"))
    assert pipeline.run(HOUR).success
    warehouse = Warehouse(pipeline.settings.warehouse_path)
    calls.add(record("late"))

    def build_and_die(*args: Any, **named: Any) -> list[object]:
        build(*args, **named)
        raise DbtError("killed")

    build = building.build
    with monkeypatch.context() as patch:
        patch.setattr(building, "build", build_and_die)
        assert not pipeline.run(HOUR, job="lookback").success
    with warehouse.connect("test") as connection:
        rebuild_marts(connection)
    assert pipeline.run(HOUR, job="lookback").success
    assert pipeline.ask_published(RESTATED) == [(HOUR, True, 1, 0, 0, 1, 2, 1, 2, 60, 120)]
