"""Own marts: dbt models in the user's folder (CDR_OWN_MARTS), built after ours, which are in `build`.

Their folder is copied into a separate dbt project in the data folder, so that a model that cannot be parsed stops only
the own marts. `ref` finds our models and theirs. All their tables go to the schema `own`, and a table is dropped when
its file is removed. Upgrades of cdr_assets do not change the user's folder.
"""

import hashlib
import shutil
from pathlib import Path

import duckdb

from cdr_assets.domain.schema import OWN
from cdr_assets.domain.settings import Settings
from cdr_assets.marts.build import DbtError, parse, run_dbt, written_to

_PROJECT = """\
name: own_marts
version: "1.0.0"
profile: cdr_marts
models: {+materialized: table}
"""

# dbt's own `ref` does not find our models, because they belong to another project. And users may choose neither schema
# nor alias: a table queue_daily in our schema would replace the mart, and `drop_other_tables` needs the files' names.
_MACROS = """\
{%% macro generate_schema_name(custom_schema_name, node) %%}%(schema)s{%% endmacro %%}
{%% macro generate_alias_name(custom_alias_name, node) %%}{{ node.name }}{%% endmacro %%}

{%% macro ref(name) %%}
    {%%- set ours = %(ours)s -%%}
    {%%- if name in ours -%%}
        {%%- do return(api.Relation.create(database="warehouse", schema=ours[name], identifier=name)) -%%}
    {%%- endif -%%}
    {%%- do return(builtins.ref(name)) -%%}
{%% endmacro %%}
"""


def own_made_of(settings: Settings) -> str:
    """A hash of the files of the own marts."""
    files = sorted(path for path in settings.cdr_own_marts.rglob("*") if path.is_file())
    return hashlib.sha256(repr([(str(path), path.read_bytes()) for path in files]).encode()).hexdigest()


def build_own(settings: Settings) -> list[str]:
    """Builds and tests the own marts; returns one line for each failure. The caller must hold the warehouse.

    If a model fails, its old table stays. Errors in the user's files do not raise.
    """
    sources = settings.cdr_own_marts
    if not any(sources.rglob("*.sql")):
        return []
    folder = settings.cdr_data_dir / "dbt" / OWN
    try:
        _make_project(settings, folder / "project")
        results = run_dbt(settings, folder / "project", ["build", *written_to(folder)])
    except (DbtError, OSError) as error:
        return [f"the models in {sources} could not be read and keep what they held: {error}"]
    return [
        f"{result.unique_id.split('.')[2]}: {result.message}"
        for result in results
        if result.status in ("error", "fail", "warn", "skipped")
    ]


def drop_other_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Drops the tables and views in the schema `own` whose model no longer exists."""
    models = {path.stem for path in settings.cdr_own_marts.rglob("*.sql")}
    relations = connection.execute(
        f"""SELECT table_name, if(table_type = 'VIEW', 'VIEW', 'TABLE') FROM information_schema.tables
            WHERE table_catalog = current_database() AND table_schema = '{OWN}'"""
    ).fetchall()
    for name, kind in relations:
        if name not in models:
            connection.execute(f'DROP {kind} IF EXISTS {OWN}."{name}"')


def _make_project(settings: Settings, project: Path) -> None:
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(settings.cdr_own_marts, project / "models")
    nodes = parse(settings).manifest["nodes"].values()
    ours = {node["name"]: node["schema"] for node in nodes if node["resource_type"] in ("model", "seed")}
    (project / "macros").mkdir()
    (project / "macros" / "own.sql").write_text(_MACROS % {"schema": OWN, "ours": ours}, encoding="utf-8")
    (project / "dbt_project.yml").write_text(_PROJECT, encoding="utf-8")
