"""The client: fetches whole windows and single calls of `reportsCDRLogs`.

Parameters, retries and slices that are read side by side belong here. One HTTP request is in `wire.py`, what an
answer says in `answer.py`, where a chain of pages ends in `chain.py`, how fast we may ask in `limits.py`. Nothing
here knows Dagster, tables or partitions.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Self, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from .answer import read_answer, read_object
from .chain import Budget, Chain, Fetched
from .errors import AlotechError, ClientClosedError
from .limits import Limits
from .models import Filters, Page, Window, call_with
from .wire import Reply, Wire

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
_NO_FILTERS = Filters()
_backoff = wait_exponential_jitter(multiplier=0.5, max=30, jitter=1)

# The vendor demands dates even in a request for a single call by its key: a span that holds every call.
_ANY_TIME = Window(datetime(2000, 1, 1), datetime(2100, 1, 1))

# Slicing throws the first pages away and reads their calls again. That pays off if many more pages follow, and if
# the time goes into waiting for the network and not into work of our own.
_PROBE_PAGES = 2
_BUSY_PAGES = 50
_PAGES_PER_SLICE = 10
_SLOW_PAGE = 0.02


class AlotechClient:
    """Reads call detail records of one tenant. Threads may share a client, and then share its limits too.

    `base_url` is the whole endpoint; plain http is accepted for loopback only. At most `max_concurrency` requests
    are in flight and `requests_per_second` are started; 0 means no limit. With `limits_dir`, all processes that use
    the same folder share these limits. Timeouts are in seconds: for a connection, for a wait without a byte, for a
    whole answer. `max_attempts` bounds the requests for one page, `max_pages` the pages of one chain. `sleep`
    replaces the pauses between attempts and requests.

    Raises ConfigurationError for whatever is wrong before any request.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        max_concurrency: int = 4,
        requests_per_second: float = 10.0,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        total_timeout: float = 180.0,
        max_attempts: int = 5,
        max_pages: int = 2000,
        limits_dir: Path | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._closed = threading.Event()
        self._sleep = sleep or self._pause
        self._wire = Wire(
            base_url,
            token,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
        )
        self._limits = Limits(max_concurrency, requests_per_second, limits_dir, self._sleep)
        self._max_concurrency = max_concurrency
        self._requests_per_second = requests_per_second
        self._max_attempts = max_attempts
        self._max_pages = max_pages

    def __repr__(self) -> str:
        return f"AlotechClient({self._wire.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the pauses and retries of all threads and closes idle connections; a request under way may finish."""
        self._closed.set()
        self._wire.close()

    def fetch_window(
        self,
        window: Window,
        filters: Filters = _NO_FILTERS,
        sorting: str = "asc",
        *,
        in_slices: bool = True,
    ) -> list[Page]:
        """All pages with the calls whose `calldate` is in the window: all of them or an error, never a part.

        The server is asked from one second before the window to its finish, so that no call is lost whether its
        bounds are inclusive or exclusive. So pages may also hold calls of the neighbouring windows.

        If many pages come slowly, the window is read in slices side by side, each a chain of its own; and a chain
        whose cursor is refused goes on as a slice from the second of the last call. Of each page, only the calls
        between its own `window_start` and `window_finish` count. `in_slices=False` forbids slices. It is for a window
        whose wall clock runs twice: the server may read a slice of a repeated hour as one of the two hours only.
        """
        if sorting not in ("asc", "desc"):
            raise ValueError(f"sorting is asc or desc, not {sorting!r}")
        in_slices = in_slices and sorting == "asc"
        chain = self._chain(window, filters, sorting, Budget(), in_slices=in_slices)
        if in_slices and self._max_concurrency != 1:
            chain.fetch(at_most=_PROBE_PAGES)
            parallel, slices = self._slices(window, chain)
            if slices:
                _log.info("%s: reading %d slices, %d at a time", window, len(slices), parallel)
                pages = self._fetch_slices(slices, filters, parallel)
                # The requests of the thrown-away pages are counted with the first page.
                pages[0] = replace(pages[0], attempts=pages[0].attempts + chain.requests)
                return pages
        return chain.fetch()

    def fetch_call(
        self,
        *,
        callkey: str | None = None,
        activecallkey: str | None = None,
        uniqueid: str | None = None,
        filters: Filters = _NO_FILTERS,
    ) -> list[Page]:
        """The pages for a single call, by exactly one of its keys; of the filters, only `include_…` count.

        For an unknown call this is a page without records. Raises ValueError for no key, two keys or a blank one.
        """
        keys = {"callkey": callkey, "activecallkey": activecallkey, "uniqueid": uniqueid}
        given = {name: key for name, key in keys.items() if key is not None}
        if len(given) != 1 or not all(key.strip() for key in given.values()):
            raise ValueError("a call is asked for by one of callkey, activecallkey and uniqueid")
        [(name, key)] = given.items()
        subject = call_with(name, " ".join(self._wire.redact(key).split()))
        parameters = _parameters(_ANY_TIME, filters, "asc") | given
        return Chain(self._send, parameters, subject, None, max_pages=self._max_pages, budget=Budget()).fetch()

    def ping(self) -> datetime | None:
        """One request that shows whether the tenant answers and accepts the token; raises an AlotechError if not.

        Returns the server's time (aware UTC), None if it does not tell it.
        """

        def read(reply: Reply) -> datetime | None:
            read_object(reply, self._wire.redact)
            with suppress(TypeError, ValueError):
                return parsedate_to_datetime(reply.headers.get("Date", "")).astimezone(UTC)
            return None

        told, _ = self._attempt({"function": "ping"}, "ping", read, tries=1)
        return told

    def _chain(
        self,
        window: Window,
        filters: Filters,
        sorting: str,
        budget: Budget,
        *,
        in_slices: bool,
        stop: threading.Event | None = None,
    ) -> Chain:
        def send(parameters: Mapping[str, str], where: str) -> Fetched:
            if stop is not None and stop.is_set():
                raise ClientClosedError("another slice of the window failed")
            return self._send(parameters, where)

        return Chain(
            send,
            _parameters(window, filters, sorting),
            str(window),
            window,
            max_pages=self._max_pages,
            budget=budget,
            rest=(lambda rest: _parameters(rest, filters, sorting)) if in_slices else None,
        )

    def _send(self, parameters: Mapping[str, str], where: str) -> Fetched:
        def read(reply: Reply) -> Fetched:
            answer = read_answer(reply, self._wire.redact)
            return Fetched(self._wire.redact_body(reply.body), answer, 0, reply.seconds)

        fetched, attempts = self._attempt(parameters, where, read, tries=self._max_attempts)
        return replace(fetched, attempts=attempts)

    def _attempt(
        self, parameters: Mapping[str, str], where: str, read: Callable[[Reply], _T], *, tries: int
    ) -> tuple[_T, int]:
        """Sends a request until it succeeds, fails for good or was tried `tries` times; also returns the tries."""
        attempts = 0

        def once() -> _T:
            nonlocal attempts
            self._check_open()
            with self._limits.request():
                attempts += 1
                reply = self._wire.get(parameters)
            return read(reply)

        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, AlotechError) and error.retryable),
            stop=stop_after_attempt(tries),
            wait=_patience,
            sleep=self._sleep,
            before_sleep=lambda state: _log.warning(
                "%s: %s; trying again in %.1f s", where, _met(state), state.upcoming_sleep
            ),
            reraise=True,
        )
        try:
            return retrying(once), attempts
        except AlotechError as error:
            error.where, error.attempts = where, attempts
            # The error behind this one is dropped: it may quote the server, or hold the whole body.
            error.__context__ = None
            raise

    def _slices(self, window: Window, probe: Chain) -> tuple[int, list[Window]]:
        """How many chains to read at a time, and the slices; no slices where one chain is as fast.

        The number of pages is estimated from how far the first pages reach. A wrong estimate costs only time,
        because the slices cover the whole window in any case.
        """
        fetched = probe.last
        if probe.ended or fetched is None or fetched.seconds < _SLOW_PAGE:
            return 0, []
        reached = _read_date(fetched.answer.last_calldate)
        if reached is None or not window.start <= reached < window.finish:
            return 0, []
        # All calls of the first pages may be of the first second: not 0, which is divided by below.
        reached = max(reached, window.start + timedelta(seconds=1))
        parallel = self._max_concurrency
        if self._requests_per_second:
            # One chain starts a request every `seconds`: more chains help until the rate limit is reached.
            parallel = min(parallel, math.ceil(fetched.seconds * self._requests_per_second))
        length = window.finish - window.start
        pages = int(len(probe.pages) * (length / (reached - window.start)))
        if parallel < 2 or pages < _BUSY_PAGES:
            return 0, []
        # More slices than chains, so that no chain is left alone with the busiest part of the window.
        seconds = int(length.total_seconds())
        count = min(4 * parallel, pages // _PAGES_PER_SLICE, seconds)
        cuts = [window.start + timedelta(seconds=seconds * n // count) for n in range(count + 1)]
        return parallel, [Window(start, finish) for start, finish in itertools.pairwise(cuts)]

    def _fetch_slices(self, slices: list[Window], filters: Filters, parallel: int) -> list[Page]:
        stop, budget = threading.Event(), Budget()
        with ThreadPoolExecutor(parallel, thread_name_prefix="alotech") as pool:
            chains = [self._chain(piece, filters, "asc", budget, in_slices=True, stop=stop) for piece in slices]
            futures = [pool.submit(chain.fetch) for chain in chains]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            finally:
                # Chains must not go on after the wait ended, whatever ended it, Ctrl-C included.
                stop.set()
                for future in futures:
                    future.cancel()
        return [page for future in futures for page in future.result()]

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientClosedError("the client was closed")

    def _pause(self, seconds: float) -> None:
        # Not time.sleep: closing the client must end even a pause of a minute at once.
        if self._closed.wait(seconds):
            self._check_open()


def _parameters(window: Window, filters: Filters, sorting: str) -> dict[str, str]:
    return {
        "function": "reportsCDRLogs",
        "startdate": (window.start - timedelta(seconds=1)).strftime(_DATE_FORMAT),
        "finishdate": window.finish.strftime(_DATE_FORMAT),
        "sorting": sorting,
        **filters.parameters(),
    }


def _met(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return error.met if isinstance(error, AlotechError) else ""


def _patience(state: RetryCallState) -> float:
    """The pause before the next try: exponential with jitter; at least what the server asked for (`answer` caps it)."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, AlotechError) else None
    return max(asked or 0.0, _backoff(state))


def _read_date(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text[:19]).replace(tzinfo=None) if text else None
    except ValueError:
        return None
