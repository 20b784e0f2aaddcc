"""Fixtures of these tests: a scripted server, and clients that do not really sleep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest

from cdr_assets.alotech import AlotechClient, Window
from cdr_assets_tests.alotech.server import TOKEN, ScriptedServer

HOUR = Window(datetime(2026, 3, 2, 5), datetime(2026, 3, 2, 6))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network counts as fast: on a busy machine, windows would be read in slices, with more requests."""
    monkeypatch.setattr("cdr_assets.alotech.client._SLOW_PAGE", 3600.0)


@pytest.fixture
def hour() -> Window:
    return HOUR


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that clients of `connect` asked for; none of them is slept."""
    return []


@pytest.fixture
def connect(pauses: list[float]) -> Iterator[Callable[..., AlotechClient]]:
    with ExitStack() as clients:

        def connect(url: str, **options: Any) -> AlotechClient:
            defaults: dict[str, Any] = {"token": TOKEN, "requests_per_second": 0, "sleep": pauses.append}
            return clients.enter_context(AlotechClient(url, **defaults | options))

        yield connect


@pytest.fixture
def client(server: ScriptedServer, connect: Callable[..., AlotechClient]) -> AlotechClient:
    return connect(server.url)
