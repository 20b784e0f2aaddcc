"""Connections: deadlines, reuse, names, TLS, proxies, redirects; each failure is one line that says what to do."""

from __future__ import annotations

import os
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import DEFAULT_CA_BUNDLE_PATH

from cdr_assets.alotech import (
    AlotechClient,
    ConfigurationError,
    TlsError,
    UnknownHostError,
    UnreachableError,
    Window,
    WrongAddressError,
)
from cdr_assets.alotech.wire import Wire, _Bounded
from cdr_assets_tests.alotech.server import TOKEN, Action, Answer, ScriptedServer, page, record, silence, trickle

Connect = Callable[..., AlotechClient]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


class TestDeadlines:
    def test_silence(self, server: ScriptedServer, connect: Connect, hour: Window, pauses: list[float]) -> None:
        server.script = lambda _: silence
        with pytest.raises(UnreachableError, match=r"did not come in time \(0.05 s without a byte.*2 tries"):
            connect(server.url, read_timeout=0.05, max_attempts=2).fetch_window(hour)
        assert len(pauses) == 1

    @pytest.mark.parametrize(
        ("first", "drop"),
        [
            (b"HTTP/1.1 200 O", b"K"),
            (HEAD, b"X-More: and more\r\n"),
            (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            (HEAD + b"\r\n", b" "),
            (HEAD + b"Content-Length: 100000\r\n\r\n{", b""),
        ],
        ids=["status line", "headers", "body", "chunks", "body without a length", "then silence"],
    )
    def test_an_answer_that_trickles(
        self, server: ScriptedServer, connect: Connect, hour: Window, first: bytes, drop: bytes
    ) -> None:
        server.script = lambda _: trickle(first, drop)
        with pytest.raises(UnreachableError, match=r"or 0.1 s in all"):
            connect(server.url, read_timeout=3600, total_timeout=0.1, max_attempts=1).fetch_window(hour)

    def test_nothing_is_read_after_the_deadline(self) -> None:
        here, there = socket.socketpair()
        with here, there:
            there.sendall(b"late")
            late = _Bounded(here.makefile("rb", buffering=0), here, deadline=0.0)
            with pytest.raises(TimeoutError):
                late.readinto(bytearray(4))
            late.close()

    def test_the_deadline_is_each_answers_own(self, server: ScriptedServer, connect: Connect, hour: Window) -> None:
        trickled: list[str] = []

        def script(asked: dict[str, str]) -> Action:
            if "cursor" not in asked:
                return page([record("a")], "c1")
            if not trickled:
                trickled.append(asked["cursor"])
                return trickle(HEAD, b"X: y\r\n")
            return page([record("b")])

        server.script = script
        pages = connect(server.url, read_timeout=3600, total_timeout=0.2).fetch_window(hour)
        assert [p.record_count for p in pages] == [1, 1]
        assert pages[1].attempts > 1

    def test_no_connection(self, connect: Connect, hour: Window) -> None:
        with socket.socket() as listener, ExitStack() as waiting:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                # The queue is full now: the next connection is not accepted.
                caller = waiting.enter_context(socket.socket())
                caller.setblocking(False)
                with suppress(BlockingIOError):
                    caller.connect(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            with pytest.raises(UnreachableError, match=r"no connection to 127.0.0.1:\d+ within 0.05 s"):
                connect(url, connect_timeout=0.05, max_attempts=1).fetch_window(hour)


class TestConnections:
    def test_they_are_kept(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        sizes = [1, 100, 5000]
        server.answers(*(page([record("a", pad="x" * n)], f"c{n}", gzipped=n == 100) for n in sizes), page([]))
        client.fetch_window(hour)
        assert server.connections == 1

    def test_a_kept_one_that_the_server_has_closed(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        last = Answer(page([record("a")], "c1").body, headers={"Connection": "close"})
        server.answers(last, page([]))
        assert sum(p.attempts for p in client.fetch_window(hour)) == 2

    def test_a_kept_one_that_the_server_closed_without_a_word_costs_no_try(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        is_closed = threading.Event()

        def answer_and_go(connection: socket.socket) -> None:
            page([]).write(connection)
            connection.shutdown(socket.SHUT_RDWR)
            is_closed.set()
            raise ConnectionAbortedError

        server.answers(answer_and_go, page([]))
        client.fetch_window(hour)
        assert is_closed.wait(20)
        [one] = client.fetch_window(hour)
        assert one.attempts == 1
        assert server.connections == 2

    def test_closing_closes_them(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        ended = threading.Event()

        def answer_and_wait(connection: socket.socket) -> None:
            page([]).write(connection)
            assert connection.recv(1) == b""
            ended.set()

        server.answers(answer_and_wait)
        client.fetch_window(hour)
        client.close()
        assert ended.wait(20)

    def test_threads_share_them(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.script = lambda asked: page([record("a")], None if "cursor" in asked else "c1")
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.append(len(client.fetch_window(hour)))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [2] * 12
        assert server.connections <= 4

    def test_refused(self, connect: Connect, hour: Window) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            with pytest.raises(UnreachableError, match=rf"127.0.0.1:{port} refuses the connection \(5 tries\)"):
                connect(f"http://127.0.0.1:{port}/").fetch_window(hour)

    @pytest.mark.parametrize(("code", "tries"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 5)])
    def test_unknown_host(
        self,
        connect: Connect,
        hour: Window,
        code: int,
        tries: int,
        pauses: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def resolve(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(code, "no")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(UnknownHostError, match=r"the name of acme.example is not known.*check ALOTECH_TENANT"):
            connect("https://acme.example/api/").fetch_window(hour)
        assert len(pauses) == tries - 1

    @pytest.mark.parametrize("host", ["a..example", "a" * 100 + ".example"])
    def test_a_name_that_cannot_be_one(self, connect: Connect, hour: Window, host: str) -> None:
        with pytest.raises(UnknownHostError, match=r"cannot be the name of a host; check ALOTECH_TENANT"):
            connect(f"https://{host}/api/").fetch_window(hour)


class TestAddresses:
    @pytest.mark.parametrize("path", ["/ağ/", "/a b/", "/%C4%9F/"])
    def test_any_path_can_be_asked_for(self, server: ScriptedServer, connect: Connect, hour: Window, path: str) -> None:
        assert len(connect(f"http://127.0.0.1:{server.port}{path}").fetch_window(hour)) == 1


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_none_is_followed(self, server: ScriptedServer, client: AlotechClient, hour: Window, status: int) -> None:
        with ScriptedServer() as other:
            location = f"{other.url}login?next={TOKEN}"
            server.answers(Answer(b"", status, {"Location": location}))
            with pytest.raises(WrongAddressError, match=rf'points to "{other.url}login", which is not followed'):
                client.fetch_window(hour)
            assert not other.asked
            assert other.connections == 0
        assert len(server.asked) == 1

    def test_nor_to_nowhere(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.answers(Answer(b"", 302, {}))
        with pytest.raises(WrongAddressError, match="nowhere"):
            client.fetch_window(hour)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, both in one file that is made for this run."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
        " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def secure(tls: ssl.SSLContext) -> Iterator[ScriptedServer]:
    with ScriptedServer(tls=tls) as server:
        yield server


class TestTls:
    def test_a_certificate_that_nobody_vouches_for(
        self, secure: ScriptedServer, connect: Connect, hour: Window
    ) -> None:
        with pytest.raises(TlsError, match=r"certificate of 127.0.0.1:\d+ is not trusted; .*REQUESTS_CA_BUNDLE"):
            connect(secure.url).fetch_window(hour)
        assert not secure.asked

    def test_a_certificate_of_the_environment(
        self,
        secure: ScriptedServer,
        connect: Connect,
        hour: Window,
        certificate: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        secure.answers(page([record("a")], "c1"), page([record("b" * 100_000)]))
        assert len(connect(secure.url).fetch_window(hour)) == 2
        assert secure.asked[0]["app_token"] == TOKEN
        assert secure.connections == 1

    @pytest.mark.parametrize("proxy", [None, "http://proxy.example:80"])
    def test_the_certificates_of_requests_are_the_usual_ones(
        self, proxy: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        wire = Wire("https://acme.example/", TOKEN, connect_timeout=1, read_timeout=1, total_timeout=1)
        made = wire._pool._new_conn()
        assert made.ca_certs == DEFAULT_CA_BUNDLE_PATH
        assert made.cert_reqs == "CERT_REQUIRED"

    def test_deadlines_hold_under_it(
        self,
        secure: ScriptedServer,
        connect: Connect,
        hour: Window,
        certificate: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        secure.script = lambda _: trickle(HEAD + b"Content-Length: 100000\r\n\r\n", b" ")
        with pytest.raises(UnreachableError, match="in time"):
            connect(secure.url, total_timeout=0.2, max_attempts=1).fetch_window(hour)

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_certificates_that_cannot_be_read(
        self, connect: Connect, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle = tmp_path / "bundle.pem"
        if content:
            bundle.write_text(content)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        with pytest.raises(
            ConfigurationError, match=r"no certificates can be read from .*bundle.pem; correct REQUESTS"
        ):
            connect("https://acme.example/api/")

    def test_a_server_without_tls(self, server: ScriptedServer, connect: Connect, hour: Window) -> None:
        with pytest.raises(TlsError, match="does not accept our TLS"):
            connect(server.url.replace("http:", "https:")).fetch_window(hour)


@contextmanager
def forward_proxy(status: str = "200 OK", tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A CONNECT proxy: its host and port, and all bytes that it saw."""
    seen: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n") and (more := self.request.recv(65536)):
                head += more
            seen.append(head)
            self.request.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if not status.startswith("200"):
                return
            host, port = head.split()[1].decode().split(":")
            with socket.create_connection((host, int(port))) as there, suppress(OSError):
                relay({self.request: there, there: self.request})

    def relay(ends: dict[socket.socket, socket.socket]) -> None:
        # One thread for both directions: two must not use one TLS connection at a time.
        while True:
            decrypted = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
            for source in decrypted or select.select(ends, [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                seen.append(data)
                ends[source].sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()
        thread.join()


class TestProxies:
    @pytest.mark.parametrize(
        ("name", "prefix"),
        [
            ("HTTPS_PROXY", "http://user:proxy-word@"),
            ("HTTPS_PROXY", "https://user:proxy-word@"),
            ("https_proxy", ""),
            ("ALL_PROXY", "http://"),
        ],
    )
    def test_https_goes_through_the_proxy_of_the_environment(
        self,
        secure: ScriptedServer,
        connect: Connect,
        hour: Window,
        certificate: Path,
        tls: ssl.SSLContext,
        name: str,
        prefix: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        secure.answers(page([record("a")], "c1"), page([]))
        with forward_proxy(tls=tls if prefix.startswith("https") else None) as (proxy, seen):
            monkeypatch.setenv(name, prefix + proxy)
            client = connect(secure.url)
            # The environment is read once: its later changes have no effect.
            monkeypatch.delenv(name)
            assert len(client.fetch_window(hour)) == 2
            client.close()
        assert secure.asked[0]["app_token"] == TOKEN
        assert seen[0].startswith(f"CONNECT 127.0.0.1:{secure.port} ".encode())
        assert (b"Proxy-Authorization: Basic " in seen[0]) == ("user" in prefix)
        assert not any(b"app_token" in data or b"CallList" in data for data in seen)

    @pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.0/8", "*", "elsewhere.example, 127.0.0.1"])
    def test_no_proxy_is_honoured(
        self,
        secure: ScriptedServer,
        connect: Connect,
        hour: Window,
        certificate: Path,
        exception: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        monkeypatch.setenv("NO_PROXY", exception)
        with forward_proxy() as (proxy, seen):
            monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
            assert len(connect(secure.url).fetch_window(hour)) == 1
        assert not seen

    def test_plain_http_never_meets_a_proxy(
        self, server: ScriptedServer, connect: Connect, hour: Window, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with forward_proxy() as (proxy, seen):
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://{proxy}")
            assert len(connect(server.url).fetch_window(hour)) == 1
        assert not seen

    def test_a_proxy_that_refuses(self, connect: Connect, hour: Window, monkeypatch: pytest.MonkeyPatch) -> None:
        with forward_proxy("407 Proxy Authentication Required") as (proxy, seen):
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:proxy-word@{proxy}")
            with pytest.raises(
                UnreachableError, match=r"the proxy .* did not let the request through.*HTTPS_PROXY"
            ) as caught:
                connect("https://acme.example/api/").fetch_window(hour)
        assert seen
        assert "proxy-word" not in str(caught.value)

    @pytest.mark.parametrize(
        ("scheme", "whose"), [("http", r"127.0.0.1:\d+"), ("https", "the proxy of the environment")]
    )
    def test_whose_certificate_is_not_trusted(
        self,
        secure: ScriptedServer,
        connect: Connect,
        hour: Window,
        tls: ssl.SSLContext,
        scheme: str,
        whose: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with forward_proxy(tls=tls if scheme == "https" else None) as (proxy, _):
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://{proxy}")
            with pytest.raises(TlsError, match=f"the certificate of {whose} is not trusted"):
                connect(secure.url).fetch_window(hour)

    def test_a_proxy_that_is_not_there(self, connect: Connect, hour: Window, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{bound.getsockname()[1]}")
            with pytest.raises(
                UnreachableError, match=r"the proxy of the environment refuses the connection.*HTTPS_PROXY"
            ):
                connect("https://acme.example/api/").fetch_window(hour)

    def test_a_proxy_that_trickles(self, connect: Connect, hour: Window, monkeypatch: pytest.MonkeyPatch) -> None:
        with ScriptedServer() as proxy:
            proxy.otherwise = trickle(b"HTTP/1.1 200 O", b"K")
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(UnreachableError, match="the proxy of the environment did not let the request through"):
                connect("https://acme.example/api/", total_timeout=0.1, max_attempts=1).fetch_window(hour)

    @pytest.mark.parametrize(
        "proxy", ["user:proxy-word@proxy.example:80", "ftp://proxy-word", "http://", "http://x:proxy-word/"]
    )
    def test_a_proxy_that_cannot_be_used(self, connect: Connect, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(
            ConfigurationError, match=r"proxy of the environment cannot be used; correct HTTPS_PROXY"
        ) as caught:
            connect("https://acme.example/api/")
        assert "proxy-word" not in "".join(traceback.format_exception(caught.value))
