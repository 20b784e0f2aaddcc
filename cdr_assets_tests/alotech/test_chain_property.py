"""All calls of a window come, however the server behaves where the vendor's documentation leaves it open."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_assets.alotech import AlotechClient, AlotechError, Page
from cdr_assets_tests.alotech.conftest import HOUR
from cdr_assets_tests.alotech.server import TOKEN, ScriptedServer, record
from cdr_assets_tests.alotech.tenant import ENDINGS, FAULTS, Tenant

moments = st.integers(-3, 3603).map(lambda s: HOUR.start + timedelta(seconds=s)) | st.sampled_from(
    # Calls at the edges of the window, and calls of the same second.
    [HOUR.start, HOUR.finish, HOUR.start - timedelta(seconds=1), HOUR.finish - timedelta(seconds=1)]
)
calldates = st.tuples(moments, st.sampled_from(["", "", ".5"])).map(lambda t: f"{t[0]}{t[1]}")
tenants = st.builds(
    Tenant,
    calls=st.lists(calldates, max_size=40).map(lambda dates: [record(f"k{n}", d) for n, d in enumerate(dates)]),
    page_size=st.integers(1, 12) | st.just(100),
    bounds=st.tuples(st.booleans(), st.booleans()),
    ending=st.sampled_from(ENDINGS),
    gaps=st.integers(0, 1),
)


def calls_of(pages: list[Page]) -> Counter[str]:
    """The keys of the calls that count: those whose calldate is in the window of their page."""
    return Counter(
        call["key"]
        for one in pages
        for call in json.loads(one.body.decode(one.charset)).get("CallList") or []
        if one.window_start
        and one.window_finish
        and one.window_start <= datetime.fromisoformat(call["calldate"]) < one.window_finish
    )


def truth(tenant: Tenant) -> Counter[str]:
    return Counter(c["key"] for c in tenant.calls if HOUR.start <= datetime.fromisoformat(c["calldate"]) < HOUR.finish)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@contextmanager
def served(server: ScriptedServer, tenant: Tenant) -> Iterator[AlotechClient]:
    server.asked.clear()
    server.script = tenant.answer
    with AlotechClient(server.url, TOKEN, requests_per_second=0, sleep=lambda _: None) as client:
        yield client


on_a_socket = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@on_a_socket
@given(tenant=tenants, sorting=st.sampled_from(["asc", "desc"]))
def test_a_window_comes_whole(shared_server: ScriptedServer, tenant: Tenant, sorting: str) -> None:
    with served(shared_server, tenant) as client:
        pages = client.fetch_window(HOUR, sorting=sorting)
    assert calls_of(pages) == truth(tenant)
    assert [p.number for p in pages] == list(range(len(pages)))
    assert sum(p.attempts for p in pages) == len(shared_server.asked)


@on_a_socket
@given(
    tenant=tenants,
    faults=st.lists(st.none() | st.integers(0, len(FAULTS) - 1), max_size=30),
)
def test_faults_end_in_the_whole_window_or_in_an_error(
    shared_server: ScriptedServer, tenant: Tenant, faults: list[int | None]
) -> None:
    tenant.faults = list(faults)
    with served(shared_server, tenant) as client:
        try:
            pages = client.fetch_window(HOUR)
        except AlotechError:
            # Only many faults may end in an error: a page is tried five times, a chain begun three times.
            assert sum(fault is not None for fault in faults) >= 3
            return
    assert calls_of(pages) == truth(tenant)
    assert sum(p.attempts for p in pages) == len(shared_server.asked)


@on_a_socket
@given(tenant=tenants, max_concurrency=st.sampled_from([1, 2, 4]))
def test_slices_come_whole_and_overlap_in_nothing(
    shared_server: ScriptedServer, tenant: Tenant, max_concurrency: int
) -> None:
    # Every window with more than two pages is sliced, however small or fast.
    with (
        patch.multiple("cdr_assets.alotech.client", _BUSY_PAGES=0, _SLOW_PAGE=0, _PAGES_PER_SLICE=1),
        served(shared_server, tenant) as served_client,
        AlotechClient(
            shared_server.url, TOKEN, requests_per_second=0, max_concurrency=max_concurrency, sleep=lambda _: None
        ) as client,
    ):
        pages = client.fetch_window(HOUR)
        assert calls_of(pages) == truth(tenant)
        assert sum(p.attempts for p in pages) == len(shared_server.asked)
        whole = served_client.fetch_window(HOUR, in_slices=False)
    assert calls_of(whole) == calls_of(pages)
    assert {p.window_start for p in whole} == {HOUR.start}
