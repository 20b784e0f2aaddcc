"""A scripted server on a real socket, for exact control of each byte of an answer; and pages to serve from it.

The sandbox, which knows the vendor's parameters and answers like AloTech, is in `cdr_assets/sandbox/`.
"""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

TOKEN = "ahRz+Secret/Token=for tests~çığ"


@dataclass
class Answer:
    """What is written to the socket: whole, compressed, or cut off after `cut` bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    gzipped: bool = False
    cut: int | None = None
    chunked: bool = False

    def write(self, connection: socket.socket) -> None:
        body = gzip.compress(self.body) if self.gzipped else self.body
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{k}: {v}" for k, v in self.headers.items())]
        if self.gzipped:
            lines.append("Content-Encoding: gzip")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            lines.append(f"Content-Length: {len(body)}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[: self.cut])
        if self.cut is not None:
            raise ConnectionAbortedError


def reset(connection: socket.socket) -> None:
    """Ends the connection with RST and no answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError


def silence(connection: socket.socket) -> None:
    """Sends nothing until the client goes away."""
    connection.recv(1)
    raise ConnectionAbortedError


def trickle(first: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Sends `first`, and then `drop` every 10 ms until the client goes away: no read timeout ends it."""

    def write(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(drop)
            time.sleep(0.01)

    return write


Action = Answer | Callable[[socket.socket], None]
Script = Callable[[dict[str, str]], Action]


class ScriptedServer:
    """Answers each request as `script` says, which gets its parameters; `asked` lists them, with the tokens."""

    def __init__(self, script: Script | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.script: Script = script or (lambda _: page([]))
        self.asked: list[dict[str, str]] = []
        #: What anything but a GET is answered with.
        self.otherwise: Callable[[socket.socket], None] = Answer(b"Bad request", 400, {}).write
        self.connections = 0
        self._open: set[socket.socket] = set()
        server = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                server.connections += 1
                server._open.add(self.request)
                try:
                    while line := self.rfile.readline():
                        if not line.startswith(b"GET "):
                            server.otherwise(self.request)
                            return
                        while self.rfile.readline().strip():
                            pass
                        query = urlsplit(line.split()[1].decode()).query
                        asked = dict(parse_qsl(query, keep_blank_values=True))
                        server.asked.append(asked)
                        action = server.script(asked)
                        (action.write if isinstance(action, Answer) else action)(self.request)
                except OSError:
                    pass
                finally:
                    server._open.discard(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                if tls is not None:
                    # The handshake is made at the first read, in the connection's own thread.
                    connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, address

        self._tls = tls
        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/api/"

    def answers(self, *actions: Action) -> None:
        """Answers requests with these actions, one after the other; a request beyond them gets a 500."""
        remaining = iter(actions)
        lock = threading.Lock()

        def script(_: dict[str, str]) -> Action:
            with lock:
                return next(remaining, Answer(b"more requests than scripted", 500, {}))

        self.asked.clear()
        self.script = script

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._open):
            connection.close()
        self._thread.join()


def record(key: str, calldate: str = "2026-03-02 05:00:00", **fields: Any) -> dict[str, Any]:
    return {"key": key, "calldate": calldate, **fields}


def page(records: Iterable[Any], cursor: Any = None, **how: Any) -> Answer:
    """An answer like the vendor's: CallList and cursor."""
    return Answer(json.dumps({"CallList": list(records), "cursor": cursor}).encode(), **how)


def refused(message: str, **how: Any) -> Answer:
    return Answer(json.dumps({"success": False, "message": message}).encode(), **how)
