"""Every dbt test can fail: spoiled marts fail all of them, sound marts fail none."""

import shutil
from pathlib import Path

from cdr_assets.marts.build import build
from cdr_assets_tests.marts.built import Marts

_ALL_DATA_TESTS = ("test_type:data",)


# Every table of the schema marts, and its view.
_TABLES = (
    "dim_queues", "dim_agents", "dim_hours", "dim_intervals", "fct_calls", "fct_contacts", "fct_call_events",
    "fct_rings", "fct_csat_answers", "fct_call_tags", "queue_interval", "queue_hourly", "queue_daily",
    "agent_interval", "agent_hourly", "agent_daily", "agent_queue_daily", "concurrency_interval",
    "concurrency_hourly", "staffing_interval", "tag_daily", "csat_daily", "csat_tag_daily", "patience",
)  # fmt: skip


def outcomes(marts: Marts) -> dict[str, tuple[str, int]]:
    """Runs every data test over all rows, not only over stale hours; returns how each ended, with its failing rows."""
    results = build(marts.settings, _ALL_DATA_TESTS, full_refresh=True)
    return {result.unique_id.split(".")[2]: (result.status, result.failures) for result in results}


def spoil(marts: Marts) -> None:
    spoiled = [
        # Duplicate rows break the test of keys, one in each table.
        *(f"INSERT INTO marts.{table} FROM marts.{table} LIMIT 1" for table in _TABLES if table != "fct_call_events"),
        "INSERT INTO cdr.call_history FROM cdr.call_history LIMIT 1",
        "UPDATE marts.fct_calls SET is_other_exit = true WHERE is_answered",
        "UPDATE marts.queue_hourly SET voicemail = voicemail + 1",
        "UPDATE marts.queue_interval SET offered = offered + 1",
        "UPDATE marts.staffing_interval SET target_share = 0.9",
        "UPDATE marts.agent_hourly SET busy_seconds = busy_seconds + 1",
        "UPDATE marts.concurrency_hourly SET peak = 0",
        "UPDATE marts.tag_daily SET calls = calls + 1",
        "DELETE FROM marts.fct_contacts WHERE legs > 1",
        "UPDATE intermediate.queue_days SET longest_wait_within = 1000, is_configured = true",
    ]
    with marts.warehouse.connect("test") as connection:
        for statement in spoiled:
            connection.execute(statement)


def test_every_check_of_spoiled_marts_fails(generated: Marts, tmp_path: Path) -> None:
    marts = Marts(tmp_path, generated.settings.alotech_timezone)
    shutil.copy(generated.settings.warehouse_path, marts.settings.warehouse_path)
    # In the generated centre, two agents share a name, clocks differ and sl flags are edited at random, so these warn.
    assert {name: status for name, (status, _) in outcomes(marts).items() if status != "pass"} == {
        "display_names_unambiguous": "warn",
        "fct_calls_identities": "warn",
        "thresholds_agree_with_flags": "warn",
    }
    spoil(marts)
    spoiled = outcomes(marts)
    assert {name for name, (status, _) in spoiled.items() if status in ("pass", "skipped")} == set()
    assert spoiled["keys"] == ("fail", len(_TABLES))
