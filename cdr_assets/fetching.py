"""What is fetched, and many fetches at once: as many as the vendor allows, with memory for a few of them.

Knows the API and the hours, and neither Dagster's runs nor the warehouse.
"""

import datetime as dt
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from cdr_assets.alotech import (
    AlotechClient,
    AlotechError,
    Filters,
    Page,
    TlsError,
    TokenRejectedError,
    UnknownHostError,
    Window,
    WrongAddressError,
)
from cdr_assets.partitions import HOUR, Hour, runs_twice
from cdr_assets.schema import CDR_PAGES
from cdr_assets.transforms import compress

_K = TypeVar("_K", bound=Hashable)

# Fetches are handed over together, so that the warehouse is opened seldom; bounded, so that a long run needs no more
# memory than a short one, and a run that dies has lost little.
_HAND_OVER_BYTES = 16_000_000
_HAND_OVER_SECONDS = 2.0

# What is wrong for one fetch with these is wrong for all: trying the others would only trouble the vendor.
_FATAL = (TokenRejectedError, UnknownHostError, TlsError, WrongAddressError)


@dataclass(frozen=True)
class Fetch:
    """One fetch of a run: an hour (`hour`), a day of the last days, or the calls of a key.

    `partition_hour` is where its pages are kept; None for a key, whose pages are kept with the calls that they hold.
    `in_slices` allows to ask for parts of the window. Not where the clock runs twice: a server that reads wall-clock
    times as instants may take a part of a repeated hour for one of its two passes alone.
    """

    partition_hour: dt.datetime | None
    hour: Hour | None = None
    window: Window | None = None
    key: tuple[str, str] | None = None
    in_slices: bool = True

    def __str__(self) -> str:
        if self.key:
            return f"call with {self.key[0]} {self.key[1]}"
        return str(self.hour or self.window)

    def __call__(self, client: AlotechClient, filters: Filters, sorting: str) -> list[Page]:
        if self.key:
            return client.fetch_call(**{self.key[0]: self.key[1]}, filters=filters)
        assert self.window is not None
        return client.fetch_window(self.window, filters, sorting, in_slices=self.in_slices)


def fetch_of(hour: Hour) -> Fetch:
    """The fetch of a whole hour. Of the two partitions of a repeated hour, both of the same window, one is enough."""
    return Fetch(hour.start, hour, Window(hour.asked_from, hour.finish), in_slices=not hour.is_repeated)


def fetch_from(start: dt.datetime, length: dt.timedelta, zone: ZoneInfo) -> Fetch:
    """The fetch of a span of the wall clock, of whole hours, that is no partition."""
    hours = (start + n * HOUR for n in range(length // HOUR + 1))
    in_slices = not any(runs_twice(hour, zone) for hour in hours)
    return Fetch(start, window=Window(start, start + length), in_slices=in_slices)


def fetch_all(
    client: AlotechClient,
    asked: Mapping[_K, Callable[[AlotechClient], list[Page]]],
    fail: Callable[[_K, str], object],
    *,
    at_once: int,
) -> Iterator[dict[_K, list[Page]]]:
    """The pages of all fetches in portions, in the order in which they come. `fail` is told of one that fails, and why,
    while the others go on.

    Closes the client when the caller stops early, so that a cancelled run ends soon.
    """
    threads = ThreadPoolExecutor(max_workers=at_once)
    try:
        yield from _portions(client, threads, asked, fail, at_once)
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        client.close()
        raise
    finally:
        threads.shutdown()


def _portions(
    client: AlotechClient,
    threads: ThreadPoolExecutor,
    asked: Mapping[_K, Callable[[AlotechClient], list[Page]]],
    fail: Callable[[_K, str], object],
    at_once: int,
) -> Iterator[dict[_K, list[Page]]]:
    waiting = iter(asked.items())
    under_way: dict[Future[list[Page]], _K] = {}

    def submit(count: int) -> None:
        under_way.update({threads.submit(fetch, client): name for name, fetch in islice(waiting, count)})

    # A few more than are fetched at once, for the threads to go on while a portion is written; not all of them, since
    # what is done waits in memory until it is handed over.
    submit(3 * at_once)
    portion: dict[_K, list[Page]] = {}
    size, handed_over_at = 0, time.monotonic()
    while under_way:
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            name = under_way.pop(future)
            try:
                portion[name] = future.result()
                size += sum(len(page.body) for page in portion[name])
            except AlotechError as error:
                fail(name, f"{error.met}; {error.advice}")
                if isinstance(error, _FATAL):
                    for dropped in _give_up(under_way, waiting):
                        fail(dropped, "not tried after this")
            submit(1)
        if size >= _HAND_OVER_BYTES or time.monotonic() - handed_over_at >= _HAND_OVER_SECONDS:
            yield portion
            portion = {}
            size, handed_over_at = 0, time.monotonic()
    if portion:
        yield portion


def _give_up(
    under_way: dict[Future[list[Page]], _K], waiting: Iterable[tuple[_K, Callable[[AlotechClient], list[Page]]]]
) -> list[_K]:
    """Drops what has not begun, and names it; what has is waited for."""
    dropped = [future for future in under_way if future.cancel()]
    return [*(under_way.pop(future) for future in dropped), *(name for name, _ in waiting)]


def pages_frame(
    fetched: Mapping[Fetch, Sequence[Page]],
    arrays: Sequence[str],
    narrowed_by: str | None = None,
    run_id: str | None = None,
) -> pl.DataFrame:
    """The pages with the columns of raw.cdr_pages. Those of a call's key are kept in the hour of the call."""
    pages = [
        (
            fetch.partition_hour or _hour_of_call(body),
            narrowed_by,
            ",".join(arrays),
            page.number,
            max(page.window_start, fetch.partition_hour) if page.window_start and fetch.partition_hour else None,
            page.window_finish,
            page.record_count,
            page.attempts,
            page.fetched_at,
            page.content_hash,
            len(body),
            compress(body),
            run_id,
        )
        for fetch, pages_of_fetch in fetched.items()
        for page in pages_of_fetch
        for body in [page.body if page.charset == "utf-8" else page.body.decode(page.charset).encode()]
    ]
    return pl.DataFrame(pages, schema=CDR_PAGES.polars_schema, orient="row")


def _hour_of_call(body: bytes) -> dt.datetime | None:
    """The hour of the first call in the body; None where it does not say it as usual."""
    try:
        calldate = dt.datetime.fromisoformat(msgspec.json.decode(body)["CallList"][0]["calldate"])
    except (ValueError, TypeError, LookupError):
        return None
    return calldate.replace(minute=0, second=0, microsecond=0, tzinfo=None)
