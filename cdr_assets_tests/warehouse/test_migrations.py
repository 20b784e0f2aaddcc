"""A warehouse of an older version is upgraded when it is opened, and then equals a new one."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from cdr_assets.domain.hours import Hour
from cdr_assets.domain.schema import TABLES
from cdr_assets.ingest.loading import load_of_hours
from cdr_assets.transforms import read_pages
from cdr_assets.warehouse import Warehouse, WarehouseError, load_hours, read_pages_of
from cdr_assets.warehouse.migrations import MIGRATIONS, SCHEMA_VERSION

HOUR = dt.datetime(2026, 3, 2, 5)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "cdr.duckdb"
    connection = duckdb.connect()
    connection.execute(f"ATTACH '{path}' AS warehouse (STORAGE_VERSION 'v1.5.0')")
    connection.execute("USE warehouse")
    connection.execute((Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def test_every_version_has_a_way_forward() -> None:
    assert list(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_a_warehouse_of_version_1_goes_on(old: Path) -> None:
    ends_at = dt.datetime(2026, 3, 2, 3, tzinfo=dt.UTC)
    hour = Hour("2026-03-02-05:00", HOUR, HOUR + dt.timedelta(hours=1), ends_at, False, HOUR)
    with Warehouse(old).connect("test") as connection:
        assert connection.execute("FROM raw.warehouse").fetchall() == [(SCHEMA_VERSION, "acme.alo-tech.com", None)]
        for table in TABLES:
            columns = connection.execute(
                """SELECT column_name, data_type, comment FROM duckdb_columns() WHERE schema_name = ?
                   AND table_name = ? AND database_name = current_database()""",
                [table.schema, table.name],
            ).fetchall()
            declared = {
                (column.name, column.kind.value.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"), column.description)
                for column in table.columns
            }
            assert set(columns) == declared

        # The stored pages are read as if fetched today, and the call is written once in its new form.
        pages = read_pages_of(connection, [HOUR])
        read = read_pages(pages, "Europe/Istanbul")
        assert read.calls.select("key", "queue", "duration").rows() == [("k1", "Satış", 60)]
        for changed in (1, 0):
            loads = load_hours(connection, load_of_hours(pages, read, [hour], ZoneInfo("Europe/Istanbul")), "r2")
            assert loads.select("loaded", "new", "changed", "vanished").rows() == [(1, 0, changed, 0)]
        assert connection.execute("SELECT key, tag FROM cdr.call_tags").fetchall() == [("k1", "iade")]
        assert connection.execute("SELECT count(*) FROM cdr.calls").fetchall() == [(1,)]


def test_items_without_pages_keep_what_no_column_tells(old: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{old}' AS warehouse")
        connection.execute("USE warehouse")
        connection.execute("DELETE FROM raw.cdr_pages; DELETE FROM cdr.call_tags")
        for position, (tag, item) in enumerate(
            [
                ("a", '"a"'),
                ("a", '{"tag": "a", "by": "me", "n": 1.50, "x": null, "label": ""}'),
                ("b", '{"tag": " ", "label": "b"}'),
                (None, '{"tag": {"deep": [1]}}'),
                (None, "[1]"),
                (None, "null"),
                (None, "{}"),
            ]
        ):
            connection.execute("INSERT INTO cdr.call_tags VALUES ('k1', ?, ?, ?, ?)", [HOUR, position, tag, item])
    with Warehouse(old).connect("test") as connection:
        assert connection.execute("SELECT extra FROM cdr.call_tags ORDER BY position").fetchall() == [
            (None,),
            ('{"by":"me","n":1.5}',),
            (None,),
            ('{"tag":{"deep":[1]}}',),
            ('{"(item)":[1]}',),
            (None,),
            (None,),
        ]


def test_a_reader_does_not_change_an_older_warehouse(old: Path) -> None:
    before = old.read_bytes()
    with (
        pytest.raises(WarehouseError, match="made by an older version of cdr_assets; any run brings it forward"),
        Warehouse(old).connect("test", read_only=True),
    ):
        pass
    assert old.read_bytes() == before
