"""Real receivers of alerts on this machine: a web server that keeps what is posted to it, and a mail server."""

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PATH = "/services/T0SECRET/B0SECRET/abcdefgh"


class Web:
    """A web server. It answers with `status`, or with nothing at all where that is None; `got` are the JSON bodies."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.requests: list[tuple[str, str]] = []
        self.got: list[dict[str, Any]] = []
        self.url = ""

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.got]


@contextmanager
def web_server(port: int = 0) -> Iterator[Web]:
    web, ended = Web(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.requests.append((self.command, self.path))
            if web.status is None:
                # A byte now and then, for ever: no timeout of a socket ends this.
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not ended.wait(0.05):
                    self.wfile.write(b"x")
                return
            if body and web.status == 200:
                web.got.append(json.loads(body))
            self.send_response(web.status)
            if 300 <= web.status < 400:
                self.send_header("Location", f"{web.url}/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}{PATH}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Mailbox:
    """A mail server without TLS. It refuses the recipients in `refused`; `accepts` turns every mail away if False."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.accepts = True
        self.password: str | None = None
        self.got: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.port = 0

    @property
    def texts(self) -> list[str]:
        return [mail.get_content() for mail in self.got]


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            to: list[str] = []
            self.answer("220 mail.test")
            while line := self.rfile.readline().decode().strip():
                verb, _, rest = line.partition(" ")
                match verb.upper():
                    case "EHLO":
                        self.answer("250-mail.test", *(["250-AUTH PLAIN"] if box.password else []), "250 8BITMIME")
                    case "AUTH":
                        self.answer("235 ok" if box.password and _plain(rest) == box.password else "535 no")
                    case "RCPT":
                        address = rest.partition(":")[2].strip("<> ")
                        if address in box.refused:
                            self.answer("550 unknown")
                        else:
                            to.append(address)
                            self.answer("250 ok")
                    case "DATA":
                        self.answer("354 go on")
                        lines = []
                        while (line_of_mail := self.rfile.readline()) != b".\r\n":
                            lines.append(line_of_mail)
                        if box.accepts:
                            mail = message_from_bytes(b"".join(lines), policy=policy.default)
                            assert isinstance(mail, EmailMessage)
                            box.got.append(mail)
                            box.recipients.append(to)
                        self.answer("250 ok" if box.accepts else "451 later")
                    case "QUIT":
                        # A bad answer after a good one: the mail was accepted all the same.
                        self.answer("421 too busy")
                        return
                    case _:
                        self.answer("250 ok")

        def answer(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield box
        server.shutdown()
        thread.join()


def _plain(credentials: str) -> str:
    """The password of an AUTH PLAIN."""
    return base64.b64decode(credentials.split()[-1]).decode().split("\0")[2]


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox
