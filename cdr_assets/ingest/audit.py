"""The audit: reads hours again from the API and compares them with the warehouse. It writes nothing.

A difference is excused as long as a schedule will still read it: the look-backs of an hour end about three days after
it, the sweep of survey answers about thirty. A later difference, or one in an hour that was never loaded, is due: it
should not exist. Records that cannot become a call are reported, because the warehouse does not have them either.

Forgotten callers are blanked in what the API lists, as in the warehouse, and make no difference.

How calls are compared is `transforms/comparison.py`; the command and the check that report it are in `cli` and
`orchestration`.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from cdr_assets.alotech import AlotechClient, Filters
from cdr_assets.domain.hours import HOUR, Hour
from cdr_assets.domain.lateness import CSAT_OVER, LOOK_BACK_OVER
from cdr_assets.domain.schema import REJECTED_RECORDS
from cdr_assets.ingest.fetching import Alotech, Fetch, fetch_all, fetch_from, fetch_of, pages_frame
from cdr_assets.ingest.suppression import read_forgotten
from cdr_assets.transforms import DIFFERENCES, Tables, differences, read_hours
from cdr_assets.warehouse import Warehouse, check_source, hours_never_loaded, stored_calls
from cdr_assets.warehouse.retention import calls_kept_from

_FINDINGS = ("late change", "missing", "unknown")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    `hours`, `calls`: how many were compared. `differences`: partition_hour, key, finding, fields (see
    `transforms/comparison.py`) and is_due. `rejected`: listed records that cannot become a call (columns of
    cdr.rejected_records). `elsewhere`: number of records that belong to other hours than the requested ones. `failed`:
    why a fetch was not compared. `held_later`: key to hour, for calls that are stored in a later hour which no longer
    lists them; loading only the earlier hour again does not move them.
    """

    hours: int
    calls: int
    differences: pl.DataFrame
    rejected: pl.DataFrame
    elsewhere: int
    failed: dict[Fetch, str]
    held_later: dict[str, dt.datetime]

    @property
    def due(self) -> pl.DataFrame:
        """The differences that no schedule will remove any more."""
        return self.differences.filter("is_due")

    def __str__(self) -> str:
        counts = dict(self.differences.group_by("finding").len().iter_rows())
        equal = self.calls - counts.get("late change", 0) - counts.get("missing", 0)
        told = [f"{counts.get(finding, 0):,} {finding}" for finding in _FINDINGS]
        told += [f"{self.rejected.height:,} rejected"] if self.rejected.height else []
        told += [f"{self.elsewhere:,} of other hours"] if self.elsewhere else []
        return f"{self.calls:,} calls in {self.hours:,} h: {equal:,} equal, {', '.join(told)}"


def audit(hours: Sequence[Hour], alotech: Alotech, warehouse: Warehouse, now: dt.datetime) -> Audit:
    """Compares the hours. `now` (aware) decides which differences are excused.

    Raises WarehouseError if there is no warehouse or it holds another tenant's calls, and SettingsError without a
    token.
    """
    with warehouse.connect("cdr audit", read_only=True) as connection:
        check_source(connection, alotech.settings.source, warehouse.path)
        kept_from = calls_kept_from(connection)
        # Calls that CDR_CALLS_DAYS deleted are not missing.
        hours = [hour for hour in hours if not kept_from or hour.start >= kept_from]
        unloaded = hours_never_loaded(connection, [hour.start for hour in hours])
    reading = _Reading(alotech, warehouse)
    with alotech.client() as client:
        reading.compare(client, map(fetch_of, hours))
        reading.look_in_later_hours(client)
    found = _judged(pl.concat(reading.found), hours, unloaded, now)
    rejected = pl.concat(reading.rejected)
    return Audit(reading.hours, reading.calls, found, rejected, reading.elsewhere, reading.failed, reading.held_later)


class _Reading:
    """Reads hours from the API, compares them with the stored calls, and collects the results."""

    def __init__(self, alotech: Alotech, warehouse: Warehouse) -> None:
        self._settings, self._warehouse = alotech.settings, warehouse
        self._forgotten = read_forgotten(alotech.settings)
        self.hours = self.calls = self.elsewhere = 0
        self.found = [pl.DataFrame(schema=DIFFERENCES)]
        self.rejected = [REJECTED_RECORDS.polars_schema.to_frame()]
        self.failed: dict[Fetch, str] = {}
        self.held_later: dict[str, dt.datetime] = {}

    def compare(self, client: AlotechClient, fetches: Iterable[Fetch]) -> None:
        for hours, listed in self._read(client, fetches):
            with self._warehouse.connect("cdr audit", read_only=True) as connection:
                stored = stored_calls(connection, hours, listed.calls["key"])
            self.found.append(differences(stored, listed))
            self.rejected.append(listed.rejected_records)
            self.elsewhere += int(listed.counts["elsewhere"].sum())
            self.hours += len(hours)
            self.calls += listed.calls["key"].n_unique()
            places = listed.calls.group_by("key").agg(listed_in=pl.col("partition_hour").max())
            held = stored["calls"].filter(pl.col("vanished_at").is_null()).join(places, on="key")
            later = held.filter(pl.col("partition_hour") > pl.col("listed_in"))
            self.held_later |= dict(later.select("key", "partition_hour").iter_rows())

    def look_in_later_hours(self, client: AlotechClient) -> None:
        """Drops the differences of calls that two hours list: such a call belongs to the later hour, which holds it."""
        zone = self._settings.zone
        later = [fetch_from(hour, HOUR, zone) for hour in sorted(set(self.held_later.values()))]
        for _, listed in self._read(client, later):
            places = listed.calls.select("key", later="partition_hour").unique().rows()
            twice = {key: self.held_later.pop(key) for key, hour in places if self.held_later.get(key) == hour}
            self.calls -= len(twice)
            later_of = pl.col("key").replace_strict(twice, default=None, return_dtype=pl.Datetime("us"))
            is_of_later = (pl.col("partition_hour") < later_of).fill_null(False)
            self.found = [found.filter(~is_of_later) for found in self.found]

    def _read(self, client: AlotechClient, fetches: Iterable[Fetch]) -> Iterator[tuple[list[dt.datetime], Tables]]:
        filters = Filters()
        at_once = self._settings.alotech_max_concurrency
        for fetched in fetch_all(client, fetches, filters, self.failed.__setitem__, at_once=at_once):
            pages = pages_frame(fetched, filters.arrays(), forgotten=self._forgotten)
            listed, unread = read_hours(pages, self._settings.alotech_timezone, self._settings.cdr_country)
            hour_of = {fetch: fetch.partition_hour for fetch in fetched if fetch.partition_hour}
            self.failed |= {fetch: unread[hour] for fetch, hour in hour_of.items() if hour in unread}
            yield [hour for hour in hour_of.values() if hour not in unread], listed


def _judged(found: pl.DataFrame, hours: Sequence[Hour], unloaded: set[dt.datetime], now: dt.datetime) -> pl.DataFrame:
    """The differences, with the column `is_due`."""
    ages = pl.DataFrame(
        [(hour.start, now - hour.ends_at, hour.start in unloaded) for hour in hours],
        schema={"partition_hour": pl.Datetime("us"), "age": pl.Duration("us"), "is_unloaded": pl.Boolean},
        orient="row",
    ).unique("partition_hour", keep="first")
    is_swept = (pl.col("fields").list.len() == 1) & pl.col("fields").list.contains("csat_answers")
    over = pl.when(is_swept).then(pl.lit(CSAT_OVER)).otherwise(pl.lit(LOOK_BACK_OVER))
    judged = found.join(ages, on="partition_hour", how="left", maintain_order="left")
    return judged.with_columns(is_due=pl.col("is_unloaded") | (pl.col("age") >= over)).drop("age", "is_unloaded")
