"""`marts/*`: the dbt models as assets, their dbt tests as asset checks, built in one step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    HourlyPartitionsDefinition,
    MaterializeResult,
    Output,
    ResourceParam,
    TableColumn,
    TableSchema,
    multi_asset,
)

from cdr_assets.domain.schema import CALLS
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.building import build_stale_marts
from cdr_assets.marts.build import parse
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.steps import (
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
from cdr_assets.warehouse import Warehouse, mark_stale

if TYPE_CHECKING:
    from cdr_assets.marts.lineage import Lineage


def models_in(manifest: Mapping[str, Any], lineage: "Lineage") -> dict[str, AssetSpec]:
    """The models and seeds of a parsed project as assets, by their dbt ids."""
    return {
        unique_id: AssetSpec(
            _key(node),
            deps=_read_by(node, manifest),
            description=node["description"],
            # The few tables between marts would draw arrows back and forth as a group of their own.
            group_name="marts",
            kinds={"dbt", "duckdb"},
            code_version=node["checksum"]["checksum"],
            metadata={
                "dagster/table_name": f"{node['schema']}.{node['name']}",
                "dagster/column_schema": _columns(node, lineage),
            },
        )
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and not _is_step(node)
    }


def tests_in(manifest: Mapping[str, Any], models: Mapping[str, AssetSpec]) -> dict[str, AssetCheckSpec]:
    """The tests of a parsed project as checks of the model that they are about, by their dbt ids."""
    keys = {manifest["nodes"][unique_id]["name"]: model.key for unique_id, model in models.items()}
    checks = {}
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] == "test":
            about = node.get("attached_node")
            # A test in a file of its own names its model, as dagster-dbt would have it.
            key = models[about].key if about else keys[node["config"]["meta"]["dagster"]["ref"]["name"]]
            others = _read_by(node, manifest) - {key}
            is_error = node["config"]["severity"].lower() == "error"
            checks[unique_id] = AssetCheckSpec(node["name"], asset=key, additional_deps=others, blocking=is_error)
    return checks


def _read_by(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> set[AssetKey]:
    """What a model or a test reads, through steps that are no tables; a seed reads nothing."""
    keys = set()
    for unique_id in node["depends_on"].get("nodes", ()):
        upstream = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        keys |= _read_by(upstream, manifest) if _is_step(upstream) else {_key(upstream)}
    return keys


def _is_step(node: Mapping[str, Any]) -> bool:
    """Whether a model is no table, but part of the SQL of the models that read it: it is no asset either."""
    return bool(node["config"].get("materialized") == "ephemeral")


def _key(node: Mapping[str, Any]) -> AssetKey:
    """By schema and name; the bookkeeping tables that models read are part of `cdr/calls`."""
    if node["resource_type"] == "source" and node["name"] in ("loads", "stale_hours", "unpublished_hours"):
        return AssetKey(CALLS.asset_key)
    return AssetKey([node["schema"], node["name"]])


def _columns(node: Mapping[str, Any], lineage: "Lineage") -> TableSchema:
    # Dagster draws lineage of columns in its paid edition alone; told with the column, everybody can read it.
    made_of = lineage.get(f"{node['schema']}.{node['name']}", {})
    return TableSchema(
        [
            TableColumn(name, column["data_type"], f"{column['description']}{_told(made_of.get(name, ()))}")
            for name, column in node["columns"].items()
        ]
    )


def _told(origins: Iterable[Sequence[str]]) -> str:
    """` From marts.fct_calls: is_answered, wait_seconds.`, or nothing."""
    columns_of: dict[str, list[str]] = {}
    for table, column in origins:
        columns_of.setdefault(table, []).append(column)
    told = "; ".join(f"{table}: {', '.join(columns)}" for table, columns in columns_of.items())
    return f" From {told}." if told else ""


def build_marts(partitions: HourlyPartitionsDefinition, settings: Settings) -> AssetsDefinition:
    parsed = parse(settings)
    manifest = parsed.manifest
    models = models_in(manifest, parsed.lineage)
    tests = tests_in(manifest, models)
    keys = {unique_id: model.key for unique_id, model in models.items()}

    @multi_asset(
        name="marts",
        specs=list(models.values()),
        check_specs=list(tests.values()),
        can_subset=True,
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
            results = build_stale_marts(warehouse, settings, select)
        # dbt's order is that of the models' dependencies, which Dagster asks for.
        for result in results:
            if result.unique_id in chosen:
                key = chosen[result.unique_id]
                report(context, key, good, {hour: {"seconds": result.seconds} for hour in good})
                yield ended(key)
        for result in results:
            test = tests.get(result.unique_id)
            if test is not None and test.key in context.selected_asset_check_keys:
                outcome = AssetCheckResult(
                    asset_key=test.asset_key,
                    check_name=test.name,
                    passed=result.status == "pass",
                    severity=AssetCheckSeverity.WARN if result.status == "warn" else AssetCheckSeverity.ERROR,
                    description=result.message or None,
                    metadata={"failing rows": result.failures},
                )
                yield from evaluated(context.assets_def, outcome)
        fail_for(context, failed, "marts")

    return marts
