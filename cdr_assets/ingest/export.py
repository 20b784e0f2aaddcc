"""Answers a person's request for their data: everything that the warehouse holds about a phone number, as JSON.

The calls of the person come whole. Of other calls and texts that mention the number only the place is told, because the
rest of them is about others. How the person is found is in `person`.
"""

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from cdr_assets.domain.schema import CDR_PAGES, CHILDREN, TABLES
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.person import Person, searched
from cdr_assets.ingest.spelling import spell_numbers
from cdr_assets.transforms import forgotten_of, records_of
from cdr_assets.warehouse import Warehouse, WarehouseError

# What says where a text is.
_PLACES = ("partition_hour", "key", "page_number", "position")


def export(settings: Settings, number: str) -> tuple[str, int]:
    """The JSON, and how many calls it has. Raises WarehouseError if there is no warehouse.

    `calls`: rows of cdr.calls with their events, answers and tags. `records`: the vendor's records of the person's
    calls in the stored pages, rejected ones too, each once. `mentioned_in`: other places that hold the number.
    """
    if not settings.warehouse_path.exists():
        raise WarehouseError(f"there is no {settings.warehouse_path} yet, so that nothing is held")
    with Warehouse(settings.warehouse_path).connect("cdr export") as connection:
        spell_numbers(connection, settings, lambda _: None)
        person = Person(connection, number)
        calls = _rows(connection, f"FROM cdr.calls WHERE {person.is_theirs} ORDER BY calldate, key")
        for name, table in CHILDREN.items():
            items: dict[str, list[dict[str, Any]]] = {}
            for row in _rows(
                connection,
                f"FROM {table.full_name} WHERE key IN (SELECT key FROM cdr.calls WHERE {person.is_theirs}) "
                "ORDER BY key, position",
            ):
                items.setdefault(row.pop("key"), []).append(row)
            for call in calls:
                call[name] = items.get(call["key"], [])
        records, pages = _in_pages(connection, person, settings)
        mentions = [*_mentions(connection, person), *pages]
    found = {"number": number, "calls": calls, "records": records, "mentioned_in": mentions}
    return json.dumps(found, ensure_ascii=False, indent=2, default=str) + "\n", len(calls)


def _in_pages(
    connection: duckdb.DuckDBPyConnection, person: Person, settings: Settings
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The person's records in the stored pages, and the places of pages where only other records mention the number."""
    forgotten = forgotten_of(person.number, settings.cdr_country)
    records: dict[str, Any] = {}
    places = []
    for page in person.pages(connection):
        theirs = records_of(page["body"], forgotten)
        records |= {record: json.loads(record) for record in theirs}
        if not theirs:
            places.append({"table": CDR_PAGES.full_name, **{name: page[name] for name in _PLACES if name in page}})
    return list(records.values()), places


def _mentions(connection: duckdb.DuckDBPyConnection, person: Person) -> Iterator[dict[str, Any]]:
    """The places of other texts that hold the number."""
    for table in TABLES:
        names = [column.name for column in table.columns]
        others = f"key NOT IN (SELECT key FROM cdr.calls WHERE {person.is_theirs})" if "key" in names else "true"
        place = ", ".join(name for name in _PLACES if name in names) or "0 AS row"
        for column in searched(table):
            condition = person.in_row(table, column)
            query = f"SELECT {place} FROM {table.full_name} WHERE {condition} AND {others} ORDER BY ALL"
            rows = _rows(connection, query)
            yield from ({"table": table.full_name, "column": column.name, **row} for row in rows)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.execute(query).pl().to_dicts()
