"""The facts that `cdr status` prints: the states of the last hours, the warehouse's holder, free disk, the next ticks.

They come from the published copy; newer failures come from the warehouse, if no run holds it. Neither Dagster nor the
vendor is asked, so that the answer comes at once, also while both are down. It needs no polars, for the same reason.
"""

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import ends_at
from cdr_assets.domain.lateness import CATCH_UP
from cdr_assets.domain.settings import Settings
from cdr_assets.domain.ticks import ticks
from cdr_assets.publishing.reading import open_published
from cdr_assets.publishing.shown import masked
from cdr_assets.status.hours import WRONG, Attempt, HourStatus, hours_status
from cdr_assets.warehouse.place import Warehouse, WarehouseBusyError

# Older hours are read again by no schedule.
_DAYS = CATCH_UP.days

_WHOLE = "cdr.loads WHERE filters IS NULL"


@dataclass(frozen=True)
class Overview:
    """The state of the installation at `now`. Times are aware, hours are naive local starts.

    hours: the last 30 days
    published_at: when the copy was published
    newest: the newest loaded hour, None if none was ever loaded; `behind`: how long ago it ended
    rejected: records of these days' hours that could not become a call
    holder: the run that holds the warehouse, None if none does
    unseen: why the warehouse could not be read, so that failures after `published_at` are not known; None if it could
    free: bytes that are free on the disk of each folder
    next_ticks: when each schedule ticks next, if Dagster's daemon runs
    """

    now: dt.datetime
    hours: Sequence[HourStatus]
    published_at: dt.datetime
    newest: dt.datetime | None
    behind: dt.timedelta | None
    rejected: int
    holder: str | None
    unseen: str | None
    free: Mapping[Path, int]
    next_ticks: Mapping[str, dt.datetime]

    @property
    def is_wrong(self) -> bool:
        return any(hour.state in WRONG for hour in self.hours)


def read_overview(settings: Settings, now: dt.datetime) -> Overview:
    """Raises OperatorError if there is no published copy, or this user may not read it."""
    path = settings.published_path
    try:
        published_at = dt.datetime.fromtimestamp(path.stat().st_mtime, settings.zone)
        with open_published(path) as connection:
            newest, known_until = connection.execute(
                f"SELECT max(partition_hour) FILTER (WHERE error IS NULL), max(loaded_at) FROM {_WHOLE}"
            ).fetchall()[0]
            failed, holder, unseen = _failed_since(settings, known_until)
            hours = hours_status(connection, settings, now, _DAYS, failed)
            rejected = connection.execute(
                "SELECT count(*) FROM cdr.rejected_records WHERE partition_hour >= ?",
                [hours[0].hour if hours else None],
            ).fetchall()[0][0]
    except FileNotFoundError:
        raise OperatorError(
            f"there is no {path} yet: no run has published one; `cdr backfill` does, or says why it cannot"
        ) from None
    except (duckdb.CatalogException, duckdb.BinderException):
        raise OperatorError(f"{path} was published by an older version of cdr_assets; any run renews it") from None
    except (OSError, duckdb.IOException) as error:
        raise OperatorError(
            f"cannot read {path}: {str(error).splitlines()[0]}; the user that runs the pipeline can let others read it "
            "(CDR_PUBLISHED_READERS)"
        ) from None
    return Overview(
        now=now.astimezone(settings.zone),
        hours=hours,
        published_at=published_at,
        newest=newest,
        behind=now - ends_at(newest, settings.zone) if newest else None,
        rejected=rejected,
        holder=holder,
        unseen=unseen,
        free=free_disk(settings.cdr_data_dir, settings.warehouse_path.parent, path.parent),
        next_ticks={name: tick.after(now, settings.zone) for name, tick in ticks(settings).items()},
    )


def _failed_since(
    settings: Settings, known_until: dt.datetime | None
) -> tuple[dict[dt.datetime, Attempt], str | None, str | None]:
    """Failed attempts that only the warehouse knows, who holds it, and why it could not be read.

    A run whose hours all failed publishes nothing: while the vendor's API is down, the copy knows of no failure.
    """
    try:
        if not settings.warehouse_path.exists():
            return {}, None, f"there is no {settings.warehouse_path}"
        # Do not wait for a run that holds it: it may load for minutes.
        warehouse = Warehouse(settings.warehouse_path, log=str, patience_seconds=0, longest_wait_seconds=0)
        with warehouse.connect("cdr status", read_only=True) as connection:
            failed = connection.execute(
                f"""SELECT partition_hour, max(loaded_at), arg_max({masked("error")}, loaded_at) FROM {_WHOLE}
                    AND ($since IS NULL OR loaded_at > $since)
                    GROUP BY ALL HAVING arg_max(error IS NOT NULL, loaded_at)""",
                {"since": known_until},
            ).fetchall()
    except WarehouseBusyError as error:
        return {}, error.holder, f"held by {error.holder}"
    except OperatorError as error:
        return {}, None, str(error)
    except PermissionError as error:
        return {}, None, f"this user may not see {error.filename}"
    return {hour: Attempt(at, error or "") for hour, at, error in failed}, None, None


def free_disk(*folders: Path) -> dict[Path, int]:
    """The free bytes of each disk, by the first folder on it. Folders that this user cannot see are left out."""
    free: dict[int, tuple[Path, int]] = {}
    for folder in folders:
        try:
            free.setdefault(folder.stat().st_dev, (folder, shutil.disk_usage(folder).free))
        except OSError:
            continue
    return dict(free.values())
