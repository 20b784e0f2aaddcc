"""The client against the project's own sandbox, which was written from the vendor's documentation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from cdr_assets.alotech import (
    AlotechClient,
    AlotechError,
    EndlessChainError,
    Filters,
    Page,
    ParameterRejectedError,
    RepeatedCursorError,
    RequestRefusedError,
    ServiceUnavailableError,
    TokenRejectedError,
    Window,
    WrongAddressError,
)
from cdr_assets.sandbox import ChainEnd, ListedCalls, Sandbox
from cdr_assets.sandbox.faults import FAULTS, PASSING

Connect = Callable[..., AlotechClient]

TOKEN = "sandbox-token"
DAY = datetime(2026, 3, 2)


def call(number: int, at: datetime) -> dict[str, Any]:
    return {
        "key": f"key-{number}",
        "uniqueid": f"crm-{number}",
        "activecallkey": f"active-{number}",
        "calldate": str(at),
        "agent": f"agent{number % 3}@x.example",
        "agentid": f"agent-{number % 3}",
        "queue": "Satış" if number % 2 else "Destek",
        "queuekey": f"queue-{number % 2}",
        "transferred": number % 4,
        "call_history": [{"event": "ring"}],
        "csat_answers": [{"answer": "5"}] if number % 5 == 0 else [],
        "call_tags": ["a"],
    }


# Six hours with a call every 7 seconds, and several calls at the edges of each hour and half hour.
EDGES = [DAY + timedelta(minutes=30 * n, seconds=s) for n in range(13) for s in (-1, 0, 0, 0, 1)]
CALLS = [call(n, at) for n, at in enumerate(sorted([DAY + timedelta(seconds=7 * n) for n in range(3086)] + EDGES))]
SOURCE = ListedCalls(CALLS)
HOURS = [Window(DAY + timedelta(hours=n), DAY + timedelta(hours=n + 1)) for n in range(6)]
# Three pages: the first, a middle and the last.
HALF_HOUR = Window(DAY + timedelta(hours=1), DAY + timedelta(minutes=90))


def records(pages: list[Page]) -> list[dict[str, Any]]:
    return [
        record
        for one in pages
        for record in json.loads(one.body)["CallList"]
        if one.window_start is None or str(one.window_start) <= record["calldate"] < str(one.window_finish)
    ]


@pytest.mark.parametrize("chain_end", get_args(ChainEnd))
@pytest.mark.parametrize(("start", "finish"), [*product([True, False], repeat=2)])
def test_every_call_comes_in_one_hour_once(connect: Connect, chain_end: ChainEnd, start: bool, finish: bool) -> None:
    with Sandbox(SOURCE, TOKEN, chain_end=chain_end, start_inclusive=start, finish_inclusive=finish) as sandbox:
        client = connect(sandbox.base_url, token=TOKEN)
        hours = [client.fetch_window(hour) for hour in HOURS]
    found = Counter(record["key"] for pages in hours for record in records(pages))
    assert found == Counter(c["key"] for c in CALLS if DAY <= datetime.fromisoformat(c["calldate"]) < HOURS[-1].finish)
    assert sum(one.attempts for pages in hours for one in pages) == sandbox.requests
    assert all(len(pages) >= 6 for pages in hours)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(agent="agent-1"), lambda c: c["agentid"] == "agent-1"),
        (Filters(agent_username="agent2@x.example"), lambda c: c["agent"] == "agent2@x.example"),
        (Filters(queue="queue-1"), lambda c: c["queuekey"] == "queue-1"),
        (Filters(csat_only=True), lambda c: c["csat_answers"]),
        (Filters(untransferred=True), lambda c: not c["transferred"]),
        (Filters(queue="queue-0", csat_only=True), lambda c: c["queuekey"] == "queue-0" and c["csat_answers"]),
    ],
)
@pytest.mark.parametrize("sorting", ["asc", "desc"])
def test_filters(connect: Connect, filters: Filters, kept: Callable[[dict[str, Any]], Any], sorting: str) -> None:
    [hour] = HOURS[2:3]
    with Sandbox(SOURCE, TOKEN) as sandbox:
        found = records(connect(sandbox.base_url, token=TOKEN).fetch_window(hour, filters, sorting))
    chosen = [c["key"] for c in CALLS if str(hour.start) <= c["calldate"] < str(hour.finish) and kept(c)]
    assert [record["key"] for record in found] == (chosen if sorting == "asc" else chosen[::-1])


def test_what_is_included(connect: Connect) -> None:
    arrays = {"call_history", "csat_answers", "call_tags"}
    with Sandbox(SOURCE, TOKEN) as sandbox:
        client = connect(sandbox.base_url, token=TOKEN)
        [everything] = records(client.fetch_call(callkey="key-7"))
        assert arrays.issubset(everything)
        bare = Filters(include_call_history=False, include_csat=False, include_call_tags=False)
        [one] = records(client.fetch_call(callkey="key-7", filters=bare))
        assert arrays.isdisjoint(one)


@pytest.mark.parametrize("given", [{"callkey": "key-9"}, {"activecallkey": "active-9"}, {"uniqueid": "crm-9"}])
def test_single_calls(connect: Connect, given: Any) -> None:
    with Sandbox(SOURCE, TOKEN) as sandbox:
        client = connect(sandbox.base_url, token=TOKEN)
        assert [record["key"] for record in records(client.fetch_call(**given))] == ["key-9"]
        [empty] = client.fetch_call(callkey="no such call")
        assert empty.record_count == 0


def test_refusals(connect: Connect) -> None:
    with Sandbox(SOURCE, TOKEN) as sandbox:
        connect(sandbox.base_url, token=TOKEN).ping()
        wrong = connect(sandbox.base_url, token="another-token")
        for ask in (wrong.ping, lambda: wrong.fetch_window(HOURS[0])):
            with pytest.raises(TokenRejectedError, match="set ALOTECH_APP_TOKEN"):
                ask()
        with pytest.raises(WrongAddressError, match="HTTP 404"):
            connect(sandbox.base_url + "v3/", token=TOKEN).ping()
        assert sandbox.requests == 4


def test_politeness(connect: Connect, tmp_path: Path) -> None:
    with Sandbox(SOURCE, TOKEN, latency_ms=1) as sandbox:
        clients = [connect(sandbox.base_url, token=TOKEN, max_concurrency=2, limits_dir=tmp_path) for _ in range(3)]
        with ThreadPoolExecutor(6) as pool:
            fetched = [*pool.map(lambda n: clients[n % 3].fetch_window(HOURS[n]), range(6))]
        assert len(fetched) == 6
        assert sandbox.most_at_once == 2


FATAL: dict[str, type[AlotechError]] = {
    "429-tomorrow": ServiceUnavailableError,
    "refused-token": TokenRejectedError,
    "refused-date": ParameterRejectedError,
    "echoed-token": RequestRefusedError,
    "same-cursor": RepeatedCursorError,
    "endless-chain": EndlessChainError,
}


@contextmanager
def faulty(connect: Connect, fault: str) -> Iterator[tuple[Sandbox, AlotechClient]]:
    slow = fault.partition("@")[0] in ("timeout", "stall", "drip")
    patience = {"read_timeout": 0.2, "total_timeout": 0.4} if slow else {}
    with Sandbox(SOURCE, TOKEN, fault=fault) as sandbox:
        yield sandbox, connect(sandbox.base_url, token=TOKEN, max_pages=40, **patience)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("fault", sorted(PASSING))
def test_a_passing_fault_ends_in_exactly_the_right_calls(connect: Connect, fault: str, place: str) -> None:
    with faulty(connect, f"{fault}@{place}") as (sandbox, client):
        pages = client.fetch_window(HALF_HOUR)
        requests = sandbox.requests
    assert [r["key"] for r in records(pages)] == [
        c["key"] for c in CALLS if str(HALF_HOUR.start) <= c["calldate"] < str(HALF_HOUR.finish)
    ]
    assert sum(one.attempts for one in pages) == requests
    assert requests > len(pages) or (fault == "expired-cursor" and place == "first")


def test_a_chain_goes_on_where_its_cursors_expire(connect: Connect) -> None:
    with Sandbox(SOURCE, TOKEN, fault="short-lived-cursors", page_size=12) as sandbox:
        pages = connect(sandbox.base_url, token=TOKEN).fetch_window(HALF_HOUR)
        assert len(pages) < sandbox.requests == sum(one.attempts for one in pages)
    assert [r["key"] for r in records(pages)] == [
        c["key"] for c in CALLS if str(HALF_HOUR.start) <= c["calldate"] < str(HALF_HOUR.finish)
    ]


@pytest.mark.parametrize("fault", sorted(FATAL))
def test_a_lasting_fault_ends_in_its_error(connect: Connect, fault: str) -> None:
    with faulty(connect, fault) as (_, client), pytest.raises(FATAL[fault]) as caught:
        client.fetch_window(HALF_HOUR)
    assert str(caught.value).startswith(f"{HALF_HOUR}, page ")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - PASSING - FATAL.keys() - {"short-lived-cursors"}))
def test_what_is_odd_but_whole_comes_whole(connect: Connect, fault: str) -> None:
    with faulty(connect, fault) as (sandbox, client):
        pages = client.fetch_window(HALF_HOUR)
        assert all(one.attempts == 1 for one in pages)
        assert len(pages) == sandbox.requests
    served = [r for one in pages for r in json.loads(one.body.decode(one.charset))["CallList"]]
    assert len(served) == sum(one.record_count for one in pages)
    keys = {r.get("key") for r in served if isinstance(r, dict)}
    assert keys >= {c["key"] for c in CALLS if str(HALF_HOUR.start) <= c["calldate"] < str(HALF_HOUR.finish)}
    assert all(r["queue"] in ("Satış", "Destek") for r in served if isinstance(r, dict) and r.get("queue"))
