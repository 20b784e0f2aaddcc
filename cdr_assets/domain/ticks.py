"""When the schedules tick, in the tenant's wall clock. What each of them starts is in `orchestration/schedules.py`.

The hourly schedules tick at different minutes, so that they don't all call the vendor and wait for the warehouse at the
same time: the hour that has just ended at CDR_SETTLE_MINUTES past, the hours before it 20 minutes later, open calls 20
minutes after that. Daily schedules tick at night.
"""

import datetime as dt
from dataclasses import dataclass

from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.settings import Settings


@dataclass(frozen=True)
class Tick:
    """The minute of every hour, or of one hour a day, at which a schedule ticks."""

    minute: int
    hour: int | None = None

    @property
    def cron(self) -> str:
        return f"{self.minute} {'*' if self.hour is None else self.hour} * * *"

    def after(self, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
        """The next tick after `now`; both are aware times. It passes over a daily tick in a skipped hour."""
        # In UTC, because local times in the repeated hour compare and add wrongly.
        at = now.astimezone(zone).replace(minute=self.minute, second=0, microsecond=0).astimezone(dt.UTC)
        while at <= now or self.hour not in (None, at.astimezone(zone).hour):
            at += HOUR
        return at.astimezone(zone)


def ticks(settings: Settings) -> dict[str, Tick]:
    """Every schedule's tick, by its name."""

    def minute(after: int) -> int:
        return (settings.cdr_settle_minutes + after) % 60

    return {
        "hourly": Tick(minute(0)),
        "lookback_hourly": Tick(minute(20)),
        "lookback_nightly": Tick(30, 2),
        "csat_sweep": Tick(45, 3),
        "open_calls": Tick(minute(40)),
        "retention": Tick(15, 4),
        "audit": Tick(15, 5),
        "daily_report": Tick(0, 6),
        "freshness": Tick(45),
    }
