"""Hours whose cursors expire are still fetched whole: the chain continues from the second of its last call."""

import datetime as dt
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.alotech import AlotechClient
from cdr_assets.sandbox import Fault, ListedCalls, Sandbox, fault_of
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record
from cdr_assets_tests.ingest.ingestion import Fetched, assert_loads_balance, fetch, hours_from, load
from cdr_assets_tests.orchestration.test_hours import failure_of

ZONE = "Europe/Istanbul"


def listed(seconds: Iterable[int]) -> list[dict[str, Any]]:
    return [record(f"{n}", HOUR + dt.timedelta(seconds=second)) for n, second in enumerate(seconds)]


def served(calls: list[dict[str, Any]], fault: str | Fault) -> Fetched:
    """Fetches the hour from a server with the fault."""
    with (
        Sandbox(ListedCalls(calls), token=TOKEN, fault=[fault]) as sandbox,
        AlotechClient(sandbox.base_url, TOKEN, max_concurrency=1, requests_per_second=0) as client,
    ):
        return fetch(client, hours_from(HOUR, HOUR + dt.timedelta(hours=1), ZONE))


@pytest.mark.parametrize("calls", [2_000, pytest.param(50_000, marks=pytest.mark.campaign)])
def test_cursors_that_live_for_two_pages(make_pipeline: Callable[..., Pipeline], calls: int) -> None:
    # Five or more calls in a second, also where a page ends.
    source = listed((n - n % 5) * 3600 // calls for n in range(calls))
    with Sandbox(ListedCalls(source), token=TOKEN, fault="short-lived-cursors") as sandbox:
        pipeline = make_pipeline(sandbox.base_url)
        result = pipeline.run(HOUR)
        assert result.success, failure_of(result)
        assert sandbox.requests < calls / 100 * 2
    stored = pipeline.ask("SELECT key, strftime(calldate, '%Y-%m-%d %H:%M:%S') FROM cdr.calls")
    assert sorted(stored) == sorted((call["key"], call["calldate"]) for call in source)
    [(served, loaded, repeated, outside, rejected, requests, pages)] = pipeline.ask(
        "SELECT served, loaded, repeated, outside_window, rejected, requests, pages FROM cdr.loads"
    )
    assert (loaded, repeated, rejected) == (calls, 0, 0)
    # The calls of each second from which the chain continued, and of the second before.
    assert served == loaded + outside > loaded
    assert requests > pages


@pytest.mark.parametrize("seed", range(12))
def test_every_fifth_cursor_expires(tmp_path: Path, seed: int) -> None:
    source = listed(n * 4 for n in range(800))
    fetched = served(source, fault_of("expired-cursor", times=math.inf, share=0.2, seed=seed))
    assert not fetched.failed
    with Warehouse(tmp_path / "cdr.duckdb").connect("test") as connection:
        load(connection, fetched, ZONE)
        assert_loads_balance(connection)
        stored = connection.execute("SELECT key FROM cdr.calls").fetchall()
    assert sorted(stored) == sorted((call["key"],) for call in source)


def test_a_second_with_more_calls_than_can_be_read() -> None:
    source = listed([*range(150), *[600] * 250, *range(1000, 1100)])
    [line] = served(source, "short-lived-cursors").failed.values()
    assert line.startswith("the cursor is refused each time before anything new comes")
    # Two pages hold this many calls.
    fetched = served(source[:330], "short-lived-cursors")
    assert not fetched.failed
    [pages] = fetched.pages.values()
    assert sum(page.record_count for page in pages) == 100 + 100 + 180
