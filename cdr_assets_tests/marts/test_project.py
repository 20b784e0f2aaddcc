"""What the dbt project promises of itself: descriptions everywhere, rates with their parts, worked figures."""

import json
import re
from typing import Any

import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from cdr_assets.dbt import PROJECT_DIR, manifest_path
from cdr_assets_tests.marts.conftest import Marts

# Every rate and mean of the marts, with the columns that it is made of. What does not add up stands beside its parts.
PARTS = {
    "service_level": ("answered_within_threshold", "answered", "abandoned", "short_abandoned"),
    "service_level_strict": ("answered_within_threshold", "answered", "abandoned"),
    "service_level_2t": ("answered_within_threshold", "answered", "abandoned", "abandoned_within_threshold"),
    "service_level_answered": ("answered_within_threshold", "answered"),
    "service_level_credit": ("answered_within_threshold", "abandoned_within_threshold", "answered", "abandoned"),
    "abandonment_rate": ("abandoned", "offered"),
    "abandonment_rate_long": ("abandoned", "short_abandoned", "offered"),
    "voicemail_rate": ("voicemail", "offered"),
    "wait_seconds_per_offered": ("wait_seconds_offered", "offered"),
    "wait_seconds_per_abandoned": ("wait_seconds_abandoned", "abandoned"),
    "asa_seconds": ("wait_seconds_answered", "answered"),
    "aht_ex_acw_seconds": ("talk_seconds", "answered"),
    "hold_rate": ("held", "answered"),
    "hold_seconds_per_held": ("hold_seconds", "held"),
    "hold_seconds_per_answered": ("hold_seconds", "answered"),
    "transfer_rate": ("transferred", "answered"),
    "missed_rate": ("missed", "assigned"),
    "outbound_connect_rate": ("outbound_answered", "outbound"),
    "agent_hung_up_rate": ("agent_hung_up", "answered"),
    "erlangs": ("busy_seconds", "hour_seconds"),
    "wait_seconds_p50": ("answered_within_5s", "answered_within_1200s", "answered"),
    "wait_seconds_p90": ("answered_within_5s", "answered_within_1200s", "answered"),
    "wait_seconds_p95": ("answered_within_5s", "answered_within_1200s", "answered"),
}
OCCUPANCY = {"agent_hourly": ("busy_seconds", "hour_seconds"), "agent_daily": ("all_talk_seconds", "span_seconds")}


@pytest.fixture(scope="module")
def models() -> dict[str, dict[str, Any]]:
    nodes = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] in ("model", "seed")}


def test_no_rate_without_its_parts(generated: Marts) -> None:
    """Averages of averages can't be needed: whoever has a rate has what to sum and divide."""
    marts = generated.frame(
        """SELECT table_name, list(column_name), list(column_name) FILTER (WHERE data_type = 'DOUBLE')
           FROM duckdb_columns() WHERE schema_name = 'marts' AND table_name NOT LIKE 'fct%' GROUP BY ALL"""
    )
    assert marts.height == 9
    for mart, columns, rates in marts.iter_rows():
        for rate in rates or ():
            parts = OCCUPANCY[mart] if rate == "occupancy" else PARTS[rate]
            assert set(columns).issuperset(parts), f"{mart}.{rate} lacks a part"


def test_a_rate_with_nothing_to_divide_by_is_null(generated: Marts) -> None:
    no_offers = "SELECT count(*) FROM marts.queue_hourly WHERE offered = 0"
    assert generated.one(no_offers) > 0
    assert generated.one(f"{no_offers} AND (service_level IS NOT NULL OR abandonment_rate IS NOT NULL)") == 0


def test_every_model_and_column_is_described(generated: Marts, models: dict[str, dict[str, Any]]) -> None:
    for name, model in models.items():
        built = set(generated.frame(f"DESCRIBE {model['schema']}.{name}")["column_name"])
        described = {column for column, of in model["columns"].items() if of["description"]}
        assert described == built, name
        grain = re.split(r"\. ", model["description"].rstrip("."))[-1]
        assert grain.startswith("One row per "), f"the last sentence on {name} is not its grain: {grain}"


def test_descriptions_are_comments_in_the_warehouse(generated: Marts, models: dict[str, dict[str, Any]]) -> None:
    comments = generated.frame(
        """SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'marts'
           UNION ALL SELECT table_name, '', comment FROM duckdb_tables() WHERE schema_name = 'marts'"""
    )
    for table, column, comment in comments.iter_rows():
        model = models[table]
        assert comment == (model["columns"][column]["description"] if column else model["description"])


def test_worked_figures(generated: Marts, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt's unit tests, over the columns of a real warehouse."""
    monkeypatch.setenv("CDR_WAREHOUSE", str(generated.settings.warehouse_path))
    folder = generated.settings.cdr_data_dir / "dbt"
    where = ["--project-dir", PROJECT_DIR, "--profiles-dir", PROJECT_DIR, "--target-path", folder, "--log-path", folder]
    parsed = Manifest.from_msgpack(manifest_path().with_name("partial_parse.msgpack").read_bytes())
    try:
        with generated.warehouse.held("test"):
            outcome = dbtRunner(parsed).invoke(["test", "--select", "test_type:unit", "--quiet", *map(str, where)])
    finally:
        DuckDBConnectionManager.close_all_connections()
    assert outcome.exception is None
    outcomes = {result.node.name: str(result.status) for result in outcome.result}
    assert len(outcomes) >= 5
    assert set(outcomes.values()) == {"pass"}, outcomes
