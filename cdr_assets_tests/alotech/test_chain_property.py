"""Whatever the server does within the vendor's page and its silences, the calls of a window come whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_assets.alotech import AlotechClient, AlotechError, Page
from cdr_assets_tests.alotech.conftest import HOUR
from cdr_assets_tests.alotech.server import TOKEN, Action, Answer, ScriptedServer, page, record, refused, reset

FAULTS: list[Action] = [
    reset,
    Answer(b"", 429, {"Retry-After": "30"}),
    Answer(b"", 503, {}),
    Answer(b"<html>"),
    Answer(page([record("half")]).body, cut=9),
    Answer(page([record("half")]).body[:-9]),
    refused("something happened"),
    refused("cursor has expired"),
]


@dataclass
class Tenant:
    """Calls and the vendor's habits that his page leaves open; `faults` are met by the requests in order."""

    calls: list[dict[str, Any]]
    page_size: int
    bounds: tuple[bool, bool]
    ending: str
    gaps: int
    faults: list[int | None] = field(default_factory=list)

    def answer(self, asked: dict[str, str]) -> Action:
        fault = self.faults.pop(0) if self.faults else None
        # A cursor cannot be refused to who sends none.
        if fault is not None and not (fault == len(FAULTS) - 1 and "cursor" not in asked):
            return FAULTS[fault]
        start, finish = asked["startdate"], asked["finishdate"]
        chosen = [
            c
            for c in self.calls
            if (start < c["calldate"] or (self.bounds[0] and start == c["calldate"][:19]))
            and (c["calldate"] < finish or (self.bounds[1] and finish == c["calldate"][:19]))
        ]
        chosen.sort(key=lambda c: (c["calldate"], c["key"]), reverse=asked["sorting"] == "desc")
        at, gap = (int(part) for part in asked.get("cursor", "0-0").split("-"))
        if gap < self.gaps and at:
            # A stretch without a match: no records, and the cursor moves on.
            return page([], f"{at}-{self.gaps}")
        records, after = chosen[at : at + self.page_size], at + self.page_size
        if after < len(chosen):
            return page(records, f"{after}-0")
        match self.ending:
            case "absent":
                return Answer(json.dumps({"CallList": records}).encode())
            case "blank":
                return page(records, "")
            case "cursor, then an empty page":
                return page(records, f"{after}-{self.gaps}" if records else None)
            case "the same cursor for ever":
                return page(records, f"{len(chosen) + 1000}-{self.gaps}")
            case "new cursors for ever":
                return page(records, f"{after}-{self.gaps + gap + 1}")
            case "no list":
                return page(records, f"{after}-{self.gaps}") if records else Answer(b'{"CallList": null}')
            case _:
                return page(records, None)


ENDINGS = [
    "null",
    "absent",
    "blank",
    "cursor, then an empty page",
    "the same cursor for ever",
    "new cursors for ever",
    "no list",
]

moments = st.integers(-3, 3603).map(lambda s: HOUR.start + timedelta(seconds=s)) | st.sampled_from(
    # Edges and ties.
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
    """The keys that the pages are to give, as a reader of pages counts them: by each page's own window."""
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
            # Only many faults may end in an error: a page has five tries, a chain three beginnings.
            assert sum(fault is not None for fault in faults) >= 3
            return
    assert calls_of(pages) == truth(tenant)
    assert sum(p.attempts for p in pages) == len(shared_server.asked)


@on_a_socket
@given(tenant=tenants, max_concurrency=st.sampled_from([0, 2, 4]))
def test_slices_come_whole_and_overlap_in_nothing(
    shared_server: ScriptedServer, tenant: Tenant, max_concurrency: int
) -> None:
    # Every window that two pages do not end is sliced, however small or fast.
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
