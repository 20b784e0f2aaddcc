"""`raw/cdr_pages`: the vendor's pages of each hour, as they came."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import polars as pl
from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    HourlyPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
    asset,
)

from cdr_assets.alotech import (
    AlotechClient,
    AlotechError,
    Page,
    TlsError,
    TokenRejectedError,
    UnknownHostError,
    Window,
    WrongAddressError,
)
from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    report,
)
from cdr_assets.assets.keys import PAGES_KEY, table_metadata
from cdr_assets.partitions import Hour
from cdr_assets.resources import Alotech
from cdr_assets.schema import CDR_PAGES
from cdr_assets.warehouse import Warehouse, add_failed_fetches, claim, replace_pages

# Fetched hours are written together, so that the warehouse is opened seldom; bounded, so that a long run needs no more
# memory than a short one, and a run that dies has lost little.
_WRITE_AT_BYTES = 32_000_000
_WRITE_AT_SECONDS = 2.0

# What is wrong for one hour with these is wrong for all: trying the others would only trouble the vendor.
_FATAL = (TokenRejectedError, UnknownHostError, TlsError, WrongAddressError)


def build_cdr_pages(partitions: HourlyPartitionsDefinition) -> AssetsDefinition:
    @asset(
        key=PAGES_KEY,
        description=CDR_PAGES.description,
        metadata=table_metadata(CDR_PAGES),
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
        group_name="raw",
        kinds={"python", "duckdb"},
    )
    @in_operators_words
    def cdr_pages(
        context: AssetExecutionContext, alotech: ResourceParam[Alotech], warehouse: ResourceParam[Warehouse]
    ) -> Iterator[MaterializeResult[None]]:
        hours = hours_in(context)
        failed: dict[Hour, str] = {}
        with warehouse.connect(holder(context)) as connection:
            claim(connection, alotech.settings.source, warehouse.path)
        for fetched in _fetch(hours, alotech, failed):
            with warehouse.connect(holder(context)) as connection:
                replace_pages(connection, _pages_frame(fetched, context.run.run_id))
            report(context, PAGES_KEY, fetched, {hour: _figures(pages) for hour, pages in fetched.items()})
        if failed:
            for hour, reason in failed.items():
                context.log.error(f"hour {hour}: {reason}")
            with warehouse.connect(holder(context)) as connection:
                add_failed_fetches(
                    connection, {hour.start: reason for hour, reason in failed.items()}, context.run.run_id
                )
        if len(failed) == len(hours):
            raise failure(failed)
        fail_for(context, failed, "raw")
        yield ended(PAGES_KEY)

    return cdr_pages


def _fetch(hours: Sequence[Hour], alotech: Alotech, failed: dict[Hour, str]) -> Iterator[dict[Hour, list[Page]]]:
    """The hours' pages, several hours at once, in portions to be written; hours that fail go to `failed`."""
    with alotech.client() as client:
        threads = ThreadPoolExecutor(max_workers=alotech.settings.alotech_max_concurrency)
        try:
            yield from _portions(client, threads, hours, failed)
        except BaseException:
            # A cancelled run ends now: what waits is dropped, and the closed client breaks off what is under way.
            threads.shutdown(wait=False, cancel_futures=True)
            client.close()
            raise
        finally:
            threads.shutdown()


def _portions(
    client: AlotechClient, threads: ThreadPoolExecutor, hours: Sequence[Hour], failed: dict[Hour, str]
) -> Iterator[dict[Hour, list[Page]]]:
    portion: dict[Hour, list[Page]] = {}
    size, written_at = 0, time.monotonic()
    hour_of = {threads.submit(_fetch_hour, client, hour): hour for hour in hours}
    for future in as_completed(hour_of):
        hour = hour_of[future]
        if future.cancelled():
            failed[hour] = "not tried after this"
            continue
        try:
            portion[hour] = future.result()
        except AlotechError as error:
            failed[hour] = f"{error.met}; {error.advice}"
            if isinstance(error, _FATAL):
                threads.shutdown(wait=False, cancel_futures=True)
            continue
        size += sum(len(page.body) for page in portion[hour])
        if size >= _WRITE_AT_BYTES or time.monotonic() - written_at >= _WRITE_AT_SECONDS:
            yield portion
            portion = {}
            size, written_at = 0, time.monotonic()
    if portion:
        yield portion


def _fetch_hour(client: AlotechClient, hour: Hour) -> list[Page]:
    # A server that reads wall-clock times as instants may take a slice of a repeated hour for one of the two alone.
    return client.fetch_window(Window(hour.asked_from, hour.finish), in_slices=not hour.is_repeated)


def _pages_frame(fetched: dict[Hour, list[Page]], run_id: str) -> pl.DataFrame:
    """The pages with the columns of raw.cdr_pages."""
    pages = [
        (
            hour.start,
            page.number,
            max(page.window_start or hour.start, hour.start),
            page.window_finish,
            page.record_count,
            page.attempts,
            page.fetched_at,
            page.content_hash,
            page.body.decode(page.charset),
            run_id,
        )
        # Of the two partitions of a repeated hour, both of the same window, the one fetched last stays.
        for hour, pages_of_hour in {hour.start: (hour, pages) for hour, pages in fetched.items()}.values()
        for page in pages_of_hour
    ]
    return pl.DataFrame(pages, schema=CDR_PAGES.polars_schema, orient="row")


def _figures(pages: Sequence[Page]) -> dict[str, int]:
    requests = sum(page.attempts for page in pages)
    return {
        "pages": len(pages),
        "records": sum(page.record_count for page in pages),
        "requests": requests,
        "retries": requests - len(pages),
    }
