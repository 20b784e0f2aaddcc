"""After an upgrade, or a change of CDR_COUNTRY, the stored numbers are spelled again and the marts built again."""

from pathlib import Path

import pytest

from cdr_assets.ingest.spelling import spell_numbers
from cdr_assets.warehouse import Warehouse, clear_stale_hours
from cdr_assets_tests.conftest import HOUR, settings_for


def test_numbers_are_spelled_again_when_the_country_changes(tmp_path: Path) -> None:
    said: list[str] = []
    settings = settings_for("https://acme.example/api/", tmp_path)
    with Warehouse(settings.warehouse_path).connect("test") as connection:
        # A new warehouse: nothing to do, nothing said.
        spell_numbers(connection, settings, pytest.fail)
        connection.execute("INSERT INTO cdr.loads (partition_hour) VALUES (?)", [HOUR])
        connection.execute(
            "INSERT INTO cdr.calls (key, partition_hour, callerid, called_num) VALUES "
            "('a', $hour, '2125551234', '1001'), ('b', $hour, NULL, '2125551234')",
            {"hour": HOUR},
        )
        for country, number in (("US", "+12125551234"), ("TR", "+902125551234")):
            connection.execute("CREATE SCHEMA IF NOT EXISTS marts; CREATE TABLE marts.fct_calls (call_key VARCHAR)")
            settings.cdr_country = country
            spell_numbers(connection, settings, said.append)
            assert connection.execute(
                "SELECT callerid_e164, called_num_e164, callerid FROM cdr.calls ORDER BY key"
            ).fetchall() == [(number, "1001", "2125551234"), (None, number, None)]
            assert not connection.execute("FROM duckdb_tables() WHERE schema_name = 'marts'").fetchall()
            assert connection.execute("FROM cdr.stale_hours").fetchall()
            clear_stale_hours(connection)
            spell_numbers(connection, settings, pytest.fail)
            assert not connection.execute("FROM cdr.stale_hours").fetchall()
    assert said == [
        f"reading 2 phone numbers as numbers of {country} (CDR_COUNTRY); the marts are built again"
        for country in ("US", "TR")
    ]
