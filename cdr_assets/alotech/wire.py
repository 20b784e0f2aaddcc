"""One HTTP request to AloTech: the token's only home, deadlines, proxies, and network failures as errors.

Knows no page, chain or retry. The token travels in the query string, so the query is added where the request
line is written to the socket and nowhere before: no URL that `requests` or `urllib3` put into an exception, a
log line or a `repr` can hold it.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.exceptions import ProxyError as Urllib3ProxyError

from .errors import AlotechError, ConfigurationError, MalformedAnswerError, TlsError, UnknownHostError, UnreachableError
from .redaction import redactors

#: No page of 100 calls is this large; a body without end must not fill the memory.
_LARGEST_BODY = 64 << 20
_IDLE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, complete: `seconds` is how long it took from sending to its last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Wire:
    """Sends GET requests to one endpoint, over kept connections, from any number of threads.

    `connect_timeout` and `read_timeout` bound a single wait for the network, `total_timeout` the whole answer,
    all in seconds. Proxies and certificates of the environment are looked up once, here.
    Raises ConfigurationError for an address that is not a plain https endpoint (http to loopback is allowed) and
    for a token that is empty.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        connections: int,
        connect_timeout: float,
        read_timeout: float,
        total_timeout: float,
    ) -> None:
        self.base_url = _checked(base_url)
        if not token.strip():
            raise ConfigurationError("there is no app token", advice="set ALOTECH_APP_TOKEN")
        self.redact, self.redact_body = redactors(token)
        self._timeout = (connect_timeout, read_timeout)
        self._waited = f"{read_timeout:g} s without a byte, or {total_timeout:g} s in all"
        self._query = threading.local()
        self._adapter = _Adapter(self._query, total_timeout, connections or _IDLE_CONNECTIONS)
        # A closure, as the redactors are: no `vars` of this object shows the token.
        self._full_query: Callable[[Mapping[str, str]], str] = lambda parameters: urlencode(
            {**parameters, "app_token": token}
        )
        with requests.Session() as session:
            # Looking proxies up for each request costs as much as the request itself.
            environment = session.merge_environment_settings(self.base_url, {}, None, None, None)
            # Plain http goes to loopback alone, where a proxy would be a detour that shows it the token.
            self._proxies = environment["proxies"] if self.base_url.startswith("https:") else {}
            verify = environment["verify"]
            self._verify = True if verify is None else verify
        try:
            self._request = requests.Request(
                "GET",
                self.base_url,
                headers={"User-Agent": "cdr-assets", "Accept": "application/json", "Accept-Encoding": "gzip"},
            ).prepare()
        except (requests.RequestException, ValueError):
            raise ConfigurationError(f"{self.base_url} is not an address") from None

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc

    def get(self, parameters: Mapping[str, str]) -> Reply:
        """Sends one request and reads the whole answer, whatever its status; follows no redirect.

        Raises UnreachableError and its kinds, or MalformedAnswerError where the body's encoding is broken.
        """
        self._query.text = self._full_query(parameters)
        started = time.monotonic()
        try:
            response = self._adapter.send(
                self._request, stream=True, timeout=self._timeout, verify=self._verify, proxies=self._proxies
            )
            try:
                body = response.raw.read(_LARGEST_BODY + 1, decode_content=True)
            except BaseException:
                response.raw.close()
                raise
        except (HTTPError, OSError) as error:
            raise self._failure(error) from None
        finally:
            self._query.text = ""
        if len(body) > _LARGEST_BODY:
            response.raw.close()
            raise MalformedAnswerError(f"the answer is longer than {_LARGEST_BODY >> 20} MB", retryable=False)
        return Reply(response.status_code, response.headers, body, time.monotonic() - started)

    def close(self) -> None:
        self._adapter.close()

    def _failure(self, error: BaseException) -> AlotechError:
        """The failure in our words; none of the library's text is used, since it shows addresses."""
        causes = list(_causes(error))

        def met(*kinds: type[BaseException]) -> BaseException | None:
            return next((cause for cause in causes if isinstance(cause, kinds)), None)

        proxied = met(Urllib3ProxyError, requests.exceptions.ProxyError) is not None
        there = "the proxy of the environment" if proxied else self.host
        advice = "check HTTPS_PROXY and NO_PROXY" if proxied else None
        if met(DecodeError):
            return MalformedAnswerError("the answer's compression is broken")
        if met(LocationValueError):
            return UnknownHostError(f"{there} cannot be the name of a host", advice=advice)
        if met(NameResolutionError, socket.gaierror):
            resolver = met(socket.gaierror)
            passing = isinstance(resolver, socket.gaierror) and resolver.errno == socket.EAI_AGAIN
            return UnknownHostError(f"the name of {there} is not known", retryable=passing, advice=advice)
        if met(ssl.SSLCertVerificationError):
            return TlsError(f"the certificate of {there} is not to be trusted")
        if met(ssl.SSLError) and not met(ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return TlsError(f"{there} does not speak TLS as we do")
        if met(ConnectionRefusedError):
            return UnreachableError(f"{there} refuses the connection", advice=advice)
        if proxied:
            return UnreachableError(f"{there} does not let us through", advice=advice)
        if met(NewConnectionError, ConnectTimeoutError):
            return UnreachableError(f"no connection to {there} within {self._timeout[0]:g} s")
        if met(ReadTimeoutError, TimeoutError):
            return UnreachableError(f"the answer of {there} did not come in time ({self._waited})")
        return UnreachableError(f"the connection to {there} broke before the answer was complete")


def _checked(base_url: str) -> str:
    """The endpoint as it may be used. The text of a wrong one is not repeated: it may hold a secret."""
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        # It quotes the part that is wrong, and travels on as the context of ours.
        error.args = ()
        raise ConfigurationError("the base URL is not an address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("the base URL must begin with https:// and name a host")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ConfigurationError("the base URL must hold no user, query or fragment, only host and path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            "plain http to another machine would show the token", advice="use https in ALOTECH_BASE_URL"
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path or '/'}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: requests keeps the cause in `args`, urllib3 in `reason` or `args`."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (getattr(current, "reason", None), current.__cause__, *current.args)
        pending += [cause for cause in inner if isinstance(cause, BaseException)]


class _UntilDeadline(io.RawIOBase):
    """A socket's bytes, until a moment. A read timeout alone starts anew with every byte that trickles in."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._read_timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer's deadline has passed")
        self._sock.settimeout(left if self._read_timeout is None else min(left, self._read_timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer without what could not be read of its head: urllib3 would log that word for word."""

    def begin(self) -> None:
        super().begin()
        self.headers.set_payload("")


def _connection_class(base: type[Any], query: threading.local, total_timeout: float) -> type[Any]:
    """`base` with the calling thread's query in its request line and a deadline on each answer."""

    class Connection(base):  # type: ignore[misc]
        # http.client prints request lines to stdout above 0, whoever set it.
        debuglevel = 0

        def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            self._deadline = time.monotonic() + total_timeout
            super().putrequest(method, f"{url}?{query.text}", *args, **kwargs)

        def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
            deadline = getattr(self, "_deadline", time.monotonic() + total_timeout)
            response = _Response(sock, *args, **kwargs)
            response.fp = io.BufferedReader(_UntilDeadline(response.fp.detach(), sock, deadline))
            return response

    return Connection


class _Adapter(HTTPAdapter):
    """The transport of `requests` with our connections in its pools, direct and through a proxy."""

    def __init__(self, query: threading.local, total_timeout: float, connections: int) -> None:
        class Plain(HTTPConnectionPool):
            ConnectionCls = _connection_class(HTTPConnection, query, total_timeout)

        class Secure(HTTPSConnectionPool):
            ConnectionCls = _connection_class(HTTPSConnection, query, total_timeout)

        self._pools = {"http": Plain, "https": Secure}
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
