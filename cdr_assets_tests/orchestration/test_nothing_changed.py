"""Runs that read hours again in which nothing has changed: no marts are built, and the copy has the new readings."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from dagster import AssetKey, DagsterEventType

from cdr_assets.domain.lateness import FINAL_AFTER
from cdr_assets.ingest import building
from cdr_assets.marts import build
from cdr_assets.marts.build import NodeResult
from cdr_assets.sandbox import ListedCalls
from cdr_assets_tests.conftest import HOUR, Pipeline, record

NEXT = dt.timedelta(hours=1)


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that gets an entry for each run of dbt from now on."""
    builds: list[object] = []
    run = building.build

    def count(*args: Any, **named: Any) -> Sequence[NodeResult]:
        builds.append(args)
        return run(*args, **named)

    monkeypatch.setattr(building, "build", count)
    return builds


def test_hours_without_a_change_build_no_marts(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.add(record("a", HOUR))
    calls.add(record("b", HOUR + NEXT))
    builds = count_builds(monkeypatch)
    results = [pipeline.run(HOUR, 2), pipeline.run(HOUR, 2)]
    assert all(result.success for result in results)
    assert len(builds) == 1

    # Dagster has the same of both runs: every mart for both hours, and every check.
    reported = [
        Counter(
            (event.asset_key, event.partition)
            for entry in pipeline.instance.all_logs(result.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
            if (event := entry.asset_materialization)
        )
        for result in results
    ]
    assert reported[0] == reported[1]
    assert reported[1][AssetKey(["marts", "queue_daily"]), "2026-03-02-06:00"] == 1
    checks = [{check.check_name: check.passed for check in result.get_asset_check_evaluations()} for result in results]
    assert checks[0] == checks[1]
    assert checks[1]["fct_calls_whole"]

    # The copy has the second reading, and each hour's last one.
    assert pipeline.ask_published("SELECT run_id, count(*) FROM cdr.loads GROUP BY ALL ORDER BY max(fetched_at)") == [
        (result.run_id, 2) for result in results
    ]
    assert pipeline.ask_published(
        """SELECT is_loaded, count(*) FROM marts.dim_hours
           JOIN (SELECT partition_hour, max(fetched_at) AS fetched_at FROM cdr.loads GROUP BY ALL) AS loads
               ON local_hour = partition_hour AND dim_hours.fetched_at = loads.fetched_at GROUP BY ALL"""
    ) == [(True, 2)]

    # An hour without calls is news too: it is loaded now.
    assert pipeline.run(HOUR + 2 * NEXT).success
    assert len(builds) == 2
    # So is a model, or a setting that the models read.
    monkeypatch.setattr(build, "FINAL_AFTER", 2 * FINAL_AFTER)
    assert pipeline.run(HOUR).success
    assert len(builds) == 3


def test_after_a_failed_test_the_next_run_builds_again(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.add(record("a", HOUR))
    builds = count_builds(monkeypatch)
    with monkeypatch.context() as patch:
        wrong = NodeResult("test.cdr_marts.fct_calls_whole", "fail", "Got 1 result", 1, 0.0)
        counted = building.build
        patch.setattr(building, "build", lambda *args, **named: [*counted(*args, **named), wrong])
        assert not pipeline.run(HOUR).success
    assert pipeline.run(HOUR).success
    assert pipeline.run(HOUR).success
    assert len(builds) == 2
