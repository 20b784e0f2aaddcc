"""Where requests go: the endpoint's address, the proxy on the way to it, and the certificates that are trusted.

All that is read from the environment about the network belongs here. It opens no connection: `wire.py` does. The
settings of the project are not here either: `AlotechClient` is given the address.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from .errors import ConfigurationError


def endpoint(base_url: str) -> SplitResult:
    """The endpoint as it may be used. The text of a wrong one is not repeated: it may hold a secret."""
    parts = _split(base_url.strip())
    if parts is None:
        raise ConfigurationError("the base URL is not an address")
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("the base URL must begin with https:// and name a host")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ConfigurationError("the base URL must hold no user, query or fragment, only host and path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            "plain http to another machine would show the token", advice="use https in ALOTECH_BASE_URL"
        )
    name = f"[{host}]" if ":" in host else host
    # http.client sends ASCII only, and its error for anything else would hold the token.
    path = quote(parts.path or "/", safe="/%!$&'()*+,:;=@~")
    return SplitResult(parts.scheme, f"{name}:{parts.port}" if parts.port else name, path, "", "")


def proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for this address, if it names one."""
    # Plain http goes to loopback only, where a proxy would be a detour that shows it the token.
    proxies = {} if url.scheme == "http" or proxy_bypass(url.netloc) else getproxies()
    text = proxies.get("https") or proxies.get("all")
    if not text:
        return None
    proxy = _split(text if "://" in text else f"http://{text}")
    if proxy is None or proxy.scheme != "http" or not proxy.hostname:
        raise ConfigurationError(
            "the proxy of the environment is not an address that begins with http://",
            advice="correct HTTPS_PROXY, or name the host of AloTech in NO_PROXY",
        )
    return proxy


def tls_context() -> ssl.SSLContext:
    """Trusts the certificates of the environment, or else those of certifi, as `requests` does."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    try:
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        raise ConfigurationError(
            f"no certificates can be read from {bundle}", advice="correct REQUESTS_CA_BUNDLE, or remove it"
        ) from None


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None instead of a ValueError, which would quote an address that may hold a secret."""
    try:
        parts = urlsplit(address)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
