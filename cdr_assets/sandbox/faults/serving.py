"""Serves a page with faults: makes the page without faults first, then lets each fault change it.

The faults are in the other modules here, the page without faults is made in `api`.
"""

from collections.abc import Sequence
from dataclasses import replace

from cdr_assets.sandbox.answer import Answer
from cdr_assets.sandbox.api import Rules, page_of
from cdr_assets.sandbox.calls import Source
from cdr_assets.sandbox.faults.base import Exchange, Fault, Listing


def serve(faults: Sequence[Fault], source: Source, exchange: Exchange, rules: Rules, signature: bytes) -> Answer:
    """The answer to a `reportsCDRLogs` request with a good token. Raises RefusedError."""
    # Unwrap the cursor in the reverse order, because the last fault wrapped it last.
    for fault in reversed(faults):
        fault.asked(exchange)
    room = sum(fault.room for fault in faults)
    page = page_of(source, exchange.parameters, replace(rules, page_size=max(1, rules.page_size - room)))
    exchange.page = Listing(list(page.calls), page.records(), page.cursor, page.has_cursor, page.first, page.last)

    changing = [fault for fault in faults if not fault.replaces_answer and fault.hits(exchange)]
    for fault in changing:
        fault.change(exchange)
    exchange.answer = Answer(exchange.page.render(signature))
    for fault in sorted(changing, key=lambda fault: fault.compresses):
        fault.deliver(exchange)
    instead = next((fault for fault in faults if fault.replaces_answer and fault.hits(exchange)), None)
    if instead is not None:
        instead.deliver(exchange)
    return exchange.answer
