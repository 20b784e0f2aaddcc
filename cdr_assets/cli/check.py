"""What `cdr check` looks at: each thing by itself, so that one call tells everything that is wrong.

The state of the hours is in `cdr_assets.status`; what each finding means is in docs/when-something-is-wrong.md.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from cdr_assets.alerts.sending import receivers_of
from cdr_assets.alotech import Page, Window, records_of
from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.protection import protect
from cdr_assets.domain.settings import Settings, warnings_about
from cdr_assets.ingest.fetching import Alotech
from cdr_assets.publishing.old_names import take_over_old_names
from cdr_assets.status.overview import free_disk, read_overview
from cdr_assets.warehouse import Warehouse, check_source
from cdr_assets.warehouse.place import WarehouseBusyError

# A clock that is further off would read hours before they end.
_CLOCK_MAY_DIFFER = dt.timedelta(minutes=2)

# The zones of the earth are at most so far ahead of each other.
_FARTHEST_ZONE = 26 * HOUR

# Free disk that DuckDB and dbt may need beside the files that are written anew.
_WORKING_SPACE = 1_000_000_000


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line of `cdr check`."""

    level: Level
    name: str
    told: str


def look_at(settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    """The findings, each as soon as it is known. `now` is aware."""
    for warning in warnings_about(settings):
        yield Finding(Level.WARN, "configuration", warning)
    wrong = set[str]()
    for name, look in _LOOKS.items():
        # Each of them would fail for the same reason, some after many tries.
        if before := next((each for each in _NEEDS.get(name, ()) if each in wrong), None):
            yield Finding(Level.WRONG, name, f"not checked, because of the line {before}")
            continue
        try:
            yield Finding(Level.OK, name, look(settings, now))
        except OperatorError as error:
            yield Finding(Level.WRONG, name, str(error))
            wrong.add(name)
    yield _alerts(settings)


def _configuration(settings: Settings, _: dt.datetime) -> str:
    settings.require_tenant()
    return f"{settings.base_url}, {settings.alotech_timezone}, from {settings.cdr_start:%Y-%m-%d %H:%M}"


def _files(settings: Settings, _: dt.datetime) -> str:
    protect(settings)
    take_over_old_names(settings)
    return f"{settings.cdr_data_dir} is this user's; the copy's readers are: {settings.cdr_published_readers.value}"


def _disk(settings: Settings, _: dt.datetime) -> str:
    # A publishing may write the whole copy anew, and an upgrade or `cdr forget` the warehouse.
    files = [path for path in (settings.warehouse_path, settings.published_path) if path.exists()]
    needed = _WORKING_SPACE + sum(path.stat().st_size for path in files)
    free = free_disk(settings.cdr_data_dir, settings.warehouse_path.parent, settings.published_path.parent)
    for folder, size in free.items():
        if size < needed:
            raise OperatorError(
                f"{size / 1e9:,.1f} GB are free at {folder}, and {needed / 1e9:,.1f} GB may be needed to write the "
                "warehouse and the copy anew: free some disk"
            )
    return (
        "; ".join(f"{size / 1e9:,.1f} GB free at {folder}" for folder, size in free.items()) or "nothing is there yet"
    )


def _tenant(settings: Settings, _: dt.datetime) -> str:
    with Alotech(settings).client() as client:
        client.ping()
    return "answers, and accepts the token"


def _clock(settings: Settings, now: dt.datetime) -> str:
    with Alotech(settings).client() as client:
        theirs = client.ping()
    if theirs is None:
        return "the tenant does not say what time it is"
    ahead = now - theirs
    if abs(ahead) > _CLOCK_MAY_DIFFER:
        raise OperatorError(
            f"this machine's clock is {abs(ahead)} {'ahead of' if ahead > dt.timedelta() else 'behind'} the tenant's: "
            "hours would be read too early or too late; set it (NTP)"
        )
    return "agrees with the tenant's"


def _calls(settings: Settings, now: dt.datetime) -> str:
    """Whether the token may read calls, and whether the newest of them is where the zone's clock is."""
    here = now.astimezone(settings.zone).replace(tzinfo=None, microsecond=0)
    with Alotech(settings).client() as client:
        pages = client.fetch_window(Window(here - HOUR, here + _FARTHEST_ZONE), in_slices=False)
    newest = max((date for page in pages for date in _calldates(page)), default=None)
    if newest is None:
        return "the token may read them; there is none of the last hour, so that the time zone is not checked"
    if newest > here + _CLOCK_MAY_DIFFER:
        raise OperatorError(
            f"the newest call started at {newest}, and in {settings.alotech_timezone} it is {here}: ALOTECH_TIMEZONE "
            "is not the zone in which the tenant writes its dates"
        )
    return f"the newest started at {newest}, in {settings.alotech_timezone} it is {here}"


def _calldates(page: Page) -> Iterator[dt.datetime]:
    for record in records_of(page.body, page.charset):
        # Other records are rejected when they are loaded, and told there.
        with suppress(KeyError, TypeError, ValueError):
            yield dt.datetime.fromisoformat(record["calldate"]).replace(tzinfo=None)


def _warehouse(settings: Settings, _: dt.datetime) -> str:
    path = settings.warehouse_path
    if not path.exists():
        # Not made here: the first run notes the first hour of a new installation.
        return f"there is no {path} yet; the first run makes it"
    try:
        warehouse = Warehouse(path, log=str, patience_seconds=0, longest_wait_seconds=0)
        with warehouse.connect("cdr check") as connection:
            if not (settings.alotech_tenant or settings.alotech_base_url):
                return f"{path} opens"
            holds = check_source(connection, settings.source, path)
    except WarehouseBusyError as error:
        return f"{path} is held by {error.holder}, and was not opened"
    return f"{path} opens, and holds {f'the calls of {holds}' if holds else 'no calls yet'}"


def _newest_hour(settings: Settings, now: dt.datetime) -> str:
    if not settings.published_path.exists():
        return "none is published yet; `cdr backfill` publishes the first"
    overview = read_overview(settings, now)
    told = f"{overview.newest:%Y-%m-%d %H:%M} is published" if overview.newest else "none is loaded yet"
    if overview.is_wrong:
        raise OperatorError(f"{told}, and hours are late or failed: `cdr status` shows them")
    return told


def _alerts(settings: Settings) -> Finding:
    names = [receiver.name for receiver in receivers_of(settings)]
    names += ["CDR_HEARTBEAT_URL"] if settings.cdr_heartbeat_url else []
    if names:
        return Finding(Level.OK, "alerts", f"{', '.join(names)}; `cdr alert --test` tries them")
    told = "nobody is told if something is wrong: set CDR_ALERT_URL, or CDR_SMTP_URL and CDR_ALERT_TO"
    return Finding(Level.WARN, "alerts", told)


_LOOKS: dict[str, Callable[[Settings, dt.datetime], str]] = {
    "configuration": _configuration,
    "files": _files,
    "disk": _disk,
    "tenant": _tenant,
    "clock": _clock,
    "calls": _calls,
    "warehouse": _warehouse,
    "newest hour": _newest_hour,
}

_NEEDS = dict.fromkeys(("tenant", "clock", "calls"), ("configuration", "tenant"))
