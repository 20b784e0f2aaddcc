"""One HTTP request to AloTech: connections, deadlines, network failures as errors, and the app token's only home.

What the body of an answer says is in `answer.py`; pages, chains, retries and limits are in `client.py`, `chain.py`
and `limits.py`. The settings of the project are not here: `AlotechClient` is given the address and the token.

The client is `requests`: its adapter finds the proxy and the certificates, and makes the pool of connections. Requests
go straight to that pool, because we keep no cookies and follow no redirects. Its connections differ in two ways. The
token travels in the query, which is added where the request line is written to the socket, so that no address that
urllib3 logs or quotes in an error can hold it. And an answer has one deadline for all of its bytes, which `requests`
does not offer.
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
from functools import lru_cache
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3 import Retry, Timeout
from urllib3.exceptions import DecodeError, HTTPError, LocationValueError, ProxyError

from cdr_assets.domain.redaction import redactors

from .errors import AlotechError, ConfigurationError, MalformedAnswerError, TlsError, UnknownHostError, UnreachableError

#: No page of 100 calls is this large; a body without end must not fill the memory.
_LARGEST_BODY = 64 << 20
_IDLE_CONNECTIONS = 64
#: `client.py` tries again and counts the tries.
_NO_RETRIES = Retry(0, read=False)
_HEADERS = {"User-Agent": "cdr-assets", "Accept": "application/json", "Accept-Encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer; `seconds` is what the request took, a new connection included, to the last byte."""

    status: int
    headers: Mapping[str, str]
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
        self.base_url = _checked(base_url)
        self.host = urlsplit(self.base_url).netloc
        if not token.strip():
            raise ConfigurationError("there is no app token", advice="set ALOTECH_APP_TOKEN")
        self.redact, self.redact_body = redactors([token])
        # All parameters but the cursor are the same for each page of a chain.
        quoted = lru_cache(maxsize=256)(quote_plus)
        # A closure, as the redactors are: no `vars` of this object shows the token.
        self._query: Callable[[Mapping[str, str]], str] = lambda parameters: urlencode(
            {**parameters, "app_token": token}, quote_via=quoted
        )
        self._timeouts, self._total_timeout = Timeout(connect=connect_timeout, read=read_timeout), total_timeout
        # The request that each thread has under way.
        self._current = threading.local()
        try:
            request = requests.Request("GET", self.base_url, headers=_HEADERS).prepare()
        except (requests.RequestException, ValueError):
            raise ConfigurationError(f"{self.base_url} is not an address") from None
        # Plain http goes to this machine only. No proxy there: it would be a detour, and would see the token.
        proxies, certificates = _environment(self.base_url) if self.base_url.startswith("https:") else ({}, "")
        # `requests` would ask its adapter for the pool at each request.
        adapter = HTTPAdapter(pool_maxsize=_IDLE_CONNECTIONS)
        try:
            pool: Any = adapter.get_connection_with_tls_context(request, certificates, proxies)
        except (requests.RequestException, ValueError):
            raise ConfigurationError(
                "the proxy of the environment cannot be used",
                advice="correct HTTPS_PROXY (with http:// before a user's name; socks needs the package pysocks)",
            ) from None
        pool.ConnectionCls = _connection_class(pool.ConnectionCls, self._current)
        self._pool, self._path, self._has_proxy = pool, request.path_url, bool(adapter.proxy_manager)

    def get(self, parameters: Mapping[str, str]) -> Reply:
        """Sends one request and reads the whole answer, whatever its status; follows no redirect.

        Raises UnreachableError and its kinds, or MalformedAnswerError for a body that is too long or whose
        compression is broken.
        """
        started, current = time.monotonic(), self._current
        current.query, current.deadline = self._query(parameters), started + self._total_timeout
        current.is_connecting = False
        try:
            response = self._pool.urlopen(
                "GET",
                self._path,
                headers=_HEADERS,
                retries=_NO_RETRIES,
                redirect=False,
                timeout=self._timeouts,
                preload_content=False,
            )
            try:
                body = response.read(_LARGEST_BODY + 1)
                if len(body) > _LARGEST_BODY:
                    raise _too_long()
            finally:
                # Closes the connection, unless the answer was read to its end.
                response.close()
                response.release_conn()
            return Reply(response.status, response.headers, body, time.monotonic() - started)
        except AlotechError as error:
            failure = error
        except (HTTPError, OSError, ValueError) as error:
            failure = self._failure(error)
        finally:
            current.query = ""
        # Not raised above: as its context, the library's error would keep frames that may hold the token.
        raise failure

    def close(self) -> None:
        self._pool.close()

    def _failure(self, error: BaseException) -> AlotechError:
        """The failure in our words; none of the library's text is used, since it may quote the server."""
        causes = list(_causes(error))

        def met(*kinds: type[BaseException]) -> bool:
            return any(isinstance(cause, kinds) for cause in causes)

        connecting = self._current.is_connecting
        proxied = connecting and self._has_proxy
        there = "the proxy of the environment" if proxied else self.host
        advice = "check HTTPS_PROXY and NO_PROXY" if proxied else None
        if met(DecodeError):
            return MalformedAnswerError("the answer's compression is broken")
        if met(LocationValueError):
            return UnknownHostError(f"{there} cannot be the name of a host", advice=advice)
        if met(socket.gaierror):
            passing = any(isinstance(c, socket.gaierror) and c.errno == socket.EAI_AGAIN for c in causes)
            return UnknownHostError(f"the name of {there} is not known", retryable=passing, advice=advice)
        if met(ssl.SSLError) and not met(ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # Through a proxy there may be TLS with both: urllib3 says so if it is the proxy's that failed.
            at = there if met(ProxyError) else self.host
            if met(ssl.SSLCertVerificationError):
                return TlsError(f"the certificate of {at} is not trusted")
            return TlsError(f"{at} does not accept our TLS, or speaks none")
        if met(ConnectionRefusedError):
            return UnreachableError(f"{there} refuses the connection", advice=advice)
        if proxied:
            return UnreachableError(f"{there} did not let the request through", advice=advice)
        if connecting:
            return UnreachableError(f"no connection to {there} within {self._timeouts.connect_timeout:g} s")
        if met(TimeoutError):
            waited = f"{self._timeouts.read_timeout:g} s without a byte, or {self._total_timeout:g} s in all"
            return UnreachableError(f"the answer of {there} did not come in time ({waited})")
        return UnreachableError(f"the connection to {there} broke before the answer was complete")


def _checked(base_url: str) -> str:
    """The endpoint as it may be used. The text of a wrong one is not repeated: it may hold a secret."""
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        # It quotes the part that is wrong, and stays with our error as its context.
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


def _environment(url: str) -> tuple[dict[str, str], str]:
    """The proxies for an address, and the file or folder of certificates to trust."""
    with requests.Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    bundle = found["verify"]
    if isinstance(bundle, str) and not Path(bundle).is_dir():
        try:
            # Tried here, where the error can name the file: `requests` reads it for each new connection.
            ssl.create_default_context(cafile=bundle)
        except OSError:
            raise ConfigurationError(
                f"no certificates can be read from {bundle}", advice="correct REQUESTS_CA_BUNDLE, or remove it"
            ) from None
    return dict(found["proxies"]), bundle if isinstance(bundle, str) else DEFAULT_CA_BUNDLE_PATH


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: requests keeps the cause in `args`, urllib3 in `reason` or `args`."""
    yield error
    for inner in (error.__cause__, getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _connection_class(base: type[Any], current: threading.local) -> type[Any]:
    """`base` with the query of the thread's current request in its request line, and a deadline on each answer."""

    class Connection(base):  # type: ignore[misc]
        # Above 0, http.client prints each request to stdout; a program may have set that for all connections.
        debuglevel = 0

        def connect(self) -> None:
            current.is_connecting = True
            super().connect()
            current.is_connecting = False

        def putrequest(self, method: str, url: str, *args: Any, **how: Any) -> None:
            super().putrequest(method, f"{url}?{current.query}", *args, **how)

        # The one hook by which http.client reads the status line, the headers and a proxy's answer in another way.
        def response_class(self, sock: socket.socket, *args: Any, **how: Any) -> HTTPResponse:
            response = _Response(sock, *args, **how)
            response.fp = io.BufferedReader(_Bounded(response.fp.detach(), sock, current.deadline))
            return response

    return Connection


class _Response(HTTPResponse):
    """An answer without the part of its head that cannot be read: urllib3 would log it word for word."""

    def begin(self) -> None:
        super().begin()
        self.headers.set_payload("")


class _Bounded(io.RawIOBase):
    """A socket's bytes until a deadline, and not endlessly many.

    A read timeout alone begins again with every byte, so that a trickle would never end. A chunk of a negative
    length makes http.client read to the connection's end, whatever it was told to read at most.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._timeout = sock.gettimeout()
        # Twice, since headers and the lengths of chunks come over the socket too.
        self._bytes_left = 2 * _LARGEST_BODY

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
        count: int = self._raw.readinto(buffer) or 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _too_long()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _too_long() -> MalformedAnswerError:
    return MalformedAnswerError(f"the answer is longer than {_LARGEST_BODY >> 20} MB", retryable=False)
