"""The sandbox's server: HTTP/1.1 on 127.0.0.1 that answers like the vendor's endpoint.

`api` decides the contents of a page. The server uses plain sockets, because some faults need the socket, and because
`http.server` is slow: it parses headers with the e-mail package and answers in small writes, which together take longer
than making the page.
"""

import contextlib
import datetime as dt
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from cdr_assets.sandbox.answer import Answer
from cdr_assets.sandbox.api import PAGE_SIZE, ChainEnd, RefusedError, Rules, page_of
from cdr_assets.sandbox.calls import Source
from cdr_assets.sandbox.faults import Fault, fault_of, serve
from cdr_assets.sandbox.faults.base import Exchange

HOST = "127.0.0.1"
PATH = "/api/"

# How many requests the sandbox remembers: enough for any test, and limited because a sandbox may run for days.
REMEMBERED = 10_000


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request: its parameters without the token, and its time (`time.monotonic`)."""

    parameters: Mapping[str, str]
    at: float


class Sandbox:
    """A local AloTech that serves the calls of a source. Use it with `with`, or with `serve_forever()` and `close()`.

    It listens as soon as it is made. `base_url` is the endpoint. `requests` counts the requests so far, `asked` holds
    the newest ones, and `most_at_once` is the highest number of requests that were answered at the same time.
    `time_zone` is that of the source's dates. `fault` is one fault or several, by name (see `FAULTS`) or made by
    `fault_of`; faults change only answers to `reportsCDRLogs`. The other parameters set what the vendor's documentation
    does not specify: whether the window includes its bounds and how a chain of pages ends. `page_size` is for tests.
    """

    def __init__(
        self,
        source: Source,
        token: str = "sandbox-token",
        port: int = 0,
        latency_ms: float = 0,
        fault: str | Fault | Iterable[str | Fault] | None = None,
        time_zone: str = "Europe/Istanbul",
        *,
        page_size: int = PAGE_SIZE,
        start_inclusive: bool = True,
        finish_inclusive: bool = True,
        chain_end: ChainEnd = "null",
    ) -> None:
        """Raises OSError if the port is in use, ZoneInfoNotFoundError for an unknown zone, ValueError for an unknown
        fault."""
        named = [] if fault is None else [fault] if isinstance(fault, str | Fault) else list(fault)
        self._faults = [fault_of(f, time_zone=time_zone) if isinstance(f, str) else f for f in named]
        self.requests = 0
        self.asked: deque[ReceivedRequest] = deque(maxlen=REMEMBERED)
        self.most_at_once = 0
        for each in self._faults:
            source = each.source(source)
        self._source = source
        self._token = token
        self._latency = latency_ms / 1000
        self._zone = ZoneInfo(time_zone)
        self._rules = Rules(page_size, start_inclusive, finish_inclusive, chain_end)
        self._in_work = 0
        self._count = threading.Lock()
        self._signatures = count()
        self._thread: threading.Thread | None = None
        self._server = _Server(self, port)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}{PATH}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self.close()
        if self._thread is not None:
            self._thread.join()

    def serve_forever(self) -> None:
        """Serves in this thread until it is interrupted."""
        try:
            self._server.serve_forever()
        finally:
            self.close()

    def close(self) -> None:
        """Closes the port and every connection, including those that a client keeps alive."""
        self._server.server_close()

    def answer(self, path: str, query: str, accepts_gzip: bool) -> Answer:
        """The answer to a GET request."""
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        token = parameters.pop("app_token", "")
        with self._count:
            self.requests += 1
            self._in_work += 1
            self.most_at_once = max(self.most_at_once, self._in_work)
        self.asked.append(ReceivedRequest(parameters, time.monotonic()))
        try:
            if self._latency:
                time.sleep(self._latency)
            if path.rstrip("/") != PATH.rstrip("/"):
                return Answer(b"Not found", 404, {"Content-Type": "text/plain"})
            return self._serve(parameters, token, accepts_gzip)
        except RefusedError as refusal:
            return Answer.of({"success": False, "message": str(refusal)})
        finally:
            with self._count:
                self._in_work -= 1

    def _serve(self, parameters: dict[str, str], token: str, accepts_gzip: bool) -> Answer:
        if not token:
            raise RefusedError("app_token is missing")
        if token != self._token:
            raise RefusedError("app_token is not valid")
        match parameters.get("function"):
            case "ping":
                now = dt.datetime.now(self._zone).strftime("%Y-%m-%d %H:%M:%S")
                return Answer.of({"success": True, "message": "pong", "date": now})
            case "reportsCDRLogs":
                signature = blake2b(b"%d" % next(self._signatures), digest_size=16).hexdigest().encode()
                if self._faults:
                    exchange = Exchange(dict(parameters), token, accepts_gzip)
                    return serve(self._faults, self._source, exchange, self._rules, signature)
                return Answer(page_of(self._source, parameters, self._rules).render(signature))
            case None | "":
                raise RefusedError("function is missing")
            case function:
                raise RefusedError(f"function is unknown: {function!r}")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self._connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        # A thread that waits for a client's next request, or delays an answer, ends when its socket is shut down.
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Do not report a client that closed the connection early. Any other error is a bug in the sandbox.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline(65536):
            if line in (b"\r\n", b"\n"):
                continue
            headers = self._headers()
            try:
                method, target, version = line.decode("latin-1").split()
            except ValueError:
                Answer(b"Bad request", 400, {"Content-Type": "text/plain"}).deliver(self.request)
                return
            if method != "GET":
                # Close the connection, because the request's body is not read and would be taken for the next request.
                refusal = {"Allow": "GET", "Content-Type": "text/plain", "Connection": "close"}
                Answer(b"Only GET is served", 405, refusal).deliver(self.request)
                return
            url = urlsplit(target)
            accepts_gzip = "gzip" in headers.get("accept-encoding", "")
            carries_on = self.server.sandbox.answer(url.path, url.query, accepts_gzip).deliver(self.request)
            if not carries_on or headers.get("connection", "").lower() == "close" or version == "HTTP/1.0":
                return

    def _headers(self) -> dict[str, str]:
        headers = {}
        while (line := self.rfile.readline(65536)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers
