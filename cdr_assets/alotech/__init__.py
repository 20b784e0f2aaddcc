"""The vendor's API: one window of AloTech's `reportsCDRLogs` in, whole chains of pages out.

Requests, pages, retries, limits and errors belong here. It reads no setting, writes no table and interprets
no call: pages leave it as they came.
"""

from .client import AlotechClient
from .errors import (
    AlotechError,
    ClientClosedError,
    ConfigurationError,
    EndlessChainError,
    ExpiredCursorError,
    MalformedAnswerError,
    ParameterRejectedError,
    RepeatedCursorError,
    RequestRefusedError,
    ServiceUnavailableError,
    TlsError,
    TokenRejectedError,
    UnknownHostError,
    UnreachableError,
    WrongAddressError,
)
from .models import PAGE_SIZE, Filters, Page, Window

__all__ = [
    "PAGE_SIZE",
    "AlotechClient",
    "AlotechError",
    "ClientClosedError",
    "ConfigurationError",
    "EndlessChainError",
    "ExpiredCursorError",
    "Filters",
    "MalformedAnswerError",
    "Page",
    "ParameterRejectedError",
    "RepeatedCursorError",
    "RequestRefusedError",
    "ServiceUnavailableError",
    "TlsError",
    "TokenRejectedError",
    "UnknownHostError",
    "UnreachableError",
    "Window",
    "WrongAddressError",
]
