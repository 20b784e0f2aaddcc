"""`published/cdr`: the analysts' copy, the last step of every run."""

from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    HourlyPartitionsDefinition,
    MaterializeResult,
    ResourceParam,
    asset,
)

from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    holder,
    hours_in,
    in_operators_words,
    report,
    split,
)
from cdr_assets.assets.keys import CDR_KEYS, PUBLISHED_KEY
from cdr_assets.assets.marts import build_stale
from cdr_assets.checks.freshness import freshness_of_failing_run
from cdr_assets.settings import Settings
from cdr_assets.warehouse import Warehouse, has_stale_hours, publish, read_or_make_secret_key


def publish_copy(warehouse: Warehouse, settings: Settings, holder: str) -> str:
    """Publishes the copy, and says in a line what and where. Raises WarehouseError, and Failure as `build_stale`."""
    key = settings.cdr_secret_key
    secret_key = key.get_secret_value() if key else read_or_make_secret_key(settings.cdr_data_dir / "secret_key")
    with warehouse.held(holder):
        with warehouse.opened() as connection:
            is_behind = has_stale_hours(connection)
        if is_behind:
            # Another run has loaded since the marts were built: the copy would show calls without their marts.
            build_stale(warehouse, settings)
        with warehouse.opened() as connection:
            size = publish(connection, settings.published_path, settings.cdr_callers, secret_key, log=warehouse.log)
    return f"published {settings.published_path}, {size / 1e6:.1f} MB"


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
        group_name="published",
        kinds={"duckdb"},
    )
    @in_operators_words
    def published_cdr(
        context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[MaterializeResult[None] | AssetCheckEvaluation]:
        with warehouse.connect(holder(context)) as connection:
            good, failed = split(context, connection, hours_in(context))
        context.log.info(publish_copy(warehouse, settings, holder(context)))
        report(context, PUBLISHED_KEY, good)
        if failed:
            yield from freshness_of_failing_run(partitions, settings)
        fail_for(context, failed, "published")
        yield ended(PUBLISHED_KEY)

    return published_cdr
