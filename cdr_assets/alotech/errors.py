"""What can go wrong between us and AloTech, in the operator's words.

Every error prints as one line: which calls were asked for, what happened, what to do now. No error holds the app
token: `domain/redaction.py` cuts it out of each text of the server first. An error of what happens to the pages later
(storing, reading the fields of a call) does not belong here but to the code that does it.
"""

from __future__ import annotations

from cdr_assets.domain.errors import OperatorError


class AlotechError(OperatorError):
    """A request, or a chain of requests, that failed.

    `met` says what happened, `advice` what to do now, `where` which calls and page were asked for, `attempts` how
    many requests were sent for that page. `retryable` says whether the same request may succeed later;
    `retry_after` is the pause in seconds that the server asked for.
    """

    advice = "run it again"
    retryable = False

    def __init__(
        self,
        met: str,
        *,
        advice: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(met)
        self.met = met
        self.where = ""
        self.attempts = 0
        self.retry_after = retry_after
        if advice is not None:
            self.advice = advice
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        tries = f" ({self.attempts} tries)" if self.attempts > 1 else ""
        return _readable(" ".join(f"{where}{self.met}{tries}; {self.advice}".split()))


def _readable(text: str) -> str:
    """Control characters as escapes: a server's words end up in logs, and a terminal that prints them would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ConfigurationError(AlotechError):
    """The address, the token or the folder of limits cannot be used as it is; nothing was sent."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL"


class TokenRejectedError(AlotechError):
    """AloTech says clearly that it does not accept the app token."""

    advice = "set ALOTECH_APP_TOKEN to a valid application token of this tenant"


class ParameterRejectedError(AlotechError):
    """AloTech says clearly that it does not accept a parameter of the request."""

    advice = "correct the filters or the dates of this run"


class RequestRefusedError(AlotechError):
    """`success: false` with a message that does not say that a retry is useless."""

    advice = "run it again later; if it stays, ask AloTech what the message means"
    retryable = True


class ServiceUnavailableError(AlotechError):
    """HTTP 408, 425, 429 or 5xx."""

    advice = "run it again later, with a lower ALOTECH_REQUESTS_PER_SECOND if it is a 429"
    retryable = True


class WrongAddressError(AlotechError):
    """A redirect, a 404 or another status which says that the API is not at this address."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL"


class UnreachableError(AlotechError):
    """There was no connection, or it broke or stalled before the answer was complete."""

    advice = "check the network and the proxy, then run it again"
    retryable = True


class UnknownHostError(UnreachableError):
    """The name of the host is not known."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL, and the machine's name resolution"
    retryable = False


class TlsError(UnreachableError):
    """The TLS handshake failed, or the certificate is not trusted."""

    advice = "check the address; behind an inspecting proxy set REQUESTS_CA_BUNDLE to its certificates"
    retryable = False


class MalformedAnswerError(AlotechError):
    """The body is not a page of calls: it is cut off, HTML, too long or of another shape."""

    advice = "run it again later; if it stays, show AloTech what came"
    retryable = True


class RepeatedCursorError(AlotechError):
    """A page with calls has a cursor that was followed before: the chain would go round for ever."""

    advice = "run it again; if it stays, report to AloTech that its cursor does not move on"


class ExpiredCursorError(AlotechError):
    """Cursors are refused again and again, and no attempt to go on or to begin anew brings new calls."""

    advice = "run it again later; if it stays, report to AloTech that its cursors expire too soon"


class EndlessChainError(AlotechError):
    """The chain has more pages, or larger ones, than a window can plausibly have."""

    advice = "fetch a shorter window, or report to AloTech that its pages do not end"


class ClientClosedError(AlotechError):
    """The client was closed, or another slice of the window failed, while this chain was still being read."""
