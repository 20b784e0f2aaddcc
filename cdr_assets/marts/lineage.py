"""Finds the columns that each column of a model is computed from, by reading the models' compiled SQL.

It runs once for each change of the project and needs no warehouse: the columns of tables come from the manifest and
`domain/schema.py`. dagster-dbt can find the lineage too, but after each build and by asking the warehouse for the
columns of every table, which takes longer than building an hour. How Dagster shows lineage is in
`orchestration/assets/marts.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import MappingSchema, exp, parse_one
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from cdr_assets.domain.schema import TABLES

# Model ("marts.queue_hourly") to column to its sources, each a table and a column.
Lineage = dict[str, dict[str, list[tuple[str, str]]]]

_DIALECT = "duckdb"


def find_lineage(manifest: Mapping[str, Any]) -> Lineage:
    """The lineage of every model in a compiled manifest. Columns without sources, such as count(*), are left out."""
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed")]
    schema = MappingSchema(dialect=_DIALECT)
    for table in TABLES:
        schema.add_table(f"warehouse.{table.full_name}", {column.name: column.kind.value for column in table.columns})
    for node in nodes:
        types = {name: column["data_type"] for name, column in node["columns"].items()}
        schema.add_table(f"warehouse.{node['schema']}.{node['name']}", types)
    return {
        f"{node['schema']}.{node['name']}": _of_model(node["compiled_code"], list(node["columns"]), schema)
        for node in nodes
        if node["resource_type"] == "model"
    }


def _of_model(sql: str, columns: list[str], schema: MappingSchema) -> dict[str, list[tuple[str, str]]]:
    query = parse_one(sql, dialect=_DIALECT).transform(_without_shorthands)
    scope = build_scope(qualify(query, schema=schema, dialect=_DIALECT, validate_qualify_columns=False))
    assert scope is not None
    found = {column: sorted(set(_origins(scope, column))) for column in columns}
    return {column: origins for column, origins in found.items() if origins}


def _origins(scope: Scope, column: str) -> Iterator[tuple[str, str]]:
    """The tables' columns that a column of a query is computed from, each as (table, column)."""
    query = scope.expression
    assert isinstance(query, exp.Query)
    if scope.set_operation_scopes:
        # The sides of a union are matched by position, not by name.
        place = query.named_selects.index(column)
        for side in scope.set_operation_scopes:
            assert isinstance(side.expression, exp.Query)
            yield from _origins(side, side.expression.named_selects[place])
        return
    selected = next(found for found in query.selects if found.alias_or_name == column)
    for used in selected.find_all(exp.Column):
        source = scope.sources.get(used.table)
        if isinstance(source, Scope):
            yield from _origins(source, used.name)
        elif isinstance(source, exp.Table) and source.db:  # others are functions, like range()
            yield f"{source.db}.{source.name}", used.name


def _without_shorthands(node: exp.Expr) -> exp.Expr:
    """Rewrites expressions that select several columns into forms that sqlglot can follow, with the same sources."""
    if isinstance(node, exp.Coalesce) and isinstance(node.this, exp.Columns):
        every: exp.Expr = node.this.this  # coalesce(columns(parts.*), 0)
        return every
    if isinstance(node, exp.Select):
        node.set("expressions", [column for selected in node.expressions for column in _unnested(selected)])
    return node


def _unnested(selected: exp.Expr) -> list[exp.Expr]:
    """Replaces an unnested struct by one column for each of its members."""
    struct = selected.find(exp.Struct) if isinstance(selected, exp.Unnest | exp.Explode) else None
    if struct is None:
        return [selected]
    return [exp.alias_(member.expression.copy(), member.name) for member in struct.expressions]
