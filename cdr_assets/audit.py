"""The audit: hours read again from the API and compared with the warehouse. Writes nothing.

A difference is excused while a scheduled reading is still to bring it in: an hour's look-backs end three days after it,
the sweep of survey answers thirty. What differs after that, or in an hour that was never loaded, is due.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from cdr_assets.alotech import Filters
from cdr_assets.fetching import Fetch, fetch_all, fetch_of, pages_frame
from cdr_assets.partitions import Hour
from cdr_assets.resources import Alotech
from cdr_assets.transforms import DIFFERENCES, differences, read_hours
from cdr_assets.warehouse import Warehouse, check_source, hours_never_loaded, stored_calls

# When the readings of an hour are over: a day after the last tick that could read it.
LOOK_BACK_OVER = dt.timedelta(days=4, hours=2)
_CSAT_OVER = dt.timedelta(days=31)

_FINDINGS = ("late change", "missing", "unknown")


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    `hours` and `calls` were compared; `differences` has partition_hour, key, finding, fields (see `transforms`) and
    is_due; `failed` says of other hours why they were not compared.
    """

    hours: int
    calls: int
    differences: pl.DataFrame
    failed: dict[Fetch, str]

    @property
    def due(self) -> pl.DataFrame:
        """The differences that should not be there any more."""
        return self.differences.filter("is_due")

    def __str__(self) -> str:
        counts = dict(self.differences.group_by("finding").len().iter_rows())
        equal = self.calls - counts.get("late change", 0) - counts.get("missing", 0)
        told = [f"{counts.get(finding, 0):,} {finding}" for finding in _FINDINGS]
        return f"{self.calls:,} calls in {self.hours:,} h: {equal:,} equal, {', '.join(told)}"


def audit(hours: Sequence[Hour], alotech: Alotech, warehouse: Warehouse, now: dt.datetime) -> Audit:
    """Compares the hours; `now` (aware) decides what is excused.

    Raises WarehouseError where there is no warehouse, or it is another tenant's, and SettingsError without a token.
    """
    with warehouse.connect("cdr audit", read_only=True) as connection:
        check_source(connection, alotech.settings.source, warehouse.path)
        unloaded = hours_never_loaded(connection, [hour.start for hour in hours])
    filters, failed, calls = Filters(), dict[Fetch, str](), 0
    found = [pl.DataFrame(schema=DIFFERENCES)]
    asked = {fetch: partial(fetch, filters=filters, sorting="asc") for fetch in map(fetch_of, hours)}
    with alotech.client() as client:
        for fetched in fetch_all(client, asked, failed.__setitem__, at_once=alotech.settings.alotech_max_concurrency):
            listed, unread = read_hours(pages_frame(fetched, filters.arrays()), alotech.settings.alotech_timezone)
            hour_of = {fetch: fetch.partition_hour for fetch in fetched if fetch.partition_hour}
            failed |= {fetch: unread[hour] for fetch, hour in hour_of.items() if hour in unread}
            with warehouse.connect("cdr audit", read_only=True) as connection:
                read = [hour for hour in hour_of.values() if hour not in unread]
                stored = stored_calls(connection, read, listed.calls["key"])
            found.append(differences(stored, listed))
            calls += listed.calls.height
    return Audit(len(asked) - len(failed), calls, _judged(pl.concat(found), hours, unloaded, now), failed)


def _judged(found: pl.DataFrame, hours: Sequence[Hour], unloaded: set[dt.datetime], now: dt.datetime) -> pl.DataFrame:
    """The differences with `is_due`."""
    ages = pl.DataFrame(
        [(hour.start, now - hour.ends_at, hour.start in unloaded) for hour in hours],
        schema={"partition_hour": pl.Datetime("us"), "age": pl.Duration("us"), "is_unloaded": pl.Boolean},
        orient="row",
    ).unique("partition_hour", keep="first")
    is_swept = (pl.col("fields").list.len() == 1) & pl.col("fields").list.contains("csat_answers")
    over = pl.when(is_swept).then(pl.lit(_CSAT_OVER)).otherwise(pl.lit(LOOK_BACK_OVER))
    judged = found.join(ages, on="partition_hour", how="left", maintain_order="left")
    return judged.with_columns(is_due=pl.col("is_unloaded") | (pl.col("age") >= over)).drop("age", "is_unloaded")
