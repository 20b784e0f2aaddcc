"""Fetching: which calls are asked for, many fetches at once, and their pages stored as they come.

As many requests are in flight as the vendor allows, and a few fetches wait in memory. How the API is spoken to is
`alotech`; typing what was stored is `loading`.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
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
from cdr_assets.domain.hours import HOUR, Hour, runs_twice
from cdr_assets.domain.schema import CDR_PAGES
from cdr_assets.domain.settings import Settings
from cdr_assets.transforms import compress
from cdr_assets.warehouse import Warehouse, add_failed_fetches, claim, replace_pages

# Fetches are handed over together, so that the warehouse is opened seldom; bounded, so that a long run needs no more
# memory than a short one, and a run that dies has lost little.
_HAND_OVER_BYTES = 16_000_000
_HAND_OVER_SECONDS = 2.0

# What is wrong for one fetch with these is wrong for all: trying the others would only trouble the vendor.
_FATAL = (TokenRejectedError, UnknownHostError, TlsError, WrongAddressError)


@dataclass(frozen=True)
class Alotech:
    """Makes clients. The token is read when a client is made, so that definitions load without one."""

    settings: Settings = field(repr=False)

    def client(self) -> AlotechClient:
        """A client of the configured tenant. Raises SettingsError when no tenant or token is set."""
        return AlotechClient(
            self.settings.base_url,
            self.settings.token,
            max_concurrency=self.settings.alotech_max_concurrency,
            requests_per_second=self.settings.alotech_requests_per_second,
            limits_dir=self.settings.cdr_data_dir / "limits",
        )


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


def fetch_of(hour: Hour) -> Fetch:
    """The fetch of a whole hour. Of the two partitions of a repeated hour, both of the same window, one is enough."""
    return Fetch(hour.start, hour, Window(hour.asked_from, hour.finish), in_slices=not hour.is_repeated)


def fetch_from(start: dt.datetime, length: dt.timedelta, zone: ZoneInfo) -> Fetch:
    """The fetch of a span of the wall clock, of whole hours, that is no partition."""
    hours = (start + n * HOUR for n in range(length // HOUR + 1))
    in_slices = not any(runs_twice(hour, zone) for hour in hours)
    return Fetch(start, window=Window(start, start + length), in_slices=in_slices)


def fetch_and_store(
    alotech: Alotech,
    warehouse: Warehouse,
    holder: str,
    run_id: str,
    fetches: Iterable[Fetch],
    filters: Filters,
    narrowed_by: str | None,
    failed: dict[Fetch, str],
    log_error: Callable[[str], object],
    sorting: str = "asc",
) -> Iterator[dict[Fetch, list[Page]]]:
    """Stores the pages of all fetches, a portion at a time, and yields each portion once it is stored.

    A fetch that fails is put into `failed` with its reason and told to `log_error` at once, since the others may take
    hours yet; those of hours are noted in cdr.loads too. `narrowed_by` says what leaves calls out; None: nothing does.
    Raises WarehouseError if the warehouse holds another tenant's calls.
    """

    def fail(fetch: Fetch, reason: str) -> None:
        failed[fetch] = reason
        log_error(f"{fetch} failed: {reason}")

    with warehouse.connect(holder) as connection:
        claim(connection, alotech.settings.source, warehouse.path)
    at_once = alotech.settings.alotech_max_concurrency
    with alotech.client() as client:
        for fetched in fetch_all(client, fetches, filters, fail, at_once=at_once, sorting=sorting):
            with warehouse.connect(holder) as connection:
                replace_pages(connection, pages_frame(fetched, filters.arrays(), narrowed_by, run_id))
            yield fetched
    errors = {fetch.partition_hour: reason for fetch, reason in failed.items() if fetch.partition_hour}
    if errors:
        with warehouse.connect(holder) as connection:
            add_failed_fetches(connection, errors, run_id, narrowed_by)


def fetch_all(
    client: AlotechClient,
    fetches: Iterable[Fetch],
    filters: Filters,
    fail: Callable[[Fetch, str], object],
    *,
    at_once: int,
    sorting: str = "asc",
) -> Iterator[dict[Fetch, list[Page]]]:
    """The pages of all fetches in portions, in the order in which they come. `fail` is told of one that fails, and why,
    while the others go on.

    Closes the client when the caller stops early, so that a cancelled run ends soon.
    """
    threads = ThreadPoolExecutor(max_workers=at_once)

    def begin(fetch: Fetch) -> Future[list[Page]]:
        return threads.submit(_fetch, client, fetch, filters, sorting)

    try:
        yield from _portions(iter(fetches), begin, fail, at_once)
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        client.close()
        raise
    finally:
        threads.shutdown()


def _fetch(client: AlotechClient, fetch: Fetch, filters: Filters, sorting: str) -> list[Page]:
    if fetch.key:
        name, key = fetch.key
        return client.fetch_call(**{name: key}, filters=filters)
    assert fetch.window is not None
    return client.fetch_window(fetch.window, filters, sorting, in_slices=fetch.in_slices)


def _portions(
    waiting: Iterator[Fetch],
    begin: Callable[[Fetch], Future[list[Page]]],
    fail: Callable[[Fetch, str], object],
    at_once: int,
) -> Iterator[dict[Fetch, list[Page]]]:
    under_way: dict[Future[list[Page]], Fetch] = {}

    def submit(count: int) -> None:
        under_way.update({begin(fetch): fetch for fetch in islice(waiting, count)})

    # A few more than are fetched at once, so that the threads go on while a portion is written. Not all of them, since
    # what is done waits in memory until it is handed over.
    submit(3 * at_once)
    portion: dict[Fetch, list[Page]] = {}
    size, handed_over_at = 0, time.monotonic()
    while under_way:
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            fetch = under_way.pop(future)
            try:
                portion[fetch] = future.result()
                size += sum(len(page.body) for page in portion[fetch])
            except AlotechError as error:
                fail(fetch, f"{error.met}; {error.advice}")
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


def _give_up(under_way: dict[Future[list[Page]], Fetch], waiting: Iterable[Fetch]) -> list[Fetch]:
    """Drops the fetches that have not begun, and returns them; those that have are waited for."""
    dropped = [future for future in under_way if future.cancel()]
    return [*(under_way.pop(future) for future in dropped), *waiting]


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
