"""Fetches the pages of many hours at once, and stores them while others are still being fetched.

The number of requests in flight and the memory for finished fetches are limited. The API's protocol is in `alotech`;
typing the stored pages is in `loading`.
"""

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
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
    call_with,
)
from cdr_assets.domain.hours import HOUR, Hour, runs_twice
from cdr_assets.domain.schema import CDR_PAGES
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.spelling import spell_numbers
from cdr_assets.ingest.suppression import read_forgotten
from cdr_assets.transforms import Forgotten, blank_bodies, compress
from cdr_assets.warehouse import Warehouse, add_failed_fetches, claim, replace_pages
from cdr_assets.warehouse.retention import loadable_from

# Fetches are stored in portions, so that the warehouse is opened less often. The portions are limited, so that a long
# run needs no more memory than a short one, and a run that dies loses little.
_HAND_OVER_BYTES = 16_000_000
_HAND_OVER_SECONDS = 2.0

NOBODY = Forgotten()

# Errors that every other fetch would meet too, so that the run gives up without trying them.
_FATAL = (TokenRejectedError, UnknownHostError, TlsError, WrongAddressError)
#: The reason of the hours that such a run has not tried.
NOT_TRIED = "not tried after this"


@dataclass(frozen=True)
class Alotech:
    """Makes clients for the API. It reads the token only then, so that Dagster's definitions load without a token."""

    settings: Settings = field(repr=False)

    def client(self) -> AlotechClient:
        """A client for the configured tenant. Raises SettingsError if tenant or token is not set."""
        return AlotechClient(
            self.settings.base_url,
            self.settings.token,
            max_concurrency=self.settings.alotech_max_concurrency,
            requests_per_second=self.settings.alotech_requests_per_second,
            limits_dir=self.settings.cdr_data_dir / "limits",
        )


@dataclass(frozen=True)
class Fetch:
    """One fetch of a run: a partition (`hour`), another span of whole hours (`window`), or the calls of a `key`.

    `partition_hour` is the hour under which its pages are stored; None for a key, whose pages are stored under the hour
    of their call. `in_slices` allows requests for parts of the window. It is false if the window has a repeated hour: a
    server that reads wall-clock times as instants may return only one of the two passes for a part of that hour.
    """

    partition_hour: dt.datetime | None
    hour: Hour | None = None
    window: Window | None = None
    key: tuple[str, str] | None = None
    in_slices: bool = True

    def __str__(self) -> str:
        if self.key:
            return call_with(*self.key)
        return str(self.hour or self.window)


def fetch_of(hour: Hour) -> Fetch:
    """The fetch of a whole hour. For a repeated hour, one fetch is enough: both partitions have the same window."""
    return Fetch(hour.start, hour, Window(hour.asked_from, hour.finish), in_slices=not hour.is_repeated)


def fetch_from(start: dt.datetime, length: dt.timedelta, zone: ZoneInfo) -> Fetch:
    """The fetch of `length` (whole hours) from `start` in the wall clock of `zone`, which need not be a partition."""
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
    """Stores the pages of all fetches in portions, and yields each portion after it is stored.

    If a fetch fails, its reason goes to `failed`, and at once to `log_error`, because the other fetches may take hours.
    Failed hours get a row in cdr.loads at the end. `narrowed_by` has the filters that leave calls out, as JSON; None if
    all calls are requested. Forgotten callers are blanked before anything is stored. Raises WarehouseError if the
    warehouse holds another tenant's calls.
    """

    def fail(fetch: Fetch, reason: str) -> None:
        failed[fetch] = reason
        log_error(f"{fetch} failed: {reason}")

    with warehouse.connect(holder) as connection:
        claim(connection, alotech.settings.source, warehouse.path)
        spell_numbers(connection, alotech.settings, warehouse.log)
        first = loadable_from(connection)
    wanted = []
    for fetch in fetches:
        if first and fetch.partition_hour and fetch.partition_hour < first:
            fail(fetch, f"calls before {first:%Y-%m-%d} are not loaded, because CDR_CALLS_DAYS deleted earlier ones")
        else:
            wanted.append(fetch)
    at_once = alotech.settings.alotech_max_concurrency
    with alotech.client() as client:
        for fetched in fetch_all(client, wanted, filters, fail, at_once=at_once, sorting=sorting):
            with warehouse.connect(holder) as connection:
                # Read while the warehouse is held: `cdr forget` adds a number while it holds it.
                forgotten = read_forgotten(alotech.settings)
                replace_pages(connection, pages_frame(fetched, filters.arrays(), narrowed_by, run_id, forgotten))
            yield fetched
    errors = {fetch.partition_hour: reason for fetch, reason in failed.items() if fetch.partition_hour}
    if errors:
        with warehouse.connect(holder) as connection:
            forgotten = read_forgotten(alotech.settings)
            errors = {hour: forgotten.without(reason) for hour, reason in errors.items()}
            add_failed_fetches(connection, errors, run_id, narrowed_by and forgotten.without(narrowed_by))


def fetch_all(
    client: AlotechClient,
    fetches: Iterable[Fetch],
    filters: Filters,
    fail: Callable[[Fetch, str], object],
    *,
    at_once: int,
    sorting: str = "asc",
) -> Iterator[dict[Fetch, list[Page]]]:
    """Yields the pages of all fetches in portions, in the order in which they finish.

    Calls `fail` with each fetch that fails and the reason; the others go on. If the caller stops early, it closes the
    client, so that a cancelled run ends soon.
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

    # Submit more fetches than run at once, so that the threads go on while a portion is written. But not all of them,
    # because finished fetches wait in memory.
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
                        fail(dropped, NOT_TRIED)
            submit(1)
        if size >= _HAND_OVER_BYTES or time.monotonic() - handed_over_at >= _HAND_OVER_SECONDS:
            yield portion
            portion = {}
            size, handed_over_at = 0, time.monotonic()
    if portion:
        yield portion


def _give_up(under_way: dict[Future[list[Page]], Fetch], waiting: Iterable[Fetch]) -> list[Fetch]:
    """Cancels the fetches that have not begun and returns them. Those that have begun finish."""
    dropped = [future for future in under_way if future.cancel()]
    return [*(under_way.pop(future) for future in dropped), *waiting]


def pages_frame(
    fetched: Mapping[Fetch, Sequence[Page]],
    arrays: Sequence[str],
    narrowed_by: str | None = None,
    run_id: str | None = None,
    forgotten: Forgotten = NOBODY,
) -> pl.DataFrame:
    """The pages in the columns of raw.cdr_pages, without forgotten callers.

    Pages of a key get the hour of their first call.
    """
    served = [(fetch, page) for fetch, pages_of_fetch in fetched.items() for page in pages_of_fetch]
    bodies = blank_bodies(
        [page.body if page.charset == "utf-8" else page.body.decode(page.charset).encode() for _, page in served],
        forgotten,
    )
    pages = [
        (
            fetch.partition_hour or _hour_of_call(body),
            narrowed_by and forgotten.without(narrowed_by),
            ",".join(arrays),
            page.number,
            max(page.window_start, fetch.partition_hour) if page.window_start and fetch.partition_hour else None,
            page.window_finish,
            page.record_count,
            page.attempts,
            page.fetched_at,
            _hash_of_records(body),
            len(body),
            compress(body),
            run_id,
        )
        for (fetch, page), body in zip(served, bodies, strict=True)
    ]
    return pl.DataFrame(pages, schema=CDR_PAGES.polars_schema, orient="row")


class _Page(msgspec.Struct):
    CallList: msgspec.Raw


_PAGE = msgspec.json.Decoder(_Page)


def _hash_of_records(body: bytes) -> str:
    """A hash of the body without its cursor, which is another one at each fetch."""
    hashed = body
    # A body in which they cannot be found for sure is hashed as a whole.
    if body.count(b'"CallList"') == 1:
        with suppress(msgspec.DecodeError):
            hashed = bytes(_PAGE.decode(body).CallList)
    return hashlib.sha256(hashed).hexdigest()


def _hour_of_call(body: bytes) -> dt.datetime | None:
    """The hour of the first call in the body; None if its calldate is missing or has an unusual spelling."""
    try:
        calldate = dt.datetime.fromisoformat(msgspec.json.decode(body)["CallList"][0]["calldate"])
    except (ValueError, TypeError, LookupError):
        return None
    return calldate.replace(minute=0, second=0, microsecond=0, tzinfo=None)
