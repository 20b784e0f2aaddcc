"""The assets `marts/*`: each dbt model is an asset, each dbt test an asset check, and one step builds them all.

Running dbt is in `cdr_assets.marts`; choosing the hours to build again is in `ingest.building`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
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
from cdr_assets.marts.build import NodeResult, parse
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.keys import OWNERS
from cdr_assets.orchestration.steps import (
    BACKFILL_POLICY,
    ended,
    fail_for,
    holder,
    hours_in,
    in_operators_words,
    is_in_run,
    report_hours,
    split,
)
from cdr_assets.warehouse import Warehouse, mark_stale

if TYPE_CHECKING:
    from cdr_assets.marts.lineage import Lineage


def models_in(manifest: Mapping[str, Any], lineage: "Lineage") -> dict[str, AssetSpec]:
    """An asset for each model and seed in dbt's manifest, by dbt id."""
    return {
        unique_id: AssetSpec(
            _key(node),
            deps=_read_by(node, manifest),
            description=node["description"],
            # One group for all: a group of the intermediate tables would have arrows to and from the marts.
            group_name="marts",
            kinds={"dbt", "duckdb"},
            owners=OWNERS,
            code_version=node["checksum"]["checksum"],
            metadata={
                "dagster/table_name": f"{node['schema']}.{node['name']}",
                "dagster/column_schema": _columns(node, lineage),
            },
        )
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and not _is_ephemeral(node)
    }


def tests_in(manifest: Mapping[str, Any], models: Mapping[str, AssetSpec]) -> dict[str, AssetCheckSpec]:
    """An asset check for each test in dbt's manifest, by dbt id, on the model that it tests."""
    keys = {manifest["nodes"][unique_id]["name"]: model.key for unique_id, model in models.items()}
    checks = {}
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] == "test":
            about = node.get("attached_node")
            # A test in its own SQL file names its model in meta.dagster.ref, the way dagster-dbt reads it.
            key = models[about].key if about else keys[node["config"]["meta"]["dagster"]["ref"]["name"]]
            others = _read_by(node, manifest) - {key}
            is_error = node["config"]["severity"].lower() == "error"
            checks[unique_id] = AssetCheckSpec(node["name"], asset=key, additional_deps=others, blocking=is_error)
    return checks


def _read_by(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> set[AssetKey]:
    """The assets that a model or a test reads, also through ephemeral models; none for a seed."""
    keys = set()
    for unique_id in node["depends_on"].get("nodes", ()):
        upstream = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        keys |= _read_by(upstream, manifest) if _is_ephemeral(upstream) else {_key(upstream)}
    return keys


def _is_ephemeral(node: Mapping[str, Any]) -> bool:
    """Whether a model is part of the SQL of the models that read it, and therefore neither a table nor an asset."""
    return bool(node["config"].get("materialized") == "ephemeral")


def _key(node: Mapping[str, Any]) -> AssetKey:
    """The asset key, schema and name. The bookkeeping tables that models read count as `cdr/calls`."""
    if node["resource_type"] == "source" and node["name"] in ("loads", "stale_hours", "unpublished_hours", "kept_from"):
        return AssetKey(CALLS.asset_key)
    return AssetKey([node["schema"], node["name"]])


def _columns(node: Mapping[str, Any], lineage: "Lineage") -> TableSchema:
    # Only Dagster's paid edition draws column lineage, so we write it into the column's description.
    made_of = lineage.get(f"{node['schema']}.{node['name']}", {})
    return TableSchema(
        [
            TableColumn(name, column["data_type"], f"{column['description']}{_told(made_of.get(name, ()))}")
            for name, column in node["columns"].items()
        ]
    )


def _told(origins: Iterable[Sequence[str]]) -> str:
    """For instance ` From marts.fct_calls: is_answered, wait_seconds.`; an empty text without origins."""
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
    # Dagster needs the outputs of a step in the order of their dependencies.
    order = TopologicalSorter({name: node["depends_on"].get("nodes", ()) for name, node in manifest["nodes"].items()})
    keys = {unique_id: models[unique_id].key for unique_id in order.static_order() if unique_id in models}

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
                # An operator started the marts by hand: build these hours again, even if no call has changed.
                mark_stale(connection, [hour.start for hour in hours])
        select = () if whole else [unique_id.split(".")[-1] for unique_id in chosen]
        with warehouse.held(holder(context)):
            results = build_stale_marts(warehouse, settings, select)
        # Models without a result are as the last build made them: all if nothing was stale, else views and seeds.
        seconds = {result.unique_id: {"seconds": result.seconds} for result in results}
        for unique_id, key in chosen.items():
            report_hours(context, key, good, dict.fromkeys(good, seconds.get(unique_id, {})))
            yield ended(key)
        outcomes = {result.unique_id: result for result in results}
        for unique_id, test in tests.items():
            if test.key in context.selected_asset_check_keys and (not results or unique_id in outcomes):
                yield from evaluated(context.assets_def, _outcome(test, outcomes.get(unique_id)))
        fail_for(context, failed, "marts")

    return marts


def _outcome(test: AssetCheckSpec, result: NodeResult | None) -> AssetCheckResult:
    """The check of a dbt test; without a result, of one that was not run because nothing had changed."""
    return AssetCheckResult(
        asset_key=test.asset_key,
        check_name=test.name,
        passed=result is None or result.status == "pass",
        severity=AssetCheckSeverity.WARN if result and result.status == "warn" else AssetCheckSeverity.ERROR,
        description=result.message or None if result else "not tested again: nothing has changed since the last build",
        metadata={"failing rows": result.failures if result else 0},
    )
