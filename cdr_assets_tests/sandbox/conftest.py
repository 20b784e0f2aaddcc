"""Fixtures that send requests to a sandbox over a real socket."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from cdr_assets.sandbox import Sandbox

TOKEN = "sandbox-token"

Ask = Callable[..., Any]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """`ask(sandbox, **parameters)` sends a `reportsCDRLogs` request with the token and returns the answer's JSON."""
    with requests.Session() as session:
        session.trust_env = False

        def ask(sandbox: Sandbox, **parameters: str) -> Any:
            asked = {"function": "reportsCDRLogs", "app_token": TOKEN} | parameters
            answer = session.get(sandbox.base_url, params=asked, timeout=5)
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            return answer.json()

        yield ask


@pytest.fixture
def chain(ask: Ask) -> Ask:
    """`chain(sandbox, **parameters)` follows the cursors and returns every page as a list of records."""

    def chain(sandbox: Sandbox, **parameters: str) -> list[list[dict[str, Any]]]:
        page = ask(sandbox, **parameters)
        pages = [page["CallList"]]
        while page.get("cursor"):
            page = ask(sandbox, **parameters, cursor=page["cursor"])
            pages.append(page["CallList"])
        return pages

    return chain
