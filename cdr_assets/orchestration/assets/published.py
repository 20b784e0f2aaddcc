"""The asset `published/cdr`: publishes the analysts' copy, the last step of a run over hours.

Writing the copy is in `cdr_assets.publishing`.
"""

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    HourlyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    Output,
    ResourceParam,
    asset,
)

from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.building import publish_copy
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.checks.freshness import freshness_of_failing_run
from cdr_assets.orchestration.keys import CDR_KEYS, HOURS_TAG, OWN_MARTS_CHECK, OWNERS, PUBLISHED_KEY
from cdr_assets.orchestration.steps import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    holder,
    hours_in,
    in_operators_words,
    note_published,
    report_hours,
    split,
)
from cdr_assets.status.published import CopyFigures, read_copy
from cdr_assets.warehouse import Warehouse


def build_published(
    partitions: HourlyPartitionsDefinition, settings: Settings, marts: list[AssetKey]
) -> AssetsDefinition:
    @asset(
        key=PUBLISHED_KEY,
        deps=[*CDR_KEYS, *marts],
        description=(
            "The analysts' copy of the schemas cdr and marts: without raw pages, and with phone numbers as set in "
            "CDR_CALLERS. Each run replaces the file in one step once the checks have passed. A partition is green if "
            "its hour is published. Go by that: a run fails if one of its hours fails, and Dagster's page of backfills "
            f"then counts all its hours as failed. The run's tag {HOURS_TAG} says how many are published."
        ),
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
        check_specs=[
            AssetCheckSpec(
                OWN_MARTS_CHECK,
                asset=PUBLISHED_KEY,
                description=(
                    "The models in CDR_OWN_MARTS were built and their tests passed. If not, the other marts are "
                    "published all the same."
                ),
            )
        ],
        group_name="published",
        kinds={"duckdb"},
        owners=OWNERS,
    )
    @in_operators_words
    def published_cdr(
        context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[MaterializeResult[None] | Output[None] | AssetCheckEvaluation]:
        with warehouse.connect(holder(context)) as connection:
            good, failed = split(context, connection, hours_in(context))
        began = time.monotonic()
        published = publish_copy(warehouse, settings, holder(context))
        seconds = time.monotonic() - began
        context.log.info(published.told)
        if good:
            # The figures are of the whole copy, so that only the last event of the run has them.
            now = dt.datetime.now(dt.UTC)
            figures = _figures(read_copy(settings, now), now, seconds)
            report_hours(context, PUBLISHED_KEY, good, {hour: figures if hour is good[-1] else {} for hour in good})
            note_published(context, len(good))
        yield from evaluated(
            context.assets_def,
            AssetCheckResult(
                asset_key=PUBLISHED_KEY,
                check_name=OWN_MARTS_CHECK,
                passed=not published.own_failed,
                severity=AssetCheckSeverity.WARN,
                description="; ".join(published.own_failed) or None,
            ),
        )
        if failed:
            yield from freshness_of_failing_run(partitions, settings)
        fail_for(context, failed, "published__cdr")
        yield ended(PUBLISHED_KEY)

    return published_cdr


def _figures(copy: CopyFigures, now: dt.datetime, seconds: float) -> dict[str, float | MetadataValue[Any]]:
    """The metadata of a publishing, the most important first. Dagster plots numbers, and no moments."""
    newest: dict[str, float | MetadataValue[Any]] = {}
    if copy.newest_call:
        newest = {
            "newest_call": MetadataValue.timestamp(copy.newest_call),
            "newest_call_minutes_ago": (now - copy.newest_call) // dt.timedelta(minutes=1),
        }
    return {
        "hours": copy.hours,
        "final_hours": copy.final_hours,
        **newest,
        "rows": copy.rows,
        "seconds": round(seconds, 2),
        "size_mb": round(copy.size / 1e6, 2),
        "last_days": MetadataValue.md(copy.map),
    }
