"""A busy window behind a slow network is read in slices side by side, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest

from cdr_assets.alotech import AlotechClient, Filters, TokenRejectedError, Window
from cdr_assets_tests.alotech.server import Action, ScriptedServer, page, record, refused

Connect = Callable[..., AlotechClient]


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network counts as slow, so that the tests need not be slow."""
    monkeypatch.setattr("cdr_assets.alotech.client._SLOW_PAGE", 0.0)


def a_call_a_second(asked: dict[str, str]) -> Action:
    """20 calls a page, one call a second: 180 pages an hour."""
    start = datetime.fromisoformat(asked["startdate"])
    finish = datetime.fromisoformat(asked["finishdate"])
    at = datetime.fromisoformat(asked["cursor"]) if "cursor" in asked else start
    dates = [at + timedelta(seconds=n) for n in range(20) if at + timedelta(seconds=n) <= finish]
    after = at + timedelta(seconds=20)
    return page([record(str(d), str(d)) for d in dates], str(after) if after <= finish else None)


def test_slices(server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
    server.script = a_call_a_second
    pages = client.fetch_window(hour, Filters(queue="q"))
    slices = sorted({(p.window_start, p.window_finish) for p in pages})
    assert len(slices) == 16
    assert slices[0][0] == hour.start
    assert slices[-1][1] == hour.finish
    assert all(one[1] == other[0] for one, other in pairwise(slices))
    given = [
        call["key"]
        for p in pages
        for call in json.loads(p.body)["CallList"]
        if str(p.window_start) <= call["calldate"] < str(p.window_finish)
    ]
    assert sorted(given) == [str(hour.start + timedelta(seconds=n)) for n in range(3600)]
    # Each slice is a chain of its own, numbered from 0, in the order of time.
    assert [(p.window_start, p.number) for p in pages] == sorted((p.window_start, p.number) for p in pages)
    assert all(asked["queue"] == "q" for asked in server.asked)
    assert sum(p.attempts for p in pages) == len(server.asked)


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({"max_concurrency": 1}, {}),
        ({}, {"in_slices": False}),
        ({}, {"sorting": "desc"}),
        # A single chain reaches this rate limit by itself.
        ({"requests_per_second": 0.001}, {}),
    ],
)
def test_no_slices(server: ScriptedServer, connect: Connect, hour: Window, options: Any, how: Any) -> None:
    server.script = a_call_a_second
    pages = connect(server.url, **options).fetch_window(hour, **how)
    assert {(p.window_start, p.window_finish) for p in pages} == {(hour.start, hour.finish)}
    assert len(pages) == len(server.asked)


def test_no_slices_for_few_pages(server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
    server.script = a_call_a_second
    short = Window(hour.start, hour.start + timedelta(minutes=15))
    pages = client.fetch_window(short)
    assert len(pages) == len(server.asked) == 46


def test_no_slices_on_a_fast_network(
    server: ScriptedServer, client: AlotechClient, hour: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr_assets.alotech.client._SLOW_PAGE", 3600.0)
    server.script = a_call_a_second
    assert len(client.fetch_window(hour)) == len(server.asked) == 181


@pytest.mark.parametrize("calldate", [None, "", "02.03.2026 05:00", "1999-01-01 00:00:00", "2026-03-02 04:59:59"])
def test_no_slices_by_dates_that_tell_nothing(
    server: ScriptedServer, client: AlotechClient, hour: Window, calldate: str | None
) -> None:
    answers = [page([{"key": str(n), "calldate": calldate}], f"c{n}") for n in range(9)]
    server.answers(*answers, page(["not an object"], "c9"), page([]))
    assert len(client.fetch_window(hour)) == len(server.asked) == 11


def test_an_error_in_one_slice_is_the_windows_error_and_ends_the_others(
    server: ScriptedServer, client: AlotechClient, hour: Window
) -> None:
    cursors = count()

    def script(asked: dict[str, str]) -> Action:
        if asked["finishdate"] == "2026-03-02 06:00:00":
            return a_call_a_second(asked)
        if asked["startdate"].startswith("2026-03-02 05:07"):
            return refused("invalid token")
        # Without a stop, the other slices would go on up to the limit of pages.
        return page([record("a")], str(next(cursors)))

    server.script = script
    with pytest.raises(TokenRejectedError, match=r"^calls from 2026-03-02 05:07"):
        client.fetch_window(hour)
    asked = len(server.asked)
    assert asked < 2000
    server.script = a_call_a_second
    # The client still works: no request of the failed window is under way or holds a place.
    assert len(client.fetch_window(Window(hour.start, hour.start + timedelta(seconds=10)))) == 1
    assert len(server.asked) == asked + 1
