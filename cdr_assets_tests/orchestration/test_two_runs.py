"""Two runs whose steps alternate: no change is lost, and the published copy is consistent at any time."""

import datetime as dt
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from dagster import AssetKey, DagsterEventType, EventLogEntry

from cdr_assets.ingest import building
from cdr_assets.marts import build as dbt
from cdr_assets.orchestration.keys import CDR_KEYS, PAGES_KEY, PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls
from cdr_assets.transforms import Tables, read_hours
from cdr_assets.warehouse import Warehouse, mark_stale
from cdr_assets_tests.conftest import HOUR, UP_TO_THE_CALLS, Pipeline, record
from cdr_assets_tests.orchestration.test_hours import NEXT, failure_of

# One query counts the calls in the typed tables and in the marts. They are equal unless the copy mixes two states.
BOTH_SIDES = """
    SELECT (SELECT count(*) FROM cdr.calls WHERE vanished_at IS NULL), (SELECT count(*) FROM marts.fct_calls),
           (SELECT coalesce(sum(offered), 0)::BIGINT FROM marts.queue_hourly)
"""


def test_hours_loaded_by_another_run_after_the_marts_are_not_forgotten(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.add(record("a"))
    noted = threading.Event()
    held = Warehouse.held

    @contextmanager
    def held_by_the_slow(self: Warehouse, holder: str) -> Iterator[None]:
        # Let the other waiting run go first.
        if holder != "another run":
            time.sleep(0.3)
        with held(self, holder):
            yield

    def note() -> None:
        with Warehouse(pipeline.settings.warehouse_path).connect("another run") as connection:
            mark_stale(connection, [HOUR])
        noted.set()

    def build(*args: Any, **named: Any) -> Any:
        results = dbt.build(*args, **named)
        threading.Thread(target=note).start()
        return results

    monkeypatch.setattr(Warehouse, "held", held_by_the_slow)
    monkeypatch.setattr(building, "build", build)
    assert pipeline.run(HOUR, selection=[*UP_TO_THE_CALLS, *marts_keys(pipeline)]).success
    assert noted.wait(10)
    assert pipeline.ask("SELECT DISTINCT hour FROM cdr.stale_hours") == [(HOUR,)]


def test_hours_that_another_run_fetches_and_loads_meanwhile_are_good_for_both(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("a"))
    # After this run's fetch, another run fetches the same hour. After this run has loaded those pages, so does the
    # other.
    meanwhile = {PAGES_KEY: [PAGES_KEY], CDR_KEYS[0]: CDR_KEYS}

    def watch(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            selection = meanwhile.pop(event.asset_key, None)
            if selection is not None:
                with ThreadPoolExecutor() as thread:
                    assert thread.submit(pipeline.run, HOUR, selection=selection).result().success

    run_id = str(uuid4())
    pipeline.instance.add_event_listener(run_id, watch)
    assert pipeline.run(HOUR, run_id=run_id).success
    assert not meanwhile
    assert pipeline.ask_published(BOTH_SIDES) == [(1, 1, 1)]


def test_older_pages_never_replace_what_another_run_has_loaded_since(
    pipeline: Pipeline, calls: ListedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.add(record("a", call_tags=["older"]))
    other: list[threading.Thread] = []

    def read(pages: pl.DataFrame, *tenant: str) -> tuple[Tables, dict[dt.datetime, str]]:
        if not other:
            calls.edit("a", call_tags=["newer"])
            other.append(threading.Thread(target=pipeline.run, args=(HOUR,), kwargs={"selection": UP_TO_THE_CALLS}))
            other[0].start()
            # The other run loads now, unless it has to wait for this run, which is right too.
            other[0].join(timeout=5)
        return read_hours(pages, *tenant)

    monkeypatch.setattr("cdr_assets.ingest.loading.read_hours", read)
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    other[0].join()
    assert pipeline.ask("SELECT tag FROM cdr.call_tags") == [("newer",)]


def test_a_page_that_cannot_be_read_fails_its_own_hour_alone(pipeline: Pipeline, calls: ListedCalls) -> None:
    for n in range(4):
        calls.add(record(f"k{n}", HOUR + n * NEXT + dt.timedelta(minutes=5)))
    assert pipeline.run(HOUR, 4, selection=UP_TO_THE_CALLS).success
    for n in range(4):
        calls.edit(f"k{n}", queue="Destek")
    assert pipeline.run(HOUR, 4, selection=[PAGES_KEY]).success
    for n in (1, 3):
        pipeline.ask(f"UPDATE raw.cdr_pages SET record_count = 2 WHERE partition_hour = '{HOUR + n * NEXT}'")
    result = pipeline.run(HOUR, 4, selection=[*CDR_KEYS, PUBLISHED_KEY])
    assert failure_of(result) == (
        "2 hours failed in cdr and keep what they held: "
        "2026-03-02 06:00: it could not be loaded: page 0 of 2026-03-02 06:00 cannot be read, fetch it again: "
        "it was fetched as a page of 2 records, and 1 are read in it; "
        "2026-03-02 08:00: it could not be loaded: page 0 of 2026-03-02 08:00 cannot be read, fetch it again: "
        "it was fetched as a page of 2 records, and 1 are read in it; the other hours of this run (2) went through"
    )
    assert pipeline.ask_published("SELECT key, queue FROM cdr.calls ORDER BY key") == [
        ("k0", "Destek"),
        ("k1", "Satış"),
        ("k2", "Destek"),
        ("k3", "Satış"),
    ]
    errors = pipeline.ask("SELECT partition_hour FROM cdr.loads WHERE error LIKE '%cannot be read%' ORDER BY ALL")
    assert errors == [(HOUR + NEXT,), (HOUR + 3 * NEXT,)]
    pipeline.ask("UPDATE raw.cdr_pages SET record_count = 2")
    result = pipeline.run(HOUR, 4, selection=[*CDR_KEYS, PUBLISHED_KEY])
    assert failure_of(result).startswith(
        "4 hours failed in cdr and keep what they held: 2026-03-02 05:00: it could not be loaded: page 0 of"
    )


def test_an_hour_without_pages_fails_the_run_that_was_to_load_it(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    pipeline.ask("DELETE FROM raw.cdr_pages")
    result = pipeline.run(HOUR, 2, selection=[*CDR_KEYS, PUBLISHED_KEY])
    assert not result.success
    assert pipeline.run(HOUR + NEXT, selection=[PAGES_KEY]).success
    result = pipeline.run(HOUR, 2, selection=[*CDR_KEYS, PUBLISHED_KEY])
    assert failure_of(result) == (
        "1 hour failed in cdr and keeps what it held: 2026-03-02 05:00: it could not be loaded: it has no pages; "
        "materialize raw/cdr_pages too; the other hours of this run (1) went through"
    )
    assert pipeline.instance.get_materialized_partitions(PUBLISHED_KEY) == {"2026-03-02-06:00"}


def marts_keys(pipeline: Pipeline) -> list[AssetKey]:
    from cdr_assets.definitions import build_defs

    graph = build_defs(pipeline.settings).resolve_asset_graph()
    return [key for key in graph.executable_asset_keys if key.path[0] in ("marts", "intermediate", "staging")]


def test_calls_that_another_run_has_loaded_are_published_with_their_marts(
    pipeline: Pipeline, calls: ListedCalls
) -> None:
    calls.add(record("a"))
    assert pipeline.run(HOUR).success
    calls.add(record("b"))
    # The other run has loaded its calls.
    assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    assert pipeline.run(HOUR, selection=[PUBLISHED_KEY]).success
    assert pipeline.ask_published(BOTH_SIDES) == [(2, 2, 2)]
