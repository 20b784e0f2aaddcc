"""Faults of the HTTP connection: statuses, silence, broken connections, bodies that are cut off.

The docstrings of the classes are in docs/faults.md. Faults of whole bodies are in `bodies`.
"""

import contextlib
import os
import socket
import struct
import time
from email.utils import formatdate

from cdr_assets.sandbox.faults.base import Exchange, Fault

# How many seconds a silent connection stays open if the client does not close it earlier.
_PATIENCE = 600
_HTML = {"Content-Type": "text/html; charset=utf-8"}


class _Status(Fault):
    """Answers with a status that is no success, and a page of HTML."""

    passes = True
    replaces_answer = True
    status = 500
    retry_after = ""

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.status = self.status
        exchange.answer.headers = dict(_HTML)
        exchange.answer.body = f"<html><body><h1>Error {self.status}</h1></body></html>".encode()
        if self.retry_after == "seconds":
            exchange.answer.headers["Retry-After"] = "1"
        elif self.retry_after == "date":
            # The date has whole seconds only, so two seconds from now may mean only one.
            exchange.answer.headers["Retry-After"] = formatdate(time.time() + 2, usegmt=True)
        elif self.retry_after == "tomorrow":
            exchange.answer.headers["Retry-After"] = "86400"


class TooManyRequests(_Status):
    """Answers 429 without Retry-After. The client should wait for a time of its own and try again."""

    status = 429


class TooManyRequestsSeconds(_Status):
    """Answers 429 with Retry-After in seconds (1). The client should wait at least that long and try again."""

    status = 429
    retry_after = "seconds"


class TooManyRequestsDate(_Status):
    """Answers 429 with Retry-After as an HTTP date (2 s from now). The client should try again after it."""

    status = 429
    retry_after = "date"


class TooManyRequestsTomorrow(_Status):
    """Always answers 429 with Retry-After of a day. The client should fail the hour, not hold a run for a day."""

    passes = False
    status = 429
    retry_after = "tomorrow"


class Unavailable(_Status):
    """Answers 503 without Retry-After. The client should wait for a time of its own and try again."""

    status = 503


class UnavailableSeconds(_Status):
    """Answers 503 with Retry-After in seconds (1). The client should wait at least that long and try again."""

    status = 503
    retry_after = "seconds"


class UnavailableDate(_Status):
    """Answers 503 with Retry-After as an HTTP date (2 s from now). The client should try again after it."""

    status = 503
    retry_after = "date"


class ServerError(_Status):
    """Answers 500 with HTML. The client should try again."""

    status = 500


class BadGateway(_Status):
    """Answers 502 with HTML. The client should try again."""

    status = 502


class _Delivery(Fault):
    """Sends the right answer, but in a way that loses or delays it."""

    passes = True
    replaces_answer = True

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.delivery = self.send

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:
        raise NotImplementedError


class Timeout(_Delivery):
    """Sends nothing. The client should time out and try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:  # noqa: ARG004
        return _until_the_client_leaves(connection)


class Stall(_Delivery):
    """Stops in the middle of the body and keeps the connection open. The client should time out and try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body[: len(body) // 2])
        return _until_the_client_leaves(connection)


class Drip(_Delivery):
    """Sends the body so slowly that no pause between two bytes is long. The client should have a limit for the whole
    answer, and try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head)
        for n in range(len(body)):
            connection.sendall(body[n : n + 1])
            time.sleep(0.1)
        return True


class Reset(_Delivery):
    """Resets the connection (RST) before any answer. The client should try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:  # noqa: ARG004
        return _reset(connection)


class ResetInBody(_Delivery):
    """Resets the connection (RST) in the middle of the body. The client should try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body[: len(body) // 2])
        return _reset(connection)


class CutBody(_Delivery):
    """Closes the connection in the middle of the body: fewer bytes than Content-Length says. The client should notice
    and try again."""

    @staticmethod
    def send(connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body[: len(body) // 2])
        return False


class CutJson(Fault):
    """Cuts the JSON off in the middle, with a Content-Length that fits. The client should try again."""

    passes = True
    replaces_answer = True

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.body = exchange.answer.body[: len(exchange.answer.body) // 2]


class EmptyBody(Fault):
    """Answers 200 without a body. The client should try again."""

    passes = True
    replaces_answer = True

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.body = b""


class Html(Fault):
    """Answers 200 with a page of HTML, as a proxy or a maintenance notice does. The client should try again."""

    passes = True
    replaces_answer = True

    def deliver(self, exchange: Exchange) -> None:
        exchange.answer.headers = dict(_HTML)
        exchange.answer.body = (
            "<!doctype html><html><body><h1>Özür dileriz, birazdan geri geleceğiz</h1></body></html>".encode()
        )


def _until_the_client_leaves(connection: socket.socket) -> bool:
    connection.settimeout(_PATIENCE)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)
    return False


def _reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # `close` would keep the socket open while another object holds it, and then end it in the normal way.
    os.close(connection.detach())
    return False
