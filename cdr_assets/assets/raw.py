"""`raw/cdr_pages`: the vendor's pages of each hour, as they came."""

from collections.abc import Iterator, Sequence
from functools import partial

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetsDefinition,
    HourlyPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
    asset,
)

from cdr_assets.alotech import Page
from cdr_assets.assets.asked import Asked
from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    is_in_run,
    noting,
    report,
)
from cdr_assets.assets.keys import PAGES_KEY, table_metadata
from cdr_assets.checks.freshness import freshness_of_failing_run
from cdr_assets.fetching import Fetch, fetch_all, fetch_of, pages_frame
from cdr_assets.resources import Alotech
from cdr_assets.schema import CDR_PAGES
from cdr_assets.warehouse import Warehouse, add_failed_fetches, claim, drop_pages, replace_pages


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
        context: AssetExecutionContext,
        config: Asked,
        alotech: ResourceParam[Alotech],
        warehouse: ResourceParam[Warehouse],
    ) -> Iterator[MaterializeResult[None] | AssetCheckEvaluation]:
        filters = config.filters()
        narrowed_by = config.narrowed_by()
        with warehouse.connect(holder(context)) as connection:
            claim(connection, alotech.settings.source, warehouse.path)
            if days := alotech.settings.cdr_raw_pages_days:
                drop_pages(connection, days)
        hours = hours_in(context)
        fetches = [fetch_of(hour) for hour in {hour.start: hour for hour in hours}.values()]
        asked = {fetch: partial(fetch, filters=filters, sorting=config.sorting.value) for fetch in fetches}
        not_fetched: dict[Fetch, str] = {}
        with alotech.client() as client:
            fail = noting(context, not_fetched)
            for fetched in fetch_all(client, asked, fail, at_once=alotech.settings.alotech_max_concurrency):
                with warehouse.connect(holder(context)) as connection:
                    replace_pages(connection, pages_frame(fetched, filters.arrays(), narrowed_by, context.run.run_id))
                if narrowed_by:
                    context.log.info(f"{sum(map(len, fetched.values()))} pages of {len(fetched)} narrowed fetches")
                else:
                    of_start = {fetch.partition_hour: _figures(pages) for fetch, pages in fetched.items()}
                    figures = {hour: of_start[hour.start] for hour in hours if hour.start in of_start}
                    report(context, PAGES_KEY, figures, figures)
        reasons = {fetch.partition_hour: reason for fetch, reason in not_fetched.items()}
        failed = {hour: reasons[hour.start] for hour in hours if hour.start in reasons}
        if failed:
            with warehouse.connect(holder(context)) as connection:
                errors = {hour.start: reason for hour, reason in failed.items()}
                add_failed_fetches(connection, errors, context.run.run_id, narrowed_by)
        if len(failed) == len(hours):
            if is_in_run(context, "published"):
                yield from freshness_of_failing_run(partitions, alotech.settings)
            raise failure(failed)
        fail_for(context, failed, "raw")
        yield ended(PAGES_KEY)

    return cdr_pages


def _figures(pages: Sequence[Page]) -> dict[str, int]:
    requests = sum(page.attempts for page in pages)
    return {
        "pages": len(pages),
        "records": sum(page.record_count for page in pages),
        "requests": requests,
        "retries": requests - len(pages),
    }
