"""The asset `published/cdr`: publishes the analysts' copy, the last step of a run over hours.

Writing the copy is in `cdr_assets.publishing`.
"""

from collections.abc import Iterator

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
    Output,
    ResourceParam,
    asset,
)

from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.building import publish_copy
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.checks.freshness import freshness_of_failing_run
from cdr_assets.orchestration.keys import CDR_KEYS, OWN_MARTS_CHECK, PUBLISHED_KEY
from cdr_assets.orchestration.steps import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    holder,
    hours_in,
    in_operators_words,
    report_hours,
    split,
)
from cdr_assets.warehouse import Warehouse


def build_published(
    partitions: HourlyPartitionsDefinition, settings: Settings, marts: list[AssetKey]
) -> AssetsDefinition:
    @asset(
        key=PUBLISHED_KEY,
        deps=[*CDR_KEYS, *marts],
        description=(
            "The analysts' copy of the schemas cdr and marts: without raw pages, and with phone numbers as set in "
            "CDR_CALLERS. Each run replaces the file in one step once the checks have passed."
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
    )
    @in_operators_words
    def published_cdr(
        context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[MaterializeResult[None] | Output[None] | AssetCheckEvaluation]:
        with warehouse.connect(holder(context)) as connection:
            good, failed = split(context, connection, hours_in(context))
        published = publish_copy(warehouse, settings, holder(context))
        context.log.info(published.told)
        report_hours(context, PUBLISHED_KEY, good)
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
