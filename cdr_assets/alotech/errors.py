"""What can go wrong between us and AloTech, in the operator's words.

Every error prints as one line: which calls were asked for, what was met, what to do now. None of them ever
holds the app token: texts that come from the server pass the redaction of `wire.py` first.
"""

from __future__ import annotations

from cdr_assets.domain.errors import OperatorError


class AlotechError(OperatorError):
    """A request, or a chain of them, that did not end in an answer.

    `met` says what happened, `advice` what to do now, `where` which calls and page were asked for, `attempts`
    how many requests were sent for that page. `retryable` tells whether the same request may succeed later;
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
    """What a terminal would obey, shown as an escape: a server's words end in logs that others print as they are."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ConfigurationError(AlotechError):
    """The address, the token or the folder of limits cannot be used as it is; nothing was sent."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL"


class TokenRejectedError(AlotechError):
    """AloTech plainly does not accept the app token."""

    advice = "set ALOTECH_APP_TOKEN to a valid application token of this tenant"


class ParameterRejectedError(AlotechError):
    """AloTech plainly does not accept a parameter of the request."""

    advice = "correct the filters or the dates of this run"


class RequestRefusedError(AlotechError):
    """`success: false` with a message that is not known to be final."""

    advice = "run it again later; if it stays, ask AloTech what the message means"
    retryable = True


class ServiceUnavailableError(AlotechError):
    """429, 408 or 5xx."""

    advice = "run it again later, with a lower ALOTECH_REQUESTS_PER_SECOND if it is a 429"
    retryable = True


class WrongAddressError(AlotechError):
    """A redirect, a 404 or another status that says the API is not at this address."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL"


class UnreachableError(AlotechError):
    """No connection, or one that broke or stalled before the answer was complete."""

    advice = "check the network and the proxy, then run it again"
    retryable = True


class UnknownHostError(UnreachableError):
    """The host's name does not resolve."""

    advice = "check ALOTECH_TENANT and ALOTECH_BASE_URL, and the machine's name resolution"
    retryable = False


class TlsError(UnreachableError):
    """TLS could not be agreed on, or the certificate is not to be trusted."""

    advice = "check the address; behind an inspecting proxy set REQUESTS_CA_BUNDLE to its certificates"
    retryable = False


class MalformedAnswerError(AlotechError):
    """A body that is not a page of calls: cut off, HTML, another shape."""

    advice = "run it again later; if it stays, show AloTech what came"
    retryable = True


class RepeatedCursorError(AlotechError):
    """A page with calls points at a cursor that was followed before: the chain would go round for ever."""

    advice = "run it again; if it stays, report to AloTech that its cursor does not move on"


class ExpiredCursorError(AlotechError):
    """Cursors are refused before what they lead to has come, however the chain is begun."""

    advice = "run it again later; if it stays, report to AloTech that its cursors expire too soon"


class EndlessChainError(AlotechError):
    """The chain has more pages, or larger ones, than any window plausibly holds."""

    advice = "fetch a shorter window, or report to AloTech that its pages do not end"


class ClientClosedError(AlotechError):
    """The client was closed, or a sibling slice failed, while this chain was still going."""
