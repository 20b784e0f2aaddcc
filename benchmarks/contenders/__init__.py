"""The contenders, each its own program: `python -m benchmarks.contenders.<name> BASE_URL FROM TO DATABASE`.

A contender fetches the calls that began in [FROM, TO), two full hours in the tenant's local time, and loads them into
an empty DuckDB file as four tables: calls, call history, CSAT answers and call tags. Measuring is in
`benchmarks.backfill`.
"""

import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = "benchmark-token"
TIME_ZONE = "Europe/Istanbul"
# Requests at a time, for contenders that fetch hours in parallel. How many are started per second is not limited.
AT_ONCE = 8

HOUR = dt.timedelta(hours=1)
_SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class Task:
    base_url: str
    start: dt.datetime
    finish: dt.datetime
    database: str

    def parameters(self, start: dt.datetime, finish: dt.datetime) -> dict[str, str]:
        """The parameters of a request for the calls that began in [start, finish).

        The API includes both bounds, so the last second is left out.
        """
        return {
            "function": "reportsCDRLogs",
            "app_token": TOKEN,
            "startdate": f"{start}",
            "finishdate": f"{finish - _SECOND}",
            "sorting": "asc",
            "include_call_history": "true",
            "include_csat": "true",
            "include_call_tags": "true",
        }

    def hours(self) -> Iterator[dict[str, str]]:
        """The parameters of each hour."""
        hour = self.start
        while hour < self.finish:
            yield self.parameters(hour, hour + HOUR)
            hour += HOUR


def task() -> Task:
    """The task that the command line describes."""
    base_url, start, finish, database = sys.argv[1:5]
    return Task(base_url, dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(finish), database)
