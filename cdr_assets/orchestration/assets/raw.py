"""The asset `raw/cdr_pages`: fetches the vendor's pages of each hour and stores them unchanged.

The HTTP client is in `cdr_assets.alotech`; fetching and storing several hours at once is in `ingest.fetching`.
"""

from collections.abc import Iterator, Sequence

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    HourlyPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
    asset,
)

from cdr_assets.alotech import Page
from cdr_assets.domain.schema import CDR_PAGES
from cdr_assets.ingest.fetching import Alotech, Fetch, fetch_and_store, fetch_of
from cdr_assets.orchestration.assets.config import PagesConfig
from cdr_assets.orchestration.checks.freshness import freshness_of_failing_run
from cdr_assets.orchestration.keys import OWNERS, PAGES_KEY, PAGES_OP, SOURCE_KEY, table_metadata
from cdr_assets.orchestration.steps import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    failure,
    holder,
    hours_in,
    in_operators_words,
    is_in_run,
    note_published,
    report_hours,
)
from cdr_assets.warehouse import Warehouse, drop_pages

SOURCE = AssetSpec(
    SOURCE_KEY,
    description="The vendor's calls, as its method Report CDR Logs returns them.",
    group_name="raw",
    kinds={"alotech"},
    owners=OWNERS,
)


def build_cdr_pages(partitions: HourlyPartitionsDefinition) -> AssetsDefinition:
    @asset(
        key=PAGES_KEY,
        deps=[SOURCE],
        description=CDR_PAGES.description,
        metadata=table_metadata(CDR_PAGES),
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
        group_name="raw",
        kinds={"python", "duckdb"},
        owners=OWNERS,
    )
    @in_operators_words
    def cdr_pages(
        context: AssetExecutionContext,
        config: PagesConfig,
        alotech: ResourceParam[Alotech],
        warehouse: ResourceParam[Warehouse],
    ) -> Iterator[MaterializeResult[None] | AssetCheckEvaluation]:
        filters, narrowed_by, hours = config.filters(), config.narrowed_by(), hours_in(context)
        if days := alotech.settings.cdr_raw_pages_days:
            with warehouse.connect(holder(context)) as connection:
                drop_pages(connection, days)
        not_fetched: dict[Fetch, str] = {}
        for fetched in fetch_and_store(
            alotech,
            warehouse,
            holder(context),
            context.run.run_id,
            [fetch_of(hour) for hour in {hour.start: hour for hour in hours}.values()],
            filters,
            narrowed_by,
            not_fetched,
            context.log.error,
            config.sorting.value,
        ):
            if narrowed_by:
                context.log.info(f"{sum(map(len, fetched.values()))} pages of {len(fetched)} narrowed fetches")
            else:
                of_start = {fetch.partition_hour: _figures(pages) for fetch, pages in fetched.items()}
                figures = {hour: of_start[hour.start] for hour in hours if hour.start in of_start}
                report_hours(context, PAGES_KEY, figures, figures)
        reasons = {fetch.partition_hour: reason for fetch, reason in not_fetched.items()}
        failed = {hour: reasons[hour.start] for hour in hours if hour.start in reasons}
        if len(failed) == len(hours):
            if is_in_run(context, "published__cdr"):
                note_published(context, 0)
                yield from freshness_of_failing_run(partitions, alotech.settings)
            raise failure(failed)
        fail_for(context, failed, PAGES_OP)
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
