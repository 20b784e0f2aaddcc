"""The asset `published/daily_report`: an HTML page for each local day, in a job of its own.

It is no part of the runs over hours, so a failing report never stops them. The page itself is made in
`cdr_assets.report`.
"""

import datetime as dt
from collections.abc import Iterator

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DailyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.keys import DAILY_REPORT_KEY, OWNERS, PUBLISHED_KEY
from cdr_assets.orchestration.steps import BACKFILL_POLICY, in_operators_words


def build_daily_report(partitions: DailyPartitionsDefinition, settings: Settings) -> AssetsDefinition:
    @asset(
        key=DAILY_REPORT_KEY,
        deps=[PUBLISHED_KEY],
        description=(
            "One HTML page for each local day, <data>/reports/YYYY-MM-DD.html: call volume, service level, waits, "
            "queues, agents, satisfaction, and which hours are loaded."
        ),
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
        group_name="published",
        kinds={"html"},
        owners=OWNERS,
    )
    @in_operators_words
    def daily_report(context: AssetExecutionContext) -> Iterator[MaterializeResult[None]]:
        # Import here: the plots take a second to import, and the hourly runs do not need them.
        from cdr_assets.report import write_report

        for key in context.partition_keys:
            day = dt.date.fromisoformat(key)
            page, figures = write_report(settings, dt.datetime.now(dt.UTC), day, day + dt.timedelta(days=1))
            context.add_asset_metadata(
                {
                    "page": MetadataValue.path(page),
                    "offered": figures.totals["offered"],
                    "answered": figures.totals["answered"],
                    "hours loaded": figures.loads["loaded"],
                    "hours final": figures.loads["final"],
                }
                # Without offered calls there is no service level: leave it out, so that Dagster plots no point.
                | {name: figures.totals[name] for name in ("service_level",) if figures.totals[name] is not None},
                partition_key=key,
            )
        yield MaterializeResult()

    return daily_report
