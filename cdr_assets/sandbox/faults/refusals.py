"""Faults that answer HTTP 200 with `success: false` and a message. Faults with other statuses are in `transport`.

The docstrings of the classes are in docs/faults.md.
"""

import math
from urllib.parse import quote

from cdr_assets.sandbox.answer import Answer
from cdr_assets.sandbox.api import RefusedError, digest
from cdr_assets.sandbox.faults.base import Exchange, Fault


class _Refusal(Fault):
    """Answers `success: false`."""

    replaces_answer = True
    message = ""

    def deliver(self, exchange: Exchange) -> None:
        refusal = Answer.of({"success": False, "message": self.text(exchange)})
        exchange.answer.headers, exchange.answer.body = refusal.headers, refusal.body

    def text(self, exchange: Exchange) -> str:  # noqa: ARG002
        return self.message


class RefusedToken(_Refusal):
    """Always answers that the token is not valid. The client should fail at once, without trying again."""

    message = "app_token is not valid"


class RefusedDate(_Refusal):
    """Always answers that a date has the wrong format. The client should fail at once, without trying again."""

    message = "startdate does not match %Y-%m-%d %H:%M:%S"


class PassingError(_Refusal):
    """Answers `success: false` with a message of no known meaning. The client should try again a few times."""

    passes = True
    message = "An error occurred, please try again later"


class EchoedToken(_Refusal):
    """Always answers `success: false` with a message that holds the token. The client should fail the hour with the
    message, but without the token."""

    def text(self, exchange: Exchange) -> str:
        return f"Request failed: /api/?app_token={quote(exchange.token)} (token {exchange.token})"


class ExpiredCursor(Fault):
    """Refuses the cursors of the first chain over a window (the first `times` chains) as expired, but not those of
    later
    chains. The client should begin the chain again or fail the hour, and never keep only the pages it has."""

    passes = True

    def asked(self, exchange: Exchange) -> None:
        cursor = exchange.parameters.get("cursor")
        if cursor:
            chain, dot, rest = cursor.partition(".")
            numbered = dot and chain.isdecimal()
            # A cursor that another fault made has no number. It never expires.
            exchange.notes[self] = int(chain) if numbered else math.inf
            exchange.parameters["cursor"] = rest if numbered else cursor
        else:
            with self._counting:
                self._hits[digest(exchange.parameters)] += 1
                exchange.notes[self] = self._hits[digest(exchange.parameters)]

    def hits(self, exchange: Exchange) -> bool:  # noqa: ARG002
        return True  # every chain's cursors need its number, also if they are not refused

    def change(self, exchange: Exchange) -> None:
        chain = exchange.notes[self]
        if not exchange.page.first and chain <= self.times and self.is_meant(exchange):
            raise RefusedError("cursor has expired")
        if exchange.page.cursor:
            exchange.page.cursor = f"{chain}.{exchange.page.cursor}"


class ShortLivedCursors(Fault):
    """Refuses the cursors of a chain from its third page on as expired, and for good. The client should go on from the
    second of the last call, without a cursor, or fail the hour."""

    def asked(self, exchange: Exchange) -> None:
        cursor = exchange.parameters.get("cursor", "")
        page, comma, rest = cursor.partition(",")
        numbered = comma and page.isdecimal()
        # A cursor that another fault made has no number. It never expires.
        exchange.notes[self] = int(page) if numbered else 0
        exchange.parameters["cursor"] = rest if numbered else cursor

    def hits(self, exchange: Exchange) -> bool:  # noqa: ARG002
        return True  # every page's cursor needs its number, also if it is not refused

    def change(self, exchange: Exchange) -> None:
        page = exchange.notes[self]
        if page > 1 and self.is_meant(exchange):
            raise RefusedError("cursor has expired")
        if exchange.page.cursor:
            exchange.page.cursor = f"{page + 1},{exchange.page.cursor}"
