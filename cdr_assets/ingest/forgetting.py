"""Forgets a person: removes a number and what is known of its calls from the warehouse, the copy and the reports.

Calls stay, and so do their counts, measures and dates. Which values go is in `transforms/blanking.py`; the list that
keeps later fetches from bringing them back, in `suppression`; Dagster's history, in `orchestration/history.py`.

Each step may be repeated: after a kill, the same command finishes the work.
"""

import datetime as dt
import html
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from cdr_assets.domain.schema import (
    ARRAYS,
    CALL_DATES,
    CALL_NUMBERS,
    CALLS,
    CHILDREN,
    OWN,
    REJECTED_RECORDS,
    TABLES,
    VENDOR_COLUMNS,
    Kind,
    Table,
)
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.building import build_stale_marts, publish_copy
from cdr_assets.ingest.person import Person, searched
from cdr_assets.ingest.spelling import spell_numbers
from cdr_assets.ingest.suppression import read_forgotten, suppress
from cdr_assets.transforms import (
    ITEM,
    Forgotten,
    Members,
    Number,
    Tables,
    blank_bodies,
    blank_json,
    blank_record,
    compress,
    decompress,
    dump,
    members,
    read_pages,
    unescaped,
)
from cdr_assets.warehouse import Warehouse, WarehouseError, mark_calls_stale, stored_calls, transaction
from cdr_assets.warehouse.built import note_built
from cdr_assets.warehouse.rewrite import rewrite

# Calls that are read and written in one portion.
_CALLS_AT_ONCE = 2_000

# Texts, and pages, that are searched in one portion.
_TEXTS_AT_ONCE, _PAGES_AT_ONCE = 20_000, 128

# The columns of a call that are written again: texts, and what is derived from them.
_RENEWED = [
    *(column.name for column in VENDOR_COLUMNS if column.kind is Kind.TEXT and column.name != "key"),
    *(f"{name}_e164" for name in CALL_NUMBERS),
    "extra",
    "content_hash",
]


@dataclass
class Erased:
    """How many rows changed, as in cdr.erasures."""

    calls: int = 0
    items: int = 0
    rejected_records: int = 0
    pages: int = 0
    other_texts: int = 0

    def __str__(self) -> str:
        return (
            f"{self.calls:,} calls with {self.items:,} items, {self.rejected_records:,} rejected records, "
            f"{self.pages:,} raw pages and {self.other_texts:,} other texts"
        )


def forget(settings: Settings, number: str, log: Callable[[str], object]) -> Erased:
    """Forgets the number (in its E.164 form). `log` gets a line for each step.

    Raises WarehouseError if a file cannot be written or the warehouse still holds the number, and DbtError if the marts
    cannot be built.
    """
    warehouse = Warehouse(settings.warehouse_path, log=log)
    began_at, began = dt.datetime.now(dt.UTC), time.monotonic()
    with warehouse.connect("cdr forget") as connection:
        spell_numbers(connection, settings, log)
        person = Person(connection, number)
        if person.is_line:
            log("calls came in on this number as on one of your own lines; there (called_num) it stays")
        # Before anything else, so that what is blanked stays blanked.
        suppress(settings, number, is_line=person.is_line)
        log("blanking calls, rejected records and raw pages")
        erasing = _Erasing(connection, settings, person, began_at)
        erasing.blank_calls()
        erasing.blank_rejected_records()
        erasing.blank_other_texts()
        erasing.blank_pages()
        # An incremental model of the user's own may keep what its sources no longer hold.
        connection.execute(f"DROP SCHEMA IF EXISTS {OWN} CASCADE")
        # So they are built again, also if no call is the caller's.
        note_built(connection, None)
    log("building the marts of these hours, and writing the published copy from scratch")
    with warehouse.held("cdr forget"):
        build_stale_marts(warehouse, settings)
        with warehouse.opened() as connection:
            _blank_figures(connection, person, read_forgotten(settings))
    publish_copy(warehouse, settings, "cdr forget")
    for report in delete_reports(settings, person):
        log(f"deleted the report {report}, which held the number; `cdr report` writes it again")
    log("rewriting the warehouse")
    with warehouse.held("cdr forget"):
        with warehouse.opened() as connection:
            if held := person.tables_that_hold(connection):
                raise WarehouseError(
                    f"the number is still in {', '.join(held)}: a run loaded calls meanwhile; run the command again"
                )
        rewrite(
            warehouse,
            "UPDATE cdr.erasures SET finished_at = ?, seconds = ? WHERE finished_at IS NULL",
            [dt.datetime.now(dt.UTC), round(time.monotonic() - began, 1)],
        )
    return erasing.erased


def forgotten_that_came_back(settings: Settings, log: Callable[[str], object]) -> set[str]:
    """The numbers of the suppression list that the warehouse holds all the same, in their E.164 form.

    They come back with a warehouse of before they were forgotten, and after a kill of `cdr forget`. A line of the
    centre's own is always found, because it stays where it is one.
    """
    forgotten = read_forgotten(settings)
    found: set[str] = set()
    if not forgotten:
        return found
    with Warehouse(settings.warehouse_path, log=log).connect("cdr restore") as connection:
        for texts in _texts(connection):
            is_there = forgotten.which_hold(texts)
            for text in (text for text, holds in zip(texts, is_there, strict=True) if holds):
                found |= forgotten.numbers_in(unescaped(text))
    return found


def _texts(connection: duckdb.DuckDBPyConnection) -> Iterator[list[str]]:
    """All texts of the tables that the pipeline loads, raw pages too, in portions."""
    for table in TABLES:
        for column in searched(table):
            rows = connection.execute(
                f'SELECT DISTINCT "{column.name}"::VARCHAR FROM {table.full_name} WHERE "{column.name}" IS NOT NULL'
            )
            while texts := rows.fetchmany(_TEXTS_AT_ONCE):
                yield [text for (text,) in texts]
    rows = connection.execute("SELECT body, body_size FROM raw.cdr_pages WHERE body IS NOT NULL")
    while pages := rows.fetchmany(_PAGES_AT_ONCE):
        yield [decompress(body, size).decode() for body, size in pages]


def _blank_figures(connection: duckdb.DuckDBPyConnection, person: Person, forgotten: Forgotten) -> None:
    """Blanks names and tags in figures whose calls were deleted (CDR_CALLS_DAYS), so that no build makes them again."""
    columns = connection.execute(
        """SELECT schema_name || '."' || table_name || '"', '"' || column_name || '"'
           FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)
           WHERE database_name = current_database() AND schema_name IN ('marts', 'intermediate')
             AND data_type = 'VARCHAR' AND NOT starts_with(table_name, 'fct_') ORDER BY ALL"""
    ).fetchall()
    with transaction(connection):
        for table, column in columns:
            texts = connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {person.holds(column)}").fetchall()
            for (text,) in texts:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {column} = ?", [forgotten.without(text), text]
                )


def delete_reports(settings: Settings, person: Person) -> list[str]:
    """Deletes the reports whose text holds the number, in a queue's name for instance; returns their names."""
    deleted = []
    for report in sorted(settings.reports_dir.glob("*.html")):
        text = html.unescape(report.read_text(encoding="utf-8", errors="replace"))
        if pl.Series([text]).str.contains(person.pattern).item():
            report.unlink()
            deleted.append(report.name)
    return deleted


class _Erasing:
    """The blanking of one number in an open warehouse."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, person: Person, began_at: dt.datetime
    ) -> None:
        self.erased = Erased()
        self._connection, self._settings, self._person = connection, settings, person
        self._forgotten = read_forgotten(settings)
        if connection.execute("FROM cdr.erasures WHERE finished_at IS NULL").fetchone():
            # Another time, because a run may have read calls since.
            connection.execute("UPDATE cdr.erasures SET began_at = ? WHERE finished_at IS NULL", [began_at])
        else:
            connection.execute(
                "INSERT INTO cdr.erasures BY NAME SELECT ? AS began_at, "
                + ", ".join(f"0 AS {name}" for name in asdict(self.erased)),
                [began_at],
            )
        # The stored calls are about to differ from the pages that they were typed of.
        self._connection.execute("DELETE FROM raw.typed_hours")
        # The next publishing then writes everything, and leaves no earlier copy.
        connection.execute("DELETE FROM raw.published_copy")

    def blank_calls(self) -> None:
        for keys in self._person.keys(self._connection).to_frame().iter_slices(_CALLS_AT_ONCE):
            stored = stored_calls(self._connection, [], keys["key"])
            blank, typed = _blanked(stored, self._forgotten, self._settings)
            items = {name: getattr(typed, name) for name in CHILDREN}
            with transaction(self._connection):
                mark_calls_stale(self._connection, keys["key"])
                self._replace(CALLS.full_name, stored["calls"], blank)
                for name, table in CHILDREN.items():
                    self._replace(table.full_name, stored[name], items[name])
                self._note(calls=blank.height, items=sum(rows.height for rows in items.values()))

    def blank_rejected_records(self) -> None:
        condition = self._person.in_row(REJECTED_RECORDS)
        rows = self._connection.execute(
            f"SELECT rowid, record, reason FROM cdr.rejected_records WHERE {condition}"
        ).fetchall()
        with transaction(self._connection):
            for row, record, reason in rows:
                self._connection.execute(
                    "UPDATE cdr.rejected_records SET record = ?, reason = ? WHERE rowid = ?",
                    [blank_json(record, self._forgotten), self._forgotten.without(reason), row],
                )
            self._note(rejected_records=len(rows))

    def blank_other_texts(self) -> None:
        done = (CALLS, *CHILDREN.values(), REJECTED_RECORDS)
        with transaction(self._connection):
            for table in TABLES:
                for column in searched(table) if table not in done else ():
                    condition = self._person.holds(f'"{column.name}"::VARCHAR')
                    texts = self._connection.execute(
                        f'SELECT "{column.name}", count(*) FROM {table.full_name} WHERE {condition} GROUP BY ALL'
                    ).fetchall()
                    for text, count in texts:
                        self._connection.execute(
                            f'UPDATE {table.full_name} SET "{column.name}" = ? WHERE "{column.name}" = ?',
                            [self._forgotten.without(text), text],
                        )
                        self._note(other_texts=count)
            # Two names may be one now.
            self._connection.execute(
                """DELETE FROM cdr.unknown_fields WHERE rowid NOT IN (
                       SELECT min(rowid) FROM cdr.unknown_fields GROUP BY table_name, name, type)"""
            )

    def blank_pages(self) -> None:
        for page in list(self._person.pages(self._connection)):
            (body,) = blank_bodies([page["body"]], self._forgotten)
            if body != page["body"]:
                with transaction(self._connection):
                    self._connection.execute(
                        "UPDATE raw.cdr_pages SET body = ?, body_size = ? WHERE rowid = ?",
                        [compress(body), len(body), page["rowid"]],
                    )
                    self._note(pages=1)

    def _replace(self, table: str, old: pl.DataFrame, new: pl.DataFrame) -> None:
        self._connection.register("old_rows", old.select("key", "partition_hour").unique())
        self._connection.register("new_rows", new)
        self._connection.execute(
            f"""DELETE FROM {table} WHERE partition_hour IN (SELECT partition_hour FROM old_rows)
                AND key IN (SELECT key FROM old_rows)"""
        )
        self._connection.execute(f"INSERT INTO {table} BY NAME FROM new_rows")
        self._connection.unregister("old_rows")
        self._connection.unregister("new_rows")

    def _note(self, **changed: int) -> None:
        for name, count in changed.items():
            setattr(self.erased, name, getattr(self.erased, name) + count)
            self._connection.execute(f"UPDATE cdr.erasures SET {name} = {name} + ? WHERE finished_at IS NULL", [count])


def _blanked(stored: dict[str, pl.DataFrame], forgotten: Forgotten, settings: Settings) -> tuple[pl.DataFrame, Tables]:
    """The stored calls (tables by name), blanked: rows of cdr.calls, and the tables of their items.

    Each call becomes a record as the vendor sent it, is blanked and typed: so it is equal to the call that is fetched
    again, in its content hash too.
    """
    calls = stored["calls"]
    items: dict[str, dict[str, list[Any]]] = {
        name: {
            key: [_item(table, item) for item in rows.iter_rows(named=True)] for (key,), rows in _by_key(stored[name])
        }
        for name, table in CHILDREN.items()
    }
    records = [blank_record(_record(call, items, settings.zone), forgotten) for call in calls.iter_rows(named=True)]
    bodies = ['{"CallList":[' + dump(record) + "]}" for record in records]
    pages = calls.select("partition_hour", "fetched_at").with_columns(
        pl.Series("body", [compress(body.encode()) for body in bodies], dtype=pl.Binary),
        pl.Series("body_size", [len(body.encode()) for body in bodies], dtype=pl.Int64),
        page_number=pl.int_range(pl.len(), dtype=pl.Int32),
        window_start=None,
        window_finish=None,
        record_count=1,
        arrays=pl.concat_str(
            (pl.when(calls[f"{name}_count"].is_not_null()).then(pl.lit(name)).otherwise(pl.lit("")) for name in ARRAYS),
            separator=",",
        ),
    )
    typed = read_pages(pages, settings.alotech_timezone, settings.cdr_country)
    keys = calls["key"].to_list()
    blank = calls.drop(_RENEWED).with_columns(
        pl.Series("key", [forgotten.reference(key) for key in keys], dtype=pl.String)
    )
    return blank.join(typed.calls.select("key", *_RENEWED), on="key", how="left"), typed


def _record(call: dict[str, Any], items: dict[str, dict[str, list[Any]]], zone: ZoneInfo) -> Members:
    """The record of a stored call, in which each field has the value that the call's columns were read from."""
    record: dict[str, Any] = {}
    for column in VENDOR_COLUMNS:
        value = call[column.name]
        if value is not None and column.name in CALL_DATES:
            instant = call[f"{column.name}_utc"]
            local = instant.astimezone(zone) if instant is not None else None
            # With its offset, because one time of the wall clock may be two instants.
            value = (local if local and local.replace(tzinfo=None) == value else value).isoformat()
        elif isinstance(value, int) and not isinstance(value, bool):
            value = Number(value)
        record[column.name] = value
    record |= {name: items[name].get(call["key"], []) for name in ARRAYS if call[f"{name}_count"] is not None}
    record |= dict(members(call["extra"] or "{}"))
    return Members(record.items())


def _item(table: Table, item: dict[str, Any]) -> Any:
    """The item of a stored row, in which a field of each column has the column's value."""
    extra: dict[str, Any] = dict(members(item["extra"] or "{}"))
    told: dict[str, Any] = {}
    for column in table.columns:
        value = item[column.name]
        if column.names and value is not None:
            # A field in `extra` is one that the column was not read from.
            name = next((name for name in column.names if name not in extra), column.names[0])
            is_whole = isinstance(value, float) and value.is_integer()
            told[name] = Number(int(value) if is_whole else value) if column.kind is Kind.NUMBER else str(value)
    if not told and extra.keys() == {ITEM}:
        return extra[ITEM]
    return Members((told | extra).items())


def _by_key(rows: pl.DataFrame) -> Any:
    return rows.sort("key", "position").group_by("key", maintain_order=True)
