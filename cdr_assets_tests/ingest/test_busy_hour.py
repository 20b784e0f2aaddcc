"""An hour with very many calls from a slow server is fetched in parallel slices, with every call exactly once."""

import datetime as dt
import random
from collections.abc import Callable

import pytest

from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, Pipeline, record
from cdr_assets_tests.orchestration.test_hours import failure_of


@pytest.mark.parametrize("calls", [6_000, pytest.param(50_000, marks=pytest.mark.campaign)])
def test_a_busy_hour_is_read_in_slices(make_pipeline: Callable[..., Pipeline], calls: int) -> None:
    chance = random.Random(1)
    # Half of the calls are in the first ten minutes, many in the same second, also at the borders of slices.
    seconds = [chance.randrange(3600) if n % 2 else int(chance.random() ** 2 * 600) for n in range(calls)]
    listed = ListedCalls(record(f"{n}", HOUR + dt.timedelta(seconds=at)) for n, at in enumerate(seconds))
    with Sandbox(listed, token=TOKEN, latency_ms=30) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, alotech_max_concurrency=8)
        result = pipeline.run(HOUR, selection=UP_TO_THE_CALLS)
        assert result.success, failure_of(result)
        assert 4 <= sandbox.most_at_once <= 8
        pages = calls // 100
        # Each slice fetches one second more than its own, and its last page is not full.
        assert pages <= sandbox.requests < 1.5 * pages + 70
    stored = pipeline.ask(
        f"SELECT count(*), count(DISTINCT key), sum(epoch(calldate - TIMESTAMP '{HOUR}')) FROM cdr.calls"
    )
    assert stored == [(calls, calls, sum(seconds))]
    assert pipeline.ask("SELECT loaded, repeated, rejected FROM cdr.loads") == [(calls, 0, 0)]
