"""One HTTP request to AloTech: connections, deadlines, network failures as errors, and the app token's only home.

Which address, proxy and certificates are used is in `address.py`, what the body of an answer says in `answer.py`;
pages, chains, retries and limits are in `client.py`, `chain.py` and `limits.py`.

This is `http.client` with no library above it, for three reasons. urllib3 logs the address of each request at DEBUG,
and the address holds the token; http.client logs nothing. A deadline that also ends headers which come byte by byte
needs the socket, and `requests` gives it away only after the headers. And a request costs half of the CPU time.
"""

from __future__ import annotations

import gzip
import io
import selectors
import socket
import ssl
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import unquote, urlencode

from .address import endpoint, proxy_for, tls_context
from .errors import AlotechError, ConfigurationError, MalformedAnswerError, TlsError, UnknownHostError, UnreachableError
from .redaction import redactors

#: No page of 100 calls is this large; a body without end must not fill the memory.
_LARGEST_BODY = 64 << 20
_HEADERS = {"User-Agent": "cdr-assets", "Accept": "application/json", "Accept-Encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer; `seconds` is what the request took, a new connection included, to the last byte."""

    status: int
    headers: Message
    body: bytes
    seconds: float


class Wire:
    """Sends GET requests to one endpoint, over kept connections, from any number of threads.

    `connect_timeout` and `read_timeout` bound a single wait for the network, `total_timeout` the whole answer,
    all in seconds. The proxy and the certificates are read from the environment once, here.
    Raises ConfigurationError for an address that is not a plain https endpoint (http to loopback is allowed), for
    an empty token, and for a proxy or certificates that cannot be used.
    """

    def __init__(
        self, base_url: str, token: str, *, connect_timeout: float, read_timeout: float, total_timeout: float
    ) -> None:
        url = endpoint(base_url)
        self.base_url, self.host = url.geturl(), url.netloc
        if not token.strip():
            raise ConfigurationError("there is no app token", advice="set ALOTECH_APP_TOKEN")
        self.redact, self.redact_body = redactors(token)
        # A closure, as the redactors are: no `vars` of this object shows the token.
        self._target: Callable[[Mapping[str, str]], str] = lambda parameters: (
            f"{url.path}?{urlencode({**parameters, 'app_token': token})}"
        )
        self._connect_timeout, self._read_timeout, self._total_timeout = connect_timeout, read_timeout, total_timeout
        self._url, self._proxy = url, proxy_for(url)
        self._tls = tls_context() if url.scheme == "https" else None
        self._closed = False
        try:
            # Not connected yet; made now because http.client checks the host's name when it makes one.
            self._idle = [self._new_connection()]
        except HTTPException:
            raise ConfigurationError(f"{self.base_url} is not an address") from None

    def get(self, parameters: Mapping[str, str]) -> Reply:
        """Sends one request and reads the whole answer, whatever its status; follows no redirect.

        Raises UnreachableError and its kinds, or MalformedAnswerError for a body that is too long or whose
        compression is broken.
        """
        started, reply, connecting = time.monotonic(), None, True
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new_connection()
        try:
            self._open(connection, started + self._total_timeout)
            connecting = False
            connection.request("GET", self._target(parameters), headers=_HEADERS)
            with connection.getresponse() as response:
                body = _read_body(response)
            reply = Reply(response.status, response.headers, body, time.monotonic() - started)
        except (HTTPException, OSError, ValueError) as error:
            failure = self._failure(error, connecting)
        finally:
            if reply is None or self._closed:
                connection.close()
            else:
                self._idle.append(connection)
        if reply is None:
            # Not raised above: as its context, the library's error would keep frames that hold the token.
            raise failure
        return reply

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _new_connection(self) -> HTTPConnection:
        connection: HTTPConnection
        near = self._proxy or self._url
        host, port = near.hostname or "", near.port or (443 if near.scheme == "https" else 80)
        if self._tls:
            connection = HTTPSConnection(host, port, timeout=self._connect_timeout, context=self._tls)
        else:
            connection = HTTPConnection(host, port, timeout=self._connect_timeout)
        if self._proxy:
            login = f"{unquote(self._proxy.username or '')}:{unquote(self._proxy.password or '')}"
            headers = {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login != ":" else {}
            connection.set_tunnel(self._url.hostname or "", self._url.port or 443, headers)
        # Above 0, http.client prints each request to stdout; a program may have set that for all connections.
        connection.set_debuglevel(0)
        return connection

    def _open(self, connection: HTTPConnection, deadline: float) -> None:
        # The one hook by which http.client reads the status line, the headers and a proxy's answer in another way.
        connection.response_class = partial(_response, deadline, self._read_timeout)  # type: ignore[assignment]
        if connection.sock is not None and _is_readable(connection.sock):
            # Nothing was asked, so this can only be the connection's end: a request over it would cost a try.
            connection.close()
        if connection.sock is None:
            connection.connect()

    def _failure(self, error: Exception, connecting: bool) -> AlotechError:
        """The failure in our words; none of the library's text is used, since it may quote the server."""
        proxied = connecting and self._proxy is not None
        there = "the proxy of the environment" if proxied else self.host
        advice = "check HTTPS_PROXY and NO_PROXY" if proxied else None
        match error:
            case UnicodeError():
                return UnknownHostError(f"{there} cannot be the name of a host", advice=advice)
            case socket.gaierror(errno=number):
                passing = number == socket.EAI_AGAIN
                return UnknownHostError(f"the name of {there} is not known", retryable=passing, advice=advice)
            case ssl.SSLCertVerificationError():
                return TlsError(f"the certificate of {self.host} is not trusted")
            case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return TlsError(f"{self.host} does not accept our TLS, or speaks none")
            case ConnectionRefusedError():
                return UnreachableError(f"{there} refuses the connection", advice=advice)
            case _ if proxied:
                return UnreachableError(f"{there} did not let the request through", advice=advice)
            case _ if connecting:
                return UnreachableError(f"no connection to {there} within {self._connect_timeout:g} s")
            case TimeoutError():
                waited = f"{self._read_timeout:g} s without a byte, or {self._total_timeout:g} s in all"
                return UnreachableError(f"the answer of {there} did not come in time ({waited})")
        return UnreachableError(f"the connection to {there} broke before the answer was complete")


def _is_readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _response(deadline: float, read_timeout: float, sock: socket.socket, **how: Any) -> HTTPResponse:
    response = HTTPResponse(sock, **how)
    response.fp = io.BufferedReader(_Bounded(response.fp.detach(), sock, deadline, read_timeout))
    return response


class _Bounded(io.RawIOBase):
    """A socket's bytes until a deadline, and not endlessly many.

    A read timeout alone begins again with every byte, so that a trickle would never end. A chunk of a negative
    length makes http.client read to the connection's end, whatever it was told to read at most.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float, read_timeout: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._read_timeout = read_timeout
        # Twice, since headers and the lengths of chunks come over the socket too.
        self._bytes_left = 2 * _LARGEST_BODY

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._read_timeout))
        count: int = self._raw.readinto(buffer) or 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _too_long()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _read_body(response: HTTPResponse) -> bytes:
    """The body after decompression. Raises IncompleteRead or MalformedAnswerError."""
    body = response.read(_LARGEST_BODY + 1)
    if len(body) <= _LARGEST_BODY and response.length:
        # http.client checks the length only where it is told to read without a limit.
        raise IncompleteRead(body)
    if response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip"):
        try:
            body = gzip.GzipFile(fileobj=io.BytesIO(body)).read(_LARGEST_BODY + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise MalformedAnswerError("the answer's compression is broken") from None
    if len(body) > _LARGEST_BODY:
        raise _too_long()
    return body


def _too_long() -> MalformedAnswerError:
    return MalformedAnswerError(f"the answer is longer than {_LARGEST_BODY >> 20} MB", retryable=False)
