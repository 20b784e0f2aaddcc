"""What Dagster is told: it loads without network and secrets, and says what the public names promise."""

from pathlib import Path

from dagster import AssetKey, DefaultScheduleStatus, DefaultSensorStatus, Definitions

from cdr_assets.definitions import build_defs
from cdr_assets.settings import Settings

MARTS = {
    "dim_queues", "dim_agents", "dim_hours", "fct_calls", "fct_contacts", "fct_call_events", "fct_csat_answers",
    "fct_call_tags", "queue_hourly", "queue_daily", "agent_hourly", "agent_daily", "concurrency_hourly", "tag_daily",
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
    # Nothing was written or asked.
    assert not (tmp_path / "data").exists()


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
