"""Own marts: dbt models that users keep in a folder of theirs (CDR_OWN_MARTS), built after ours and never in their way.

They are a dbt project of their own, made in the data folder from what lies in the user's: a model that cannot be parsed
stops only them. `ref` finds our models as well as theirs. All of it lands in the schema `own`. When a file is removed,
its table is dropped. An upgrade of cdr_assets touches none of it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from cdr_assets.domain.schema import OWN
from cdr_assets.domain.settings import Settings
from cdr_assets.marts.build import DbtError, parse, run_dbt
from cdr_assets.warehouse import memory_limit

_PROJECT = """\
name: own_marts
version: "1.0.0"
profile: cdr_marts
models: {+materialized: table}
"""

# Our models are relations of another project, which dbt's own `ref` does not know. And a schema of the user's choice
# could be ours: a model called queue_daily there would replace the mart.
_MACROS = """\
{%% macro generate_schema_name(custom_schema_name, node) %%}%(schema)s{%% endmacro %%}

{%% macro ref(name) %%}
    {%%- set ours = %(ours)s -%%}
    {%%- if name in ours -%%}
        {%%- do return(api.Relation.create(database="warehouse", schema=ours[name], identifier=name)) -%%}
    {%%- endif -%%}
    {%%- do return(builtins.ref(name)) -%%}
{%% endmacro %%}
"""


def build_own(settings: Settings) -> list[str]:
    """Builds and tests the own marts; returns a line for each that failed. The caller holds the warehouse.

    A model that fails keeps the table that it had. Raises nothing for whatever stands in the user's files.
    """
    sources = settings.cdr_own_marts
    if not any(sources.rglob("*.sql")):
        return []
    folder = settings.cdr_data_dir / "dbt" / OWN
    try:
        _make_project(settings, folder / "project")
        args = ["build", "--target-path", str(folder), "--log-path", str(folder)]
        results = run_dbt(settings, folder / "project", args, memory_limit())
    except (DbtError, OSError) as error:
        return [f"the models in {sources} could not be read and keep what they held: {error}"]
    return [
        f"{result.unique_id.split('.')[2]}: {result.message}"
        for result in results
        if result.status in ("error", "fail", "warn", "skipped")
    ]


def drop_other_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Drops the tables and views of the schema `own` that no model makes any more."""
    made = {path.stem for path in settings.cdr_own_marts.rglob("*") if path.suffix in (".sql", ".csv")}
    for name, kind in list(_relations(connection)):
        if name not in made:
            connection.execute(f'DROP {kind} IF EXISTS {OWN}."{name}"')


def _relations(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    yield from connection.execute(
        f"""SELECT table_name, if(table_type = 'VIEW', 'VIEW', 'TABLE') FROM information_schema.tables
            WHERE table_catalog = current_database() AND table_schema = '{OWN}'"""
    ).fetchall()


def _make_project(settings: Settings, project: Path) -> None:
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(settings.cdr_own_marts, project / "models")
    nodes = parse(settings).manifest["nodes"].values()
    ours = {node["name"]: node["schema"] for node in nodes if node["resource_type"] in ("model", "seed")}
    (project / "macros").mkdir()
    (project / "macros" / "own.sql").write_text(_MACROS % {"schema": OWN, "ours": ours}, encoding="utf-8")
    (project / "dbt_project.yml").write_text(_PROJECT, encoding="utf-8")
