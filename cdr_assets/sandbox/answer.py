"""An HTTP answer on its way to the socket."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

# Takes the socket, the head and the body; true where the connection can carry another request.
Delivery = Callable[[socket.socket, bytes, bytes], bool]


def whole(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """All of it in one write: two would wait for each other (Nagle's algorithm and the delayed ACK, 40 ms)."""
    connection.sendall(head + body)
    return True


@dataclass
class Answer:
    """What is sent; `headers` without the length, which `deliver` adds where it is not given."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=utf-8"})
    delivery: Delivery = whole

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        """The value as JSON."""
        return cls(msgspec.json.encode(value), status)

    def deliver(self, connection: socket.socket) -> bool:
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in ({"Content-Length": len(self.body)} | self.headers).items()]
        return self.delivery(connection, "\r\n".join([*lines, "", ""]).encode("latin-1"), self.body)
