"""Two runs whose steps alternate: no change is forgotten, and the published copy is of one state at any time."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from dagster import AssetKey

from cdr_assets import dbt
from cdr_assets.assets import marts
from cdr_assets.sandbox import ListedCalls
from cdr_assets.settings import Settings
from cdr_assets.warehouse import Warehouse, mark_stale
from cdr_assets_tests.conftest import HOUR, Pipeline, record

# Calls of the typed tables and of the marts, of one query: equal unless the copy mixes two states.
BOTH_SIDES = """
    SELECT (SELECT count(*) FROM cdr.calls WHERE vanished_at IS NULL), (SELECT count(*) FROM marts.fct_calls),
           (SELECT coalesce(sum(offered), 0)::BIGINT FROM marts.queue_hourly)
"""

_UP_TO_THE_CALLS = [
    AssetKey(["raw", "cdr_pages"]),
    *(AssetKey(["cdr", name]) for name in ("calls", "call_history", "csat_answers", "call_tags")),
]


def test_hours_loaded_by_another_run_after_the_marts_are_not_forgotten(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.add(record("a"))
    noted = threading.Event()
    held = Warehouse.held

    @contextmanager
    def held_by_the_slow(self: Warehouse, holder: str) -> Iterator[None]:
        # Whoever else waits goes first.
        if holder != "another run":
            time.sleep(0.3)
        with held(self, holder):
            yield

    def note() -> None:
        with Warehouse(pipeline.settings.warehouse_path).connect("another run") as connection:
            mark_stale(connection, [HOUR])
        noted.set()

    def build(settings: Settings, select: Sequence[str] = ()) -> Any:
        results = dbt.build(settings, select)
        threading.Thread(target=note).start()
        return results

    monkeypatch.setattr(Warehouse, "held", held_by_the_slow)
    monkeypatch.setattr(marts, "build", build)
    assert pipeline.run(HOUR, selection=[*_UP_TO_THE_CALLS, *marts_keys(pipeline)]).success
    assert noted.wait(10)
    assert pipeline.ask("SELECT DISTINCT hour FROM cdr.stale_hours") == [(HOUR,)]


def marts_keys(pipeline: Pipeline) -> list[AssetKey]:
    from cdr_assets.definitions import build_defs

    graph = build_defs(pipeline.settings).resolve_asset_graph()
    return [key for key in graph.executable_asset_keys if key.path[0] in ("marts", "staging")]


def test_calls_that_another_run_has_loaded_are_published_with_their_marts(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("a"))
    assert pipeline.run(HOUR).success
    calls.add(record("b"))
    # The other run has come as far as the calls.
    assert pipeline.run(HOUR, selection=_UP_TO_THE_CALLS).success
    assert pipeline.run(HOUR, selection=[AssetKey(["published", "cdr"])]).success
    assert pipeline.ask_published(BOTH_SIDES) == [(2, 2, 2)]
