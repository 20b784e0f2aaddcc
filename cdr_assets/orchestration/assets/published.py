"""`published/cdr`: the analysts' copy, the last step of every run."""

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
    report,
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
            "The analysts' copy of the schemas cdr and marts: no raw pages, phone numbers as CDR_CALLERS says, "
            "replaced whole and at once after the checks."
        ),
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
        check_specs=[
            AssetCheckSpec(
                OWN_MARTS_CHECK,
                asset=PUBLISHED_KEY,
                description="The models in CDR_OWN_MARTS were built, and their tests pass. They never stop our marts.",
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
        report(context, PUBLISHED_KEY, good)
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
