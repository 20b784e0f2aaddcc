"""What is measured, each a program of its own: `python -m benchmarks.contenders.<name> BASE_URL FROM TO DATABASE`.

From a server's pages to four tables in an empty DuckDB file: the calls that began in [FROM, TO), two dates of the
tenant's wall clock on the hour, their call history, their CSAT answers and their tags.
"""

import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = "benchmark-token"
TIME_ZONE = "Europe/Istanbul"
# Requests in flight for each contender that fetches side by side; no limit on how many are started a second.
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
        """Of a request for the calls that began in [start, finish): both bounds of the API are inclusive."""
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
    """What the command line says."""
    base_url, start, finish, database = sys.argv[1:5]
    return Task(base_url, dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(finish), database)
