"""The guard of Dagster's UI: refuses the requests that other web pages send through the operator's browser.

The UI has no login and listens on this machine alone. That keeps other machines out, but not web pages: a page of any
site may send requests to 127.0.0.1, and Dagster would let it launch runs and read the event log. How the UI is started
is in `ui`. Who may use the UI is not decided here, see docs/ui.md.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMES = ("127.0.0.1", "localhost", "[::1]")

_logger = logging.getLogger(__name__)


def guard(app: App) -> App:
    """The ASGI application behind the guard. It answers 403, and one line that says why, to what it refuses."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        reason = None if scope["type"] == "lifespan" else _refusal(scope)
        if reason:
            _logger.warning("refused %s %r: %s", scope.get("method", "a WebSocket to"), scope["path"], reason)
            await _refuse(scope, send, reason)
        else:
            await app(scope, receive, send)

    return guarded


def _refusal(scope: Scope) -> str | None:
    """Why the request is refused: in one line, what happened and what to do. None if it may pass."""
    port = scope["server"][1]
    own = {f"{name}:{port}" for name in _NAMES}
    if port == 80:
        own |= set(_NAMES)
    here = f"http://127.0.0.1:{port}"
    # A site can point its own name at 127.0.0.1 (DNS rebinding). The browser then takes its pages for the UI's own, and
    # only the name in Host gives them away. Two names are refused, because Dagster could read the other one.
    hosts = _values(scope, b"host")
    if [host.lower() in own for host in hosts] != [True]:
        return f"the header Host is {_shown(hosts)}, and the UI answers to this machine alone; open {here}"
    # Browsers name the site of the page that sends a POST or opens a WebSocket. Programs send no Origin.
    origins = _values(scope, b"origin")
    if not {f"http://{address}" for address in own}.issuperset(origins):
        return f"a page of {_shown(origins)} sent this, and only the UI's own pages may; open {here}"
    # Dagster runs a query or mutation in the address. Any page can have the browser open an address, for instance as a
    # picture, and then there is no Origin. The UI sends its queries by POST.
    if scope.get("method") != "POST" and any(name == "query" for name, _ in _parameters(scope)):
        return "the address contains a query, and any page may link to an address; send the query by POST"
    return None


def _values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def _shown(values: list[str]) -> str:
    return ", ".join(map(repr, values)) or "missing"


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    # As Starlette, on which Dagster's web server is built, reads them.
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    # A WebSocket is refused by an ordinary answer to its handshake.
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": f"{kind}.start", "status": 403, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
