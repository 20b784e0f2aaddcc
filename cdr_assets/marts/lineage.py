"""Which columns each column of the models is made of, read from the compiled SQL. Knows no Dagster and opens nothing.

dagster-dbt can read it too, after each build: it asks the warehouse for the columns of every table then, which takes
longer than an hour's build. Here it is read once for each change of the project, of SQL that is compiled without a
warehouse, from the columns that the manifest and `schema` name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import MappingSchema, exp, parse_one
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from cdr_assets.domain.schema import TABLES

# By model ("marts.queue_hourly") and column: what it is made of, each a table and its column.
Lineage = dict[str, dict[str, list[tuple[str, str]]]]

_DIALECT = "duckdb"


def find_lineage(manifest: Mapping[str, Any]) -> Lineage:
    """The lineage of every model of a compiled manifest; a count of rows is made of no column, and not in it."""
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
    """The columns of tables that a column of a query is made of."""
    query = scope.expression
    assert isinstance(query, exp.Query)
    if scope.set_operation_scopes:
        # The sides of a union agree by place, whatever their columns are called.
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
    """Selections that stand for several columns, in words that sqlglot can follow; what they are made of stays."""
    if isinstance(node, exp.Coalesce) and isinstance(node.this, exp.Columns):
        every: exp.Expr = node.this.this  # coalesce(columns(parts.*), 0)
        return every
    if isinstance(node, exp.Select):
        node.set("expressions", [column for selected in node.expressions for column in _unnested(selected)])
    return node


def _unnested(selected: exp.Expr) -> list[exp.Expr]:
    """unnest of structs makes a column of each member."""
    struct = selected.find(exp.Struct) if isinstance(selected, exp.Unnest | exp.Explode) else None
    if struct is None:
        return [selected]
    return [exp.alias_(member.expression.copy(), member.name) for member in struct.expressions]
