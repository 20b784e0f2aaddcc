"""`marts/*`: the dbt models as assets, their dbt tests as asset checks, built in one step."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Failure,
    HourlyPartitionsDefinition,
    MaterializeResult,
    Output,
    ResourceParam,
    TableColumn,
    TableSchema,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test

from cdr_assets.assets.hours import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    holder,
    hours_in,
    in_operators_words,
    is_in_run,
    report,
    split,
)
from cdr_assets.checks.evaluation import evaluated
from cdr_assets.dbt import NodeResult, build, manifest_path, read_lineage
from cdr_assets.schema import CALLS
from cdr_assets.settings import Settings
from cdr_assets.warehouse import Warehouse, clear_stale_hours, mark_stale


class Translator(DagsterDbtTranslator):
    """Keys by schema and name; the bookkeeping tables that models read are part of `cdr/calls`."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))
        self._lineage = read_lineage()

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        schema, name = dbt_resource_props["schema"], dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] == "source" and name in ("loads", "stale_hours", "unpublished_hours"):
            return AssetKey(CALLS.asset_key)
        return AssetKey([schema, name])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        # The few staging tables between marts would draw arrows back and forth as a group of their own.
        return "marts"

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        metadata = super().get_metadata(dbt_resource_props)
        made_of = self._lineage.get(f"{dbt_resource_props['schema']}.{dbt_resource_props['name']}")
        if made_of is None:
            return metadata
        # Dagster draws lineage of columns in its paid edition alone; told with the column, everybody can read it.
        columns = [
            TableColumn(column.name, column.type, f"{column.description}{_told(made_of.get(column.name, ()))}")
            for column in metadata["dagster/column_schema"].columns
        ]
        return {**metadata, "dagster/column_schema": TableSchema(columns)}

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        return str(dbt_resource_props["description"])


def _told(origins: Iterable[Sequence[str]]) -> str:
    """` From marts.fct_calls: is_answered, wait_seconds.`, or nothing."""
    columns_of: dict[str, list[str]] = {}
    for table, column in origins:
        columns_of.setdefault(table, []).append(column)
    told = "; ".join(f"{table}: {', '.join(columns)}" for table, columns in columns_of.items())
    return f" From {told}." if told else ""


def build_stale(warehouse: Warehouse, settings: Settings, select: Sequence[str] = ()) -> Sequence[NodeResult]:
    """Builds the marts of the hours that have changed, or some models of them, and tests them.

    The caller holds the warehouse: hours that another run loads between the building and the clearing would be cleared
    without being built. Raises Failure where a model could not be built. What tests found is in the results.
    """
    results = build(settings, select)
    broken = [result for result in results if result.status == "error"]
    if broken:
        told = "; ".join(f"{result.unique_id.split('.')[-1]}: {result.message}" for result in broken)
        raise Failure(f"the marts could not be built and keep what they held: {told}", allow_retries=False)
    if not select:
        with warehouse.opened() as connection:
            clear_stale_hours(connection)
    return results


def build_marts(partitions: HourlyPartitionsDefinition, settings: Settings) -> AssetsDefinition:
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    translator = Translator()
    keys = {
        unique_id: translator.get_asset_key(node)
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }

    @dbt_assets(
        manifest=manifest,
        name="marts",
        dagster_dbt_translator=translator,
        partitions_def=partitions,
        backfill_policy=BACKFILL_POLICY,
    )
    @in_operators_words
    def marts(
        context: AssetExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[MaterializeResult[None] | Output[None] | AssetCheckEvaluation]:
        hours = hours_in(context)
        chosen = {unique_id: key for unique_id, key in keys.items() if key in context.selected_asset_keys}
        whole = chosen == keys
        with warehouse.connect(holder(context)) as connection:
            good, failed = split(context, connection, hours)
            if not is_in_run(context, "cdr"):
                # Asked for by hand: built anew, whether or not the calls have changed.
                mark_stale(connection, [hour.start for hour in hours])
        select = () if whole else [unique_id.split(".")[-1] for unique_id in chosen]
        with warehouse.held(holder(context)):
            results = build_stale(warehouse, settings, select)
        # dbt's order is that of the models' dependencies, which Dagster asks for.
        for result in results:
            if result.unique_id in chosen:
                key = chosen[result.unique_id]
                report(context, key, good, {hour: {"seconds": result.seconds} for hour in good})
                yield ended(key)
        for result in results:
            check = get_asset_check_key_for_test(manifest, translator, result.unique_id, None)
            if check is not None and check in context.selected_asset_check_keys:
                outcome = AssetCheckResult(
                    asset_key=check.asset_key,
                    check_name=check.name,
                    passed=result.status == "pass",
                    severity=AssetCheckSeverity.WARN if result.status == "warn" else AssetCheckSeverity.ERROR,
                    description=result.message or None,
                    metadata={"failing rows": result.failures},
                )
                yield from evaluated(context.assets_def, outcome)
        fail_for(context, failed, "marts")

    return marts
