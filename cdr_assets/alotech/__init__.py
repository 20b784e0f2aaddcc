"""The vendor's API: a window of time goes in, and all pages of AloTech's `reportsCDRLogs` for it come out.

Requests, chains of pages, retries, limits and errors belong here. Not here: the settings (the caller passes the
address and the token), the tables that pages are stored in, and the meaning of a call's fields, which
`transforms/` knows. A page leaves this folder as it was received, except that the token is cut out.
"""

from .answer import records_of
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
from .models import PAGE_SIZE, Filters, Page, Window, call_with

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
    "call_with",
    "records_of",
]
