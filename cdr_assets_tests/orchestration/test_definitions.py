"""The definitions load without network and secrets, and hold the public names with their descriptions."""

import os
import subprocess
import sys
from pathlib import Path

from dagster import AssetKey, DefaultScheduleStatus, DefaultSensorStatus, Definitions

from cdr_assets.definitions import build_defs
from cdr_assets.domain.schema import TABLES
from cdr_assets.domain.settings import Settings
from cdr_assets.marts.build import parse
from cdr_assets_tests.conftest import share_parsed

MARTS = {
    "dim_queues", "dim_agents", "dim_hours", "fct_calls", "fct_contacts", "fct_call_events", "fct_rings",
    "fct_transfers", "fct_callbacks", "fct_csat_answers", "fct_call_tags", "queue_hourly", "queue_daily",
    "agent_hourly", "agent_daily", "agent_queue_daily", "concurrency_hourly", "tag_daily",
}  # fmt: skip


def test_the_location_loads_and_has_the_public_names(tmp_path: Path) -> None:
    defs = build_defs(Settings(cdr_data_dir=tmp_path / "data"))
    Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    keys = set(defs.resolve_asset_graph().get_all_asset_keys())
    calls = [["cdr", name] for name in ("calls", "call_history", "csat_answers", "call_tags")]
    named = [["raw", "cdr_pages"], *calls, ["published", "cdr"], *(["marts", name] for name in MARTS)]
    assert {AssetKey(key) for key in named} <= keys
    assert repository.has_job("hourly")
    assert repository.get_schedule_def("hourly").default_status is DefaultScheduleStatus.RUNNING
    assert repository.get_sensor_def("gaps").default_status is DefaultSensorStatus.RUNNING
    # Loading wrote nothing and made no request. The tests keep the parsed dbt project elsewhere.
    assert not (tmp_path / "data").exists()


def test_every_asset_has_an_owner(tmp_path: Path) -> None:
    graph = build_defs(Settings(cdr_data_dir=tmp_path / "data")).resolve_asset_graph()
    ours = {key: graph.get(key).owners for key in graph.get_all_asset_keys()}
    assert len(ours) > 20
    assert set(map(tuple, ours.values())) == {("team:call-centre-data",)}


def test_no_run_of_assets_fetches_what_only_the_audit_compares(tmp_path: Path) -> None:
    """The UI starts runs of selected assets with all of their checks."""
    of_the_ui = build_defs(Settings(cdr_data_dir=tmp_path / "data")).get_repository_def()
    job = of_the_ui.get_implicit_global_asset_job_def()
    assets = job.get_subset(asset_selection=set(job.asset_layer.executable_asset_keys))
    assert "row_counts" in {node.name for node in assets.nodes}
    assert "audit_checks" not in {node.name for node in assets.nodes}


def test_every_table_tells_its_columns_and_what_they_are(tmp_path: Path) -> None:
    graph = build_defs(Settings(cdr_data_dir=tmp_path / "data")).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        if key.path[0] in ("raw", "cdr", "marts"):
            schema = node.metadata["dagster/column_schema"]
            columns = getattr(schema, "schema", schema).columns
            assert columns, key
            assert all(column.description for column in columns), key
            assert all(column.type not in ("", "?", "string") for column in columns), key


def test_every_column_of_the_marts_tells_what_it_is_made_of(tmp_path: Path) -> None:
    graph = build_defs(Settings(cdr_data_dir=tmp_path / "data")).resolve_asset_graph()

    def columns_of(mart: str) -> dict[str, str]:
        schema = graph.get(AssetKey(["marts", mart])).metadata["dagster/column_schema"]
        return {column.name: column.description for column in getattr(schema, "schema", schema).columns}

    for mart in MARTS:
        # Columns that come from no column: counts of rows, and the kind of concurrency.
        without = {"calls", "legs", "open_calls", "kind", "rings"}
        assert {name for name, told in columns_of(mart).items() if " From " not in told} <= without, mart
    assert columns_of("queue_interval")["asa_seconds"].endswith(" From marts.fct_calls: is_answered, wait_seconds.")
    # Lineage through a coalesce over all columns, and through an unnested struct.
    assert columns_of("agent_interval")["missed"].endswith(" From marts.fct_calls: is_missed.")
    assert columns_of("fct_contacts")["callerid"].endswith(" From marts.fct_calls: callerid.")
    assert columns_of("fct_csat_answers")["is_top_two"].endswith(" From cdr.csat_answers: scale, score.")


def test_lineage_names_columns_that_are_there() -> None:
    lineage = parse(Settings()).lineage
    known = {table.full_name: {column.name for column in table.columns} for table in TABLES}
    known |= {model: set(columns) for model, columns in described_columns().items()}
    assert {f"marts.{mart}" for mart in MARTS} <= set(lineage)
    for model, columns in lineage.items():
        assert set(columns) <= known[model], model
        for origins in columns.values():
            for table, column in origins:
                assert column in known[table], (model, table, column)


def described_columns() -> dict[str, list[str]]:
    nodes = parse(Settings()).manifest["nodes"].values()
    return {f"{node['schema']}.{node['name']}": list(node["columns"]) for node in nodes}


def test_every_test_of_dbt_is_a_check(tmp_path: Path) -> None:
    """Also a test that does not read its own model, like the one for silent changes of thresholds."""
    manifest = parse(Settings()).manifest
    tests = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "test"}
    graph = build_defs(Settings(cdr_data_dir=tmp_path / "data")).resolve_asset_graph()
    checks = {
        key.name: graph.get(key).blocking
        for key in graph.asset_check_keys
        if key.asset_key.path[0] in ("marts", "intermediate", "staging")
    }
    assert checks == {name: node["config"]["severity"] == "ERROR" for name, node in tests.items()}
    assert "thresholds_agree_with_flags" in checks


def test_the_location_loads_without_what_only_a_build_needs(tmp_path: Path) -> None:
    """Importing dbt takes longer than all other imports together, and only a build needs it."""
    code = "import sys, cdr_assets.definitions as d; d.build_defs(); print(*sys.modules)"
    environment = os.environ | {"CDR_DATA_DIR": str(share_parsed(tmp_path / "data"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"dbt", "sqlglot", "altair", "networkx"} & set(done.stdout.split())


def test_only_processes_of_our_own_get_our_umask(tmp_path: Path) -> None:
    """`defs` is what Dagster's processes load for us; `build_defs` may be part of somebody else's code location."""
    script = (
        "import os; from cdr_assets.definitions import build_defs, defs\n"
        "def umask():\n    found = os.umask(0o022); os.umask(found); return found\n"
        "os.umask(0o022); build_defs(); print(oct(umask()))\n"
        "defs(); print(oct(umask()))\n"
    )
    environment = os.environ | {"CDR_DATA_DIR": str(share_parsed(tmp_path / "data"))}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0o22", "0o77"]
