"""Fetches and loads hours as the assets do, but without Dagster, and computes what the warehouse should then hold.

Only `fetch` and `load` call the functions of the pipeline. The expected calls come from the slow reference reader of
records and from `reload`, a model of loading an hour in a few lines of plain Python.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
from dagster import HourlyPartitionsDefinition

from cdr_assets.alotech import AlotechClient, Filters, Page
from cdr_assets.domain.hours import Hour
from cdr_assets.ingest.fetching import Fetch, fetch_all, fetch_of, pages_frame
from cdr_assets.ingest.loading import load_of_hours
from cdr_assets.orchestration.partitions import hours_between
from cdr_assets.transforms import read_pages
from cdr_assets.warehouse import add_failed_fetches, load_hours, read_pages_of, replace_pages
from cdr_assets_tests.transforms.reference import ARRAYS, read_record


def hours_from(start: dt.datetime, finish: dt.datetime, time_zone: str) -> list[Hour]:
    """The pipeline's partitions that begin in [start, finish), local times without a zone."""
    zone = ZoneInfo(time_zone)
    partitions = HourlyPartitionsDefinition(start_date=start.strftime("%Y-%m-%d-%H:%M"), timezone=time_zone)
    now = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    return hours_between(partitions, start.replace(tzinfo=zone), finish.replace(tzinfo=zone), now)


@dataclass
class Fetched:
    """The result of fetching hours: for each its pages, or the line that says why it failed."""

    pages: dict[Hour, list[Page]] = field(default_factory=dict)
    failed: dict[Hour, str] = field(default_factory=dict)


def fetch(client: AlotechClient, hours: Sequence[Hour], sorting: str = "asc") -> Fetched:
    fetched = Fetched()
    of_fetch = {fetch_of(hour): hour for hour in hours}

    def fail(fetch: Fetch, reason: str) -> None:
        fetched.failed[of_fetch[fetch]] = reason

    for portion in fetch_all(client, of_fetch, Filters(), fail, at_once=1, sorting=sorting):
        fetched.pages |= {of_fetch[each]: pages for each, pages in portion.items()}
    return fetched


def load(connection: duckdb.DuckDBPyConnection, fetched: Fetched, time_zone: str, run_id: str = "run") -> None:
    if fetched.failed:
        add_failed_fetches(connection, {hour.start: line for hour, line in fetched.failed.items()}, run_id, None)
    if fetched.pages:
        hours = list(fetched.pages)
        of_fetches = {fetch_of(hour): pages for hour, pages in fetched.pages.items()}
        replace_pages(connection, pages_frame(of_fetches, Filters().arrays(), run_id=run_id))
        pages = read_pages_of(connection, [hour.start for hour in hours])
        read = read_pages(pages, time_zone)
        load_hours(connection, load_of_hours(pages, read, hours, ZoneInfo(time_zone)), run_id)


@dataclass
class Stored:
    """A call in the warehouse: the hour of its partition, its fields and items, and whether it has vanished."""

    hour: dt.datetime
    call: dict[str, Any]
    items: dict[str, list[dict[str, Any]]]
    has_vanished: bool = False


def stored_calls(connection: duckdb.DuckDBPyConnection) -> dict[str, Stored]:
    """Every call of the warehouse by key, in the shape of the reference reader. Fails if a key comes twice."""
    calls: dict[str, Stored] = {}
    for row in (
        connection.execute("SELECT * EXCLUDE (content_hash, fetched_at, callerid_e164, called_num_e164) FROM cdr.calls")
        .pl()
        .to_dicts()
    ):
        assert row["key"] not in calls
        hour, vanished_at = row.pop("partition_hour"), row.pop("vanished_at")
        row["extra"] = None if row["extra"] is None else json.loads(row["extra"])
        row["set_aside"] = json.loads(row["set_aside"] or "{}")
        calls[row["key"]] = Stored(hour, row, {name: [] for name in ARRAYS}, vanished_at is not None)
    for name in ARRAYS:
        for row in connection.execute(f"SELECT * FROM cdr.{name} ORDER BY key, position").pl().to_dicts():
            call = calls[row.pop("key")]
            assert row.pop("partition_hour") == call.hour
            call.items[name].append(row | {"extra": None if row["extra"] is None else json.loads(row["extra"])})
    return calls


def reload(
    before: Mapping[str, Stored], records: Iterable[Any], hours: Iterable[Hour], time_zone: str
) -> dict[str, Stored]:
    """The calls that the warehouse should hold after loading some hours, from those `before` and those listed now.

    If several records have the same key, the last one counts. A call of these hours that the API no longer lists is
    kept and marked as vanished. A listed call that was stored under another hour moves to the hour that lists it, but
    not from a later hour to an earlier one while the later hour is not loaded again. All other calls stay unchanged.
    """
    windows = {(hour.start, hour.finish) for hour in hours}

    def hour_of(calldate: dt.datetime) -> dt.datetime | None:
        return next((start for start, finish in windows if start <= calldate < finish), None)

    listed = {}
    for read in (read_record(record, time_zone, ARRAYS) for record in records):
        hour = hour_of(read.call["calldate"])
        if hour is not None:
            listed[read.call["key"]] = Stored(hour, read.call, read.items)
    starts = {start for start, _ in windows}
    for key, call in before.items():
        if key in listed and listed[key].hour < call.hour and call.hour not in starts and not call.has_vanished:
            del listed[key]
    kept = {key: replace(call, has_vanished=call.has_vanished or call.hour in starts) for key, call in before.items()}
    return kept | listed


def assert_loads_balance(connection: duckdb.DuckDBPyConnection) -> None:
    """Every served record is counted in a column, and every hour holds as many calls as its newest load says."""
    loads = connection.execute("FROM cdr.loads WHERE error IS NULL ORDER BY fetched_at, loaded_at").pl().to_dicts()
    for row in loads:
        assert row["served"] == row["loaded"] + row["repeated"] + row["outside_window"] + row["rejected"], row
        assert row["requests"] == row["pages"] + row["retries"], row
    calls = connection.execute("SELECT partition_hour FROM cdr.calls WHERE vanished_at IS NULL").fetchall()
    held = dict.fromkeys((row["partition_hour"] for row in loads), 0)
    for (hour,) in calls:
        held[hour] += 1
    assert held == {row["partition_hour"]: row["loaded"] - row["moved"] for row in loads}
    rejected = connection.execute("SELECT partition_hour, count(*) FROM cdr.rejected_records GROUP BY ALL").fetchall()
    newest = {row["partition_hour"]: row["rejected"] for row in loads}
    assert {hour: count for hour, count in newest.items() if count} == dict(rejected)


def rows_by_hour(connection: duckdb.DuckDBPyConnection) -> dict[dt.datetime, dict[str, pl.DataFrame]]:
    """All rows of each hour in the warehouse, except cdr.loads, with the times at which they were loaded."""
    tables = ("raw.cdr_pages", "cdr.calls", *(f"cdr.{name}" for name in ARRAYS), "cdr.rejected_records")
    hours: dict[dt.datetime, dict[str, pl.DataFrame]] = {}
    for table in tables:
        frame = connection.execute(f"SELECT * FROM {table} ORDER BY ALL").pl()
        for (hour,), rows in frame.partition_by("partition_hour", as_dict=True).items():
            hours.setdefault(hour, {})[table] = rows
    return hours


def pages_of(records: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(records), size):
        yield records[first : first + size]
