"""The server of the benchmarks: a sandbox that makes and renders all its calls before the first request.

`python -m benchmarks.server FROM TO CALLS_PER_HOUR LATENCY_MS...` prints one URL for each latency, then one line of
JSON with the rows and keys of a correct load, and serves until it is killed.
"""

import datetime as dt
import hashlib
import sys
import threading
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.contenders import TIME_ZONE, TOKEN
from cdr_assets.sandbox import GeneratedCentre, Sandbox
from cdr_assets.sandbox.calls import ARRAYS, Call


class MadeCalls:
    """The calls of a centre in a time span, all kept in memory, so that making them takes no measured time."""

    def __init__(self, start: dt.datetime, finish: dt.datetime, calls_per_hour: float) -> None:
        # A clock after the span, so that every call has ended.
        centre = GeneratedCentre(
            calls_per_hour=calls_per_hour, time_zone=TIME_ZONE, now=lambda: dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
        )
        first, last = f"{start}", f"{finish - dt.timedelta(seconds=1)}"
        self.days = [
            [call for call in day if first <= call.calldate <= last] for day in centre.segments(first, last, True)
        ]

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        for day in self.days if ascending else reversed(self.days):
            if day and day[0].calldate[:10] <= finish and start <= day[-1].calldate:
                yield day

    def with_key(self, _: str) -> Sequence[Call]:
        return []

    with_unique_id = with_active_call_key = with_key


def truth(calls: MadeCalls) -> dict[str, object]:
    """The number of rows of each table, and a hash over all keys in order."""
    rows = {"calls": 0} | dict.fromkeys(ARRAYS, 0)
    keys = []
    for day in calls.days:
        for call in day:
            record = call.record()
            rows["calls"] += 1
            keys.append(record["key"])
            for name in ARRAYS:
                rows[name] += len(record[name] or ())
    return {"rows": rows, "keys": hashlib.md5("".join(sorted(keys)).encode()).hexdigest()}


def main() -> None:
    start, finish = map(dt.datetime.fromisoformat, sys.argv[1:3])
    calls = MadeCalls(start, finish, float(sys.argv[3]))
    for latency in sys.argv[4:]:
        sandbox = Sandbox(calls, token=TOKEN, latency_ms=float(latency), time_zone=TIME_ZONE)
        threading.Thread(target=sandbox.serve_forever, daemon=True).start()
        print(sandbox.base_url, flush=True)
    print(msgspec.json.encode(truth(calls)).decode(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
