"""An HTTP answer, and how it is written to the socket. What it contains is decided in `server`, `api` and `faults`."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import msgspec

# Writes the head and the body to the socket. Returns true if the connection can take another request.
Delivery = Callable[[socket.socket, bytes, bytes], bool]


def whole(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """Sends the whole answer in one write. Two writes would take 40 ms (Nagle's algorithm and delayed ACKs)."""
    connection.sendall(head + body)
    return True


@dataclass
class Answer:
    """An answer. `deliver` adds the headers Content-Length and Date if `headers` does not have them."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})
    delivery: Delivery = whole

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        """An answer with the value as JSON."""
        return cls(msgspec.json.encode(value), status)

    def deliver(self, connection: socket.socket) -> bool:
        """Writes the answer to the socket. Returns true if the connection can take another request."""
        added = {"Content-Length": len(self.body), "Date": formatdate(usegmt=True)}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in (added | self.headers).items()]
        return self.delivery(connection, "\r\n".join([*lines, "", ""]).encode("latin-1"), self.body)
