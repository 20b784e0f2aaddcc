"""The server of the benchmarks: a sandbox that makes and renders all its calls before the first request.

    python -m benchmarks.server [--calls heavy] [--hours 168] [--start 2026-03-02] [--latency-ms 0 ...]

It prints one URL for each latency, then one line of JSON that describes a correct load, and serves until
its input ends or it is killed. The token is that of `benchmarks.contenders`. What the calls look like is in `calls`.
"""

import datetime as dt
import hashlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
import typer

from benchmarks.calls import START, Weight, made_days
from benchmarks.contenders import TIME_ZONE, TOKEN
from cdr_assets.sandbox import Sandbox
from cdr_assets.sandbox.calls import ARRAYS, Call

Calls = Annotated[Weight, typer.Option(help="How heavy the calls are; see README.md.")]


class MadeCalls:
    """Calls in a time span, all kept in memory, so that making them takes no measured time."""

    def __init__(self, weight: Weight, start: dt.datetime, finish: dt.datetime) -> None:
        self.days = list(made_days(weight, start, finish))

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        for day in self.days if ascending else reversed(self.days):
            if day[0].calldate[:10] <= finish and start <= day[-1].calldate:
                yield day

    def with_key(self, _: str) -> Sequence[Call]:
        return []

    with_unique_id = with_active_call_key = with_key


class _Event(msgspec.Struct):
    detail: str = ""


_ITEMS = {"call_history": list[_Event], "csat_answers": list[msgspec.Raw], "call_tags": list[msgspec.Raw]}


def truth(calls: MadeCalls) -> dict[str, Any]:
    """The rows of each table, a hash over all keys in order, the sum of the calls' durations, the characters of the
    events' details, and the mean bytes of a call."""
    rows = {"calls": 0} | dict.fromkeys(ARRAYS, 0)
    keys: list[str] = []
    seconds = characters = size = 0
    for day in calls.days:
        for call in day:
            keys.append(call.key or "")
            seconds += int(msgspec.json.decode(call.head + call.end)["duration"])
            size += len(call.head) + len(call.end)
            for name, kind in _ITEMS.items():
                member: bytes = getattr(call, name)
                size += len(member)
                # The member's JSON, without the comma and the name before it.
                items = msgspec.json.decode(member[len(name) + 4 :], type=kind)
                rows[name] += len(items)
                if name == "call_history":
                    characters += sum(len(event.detail) for event in items)
    rows["calls"] = len(keys)
    return {
        "rows": rows,
        "keys": hashlib.md5("".join(sorted(keys)).encode()).hexdigest(),
        "seconds": seconds,
        "characters": characters,
        "bytes": round(size / max(1, len(keys))),
    }


def main(
    calls: Calls = Weight.HEAVY,
    hours: Annotated[int, typer.Option(help="Serve this many hours.")] = 168,
    start: Annotated[dt.datetime, typer.Option(help="Local time of the first hour.")] = START,
    latency_ms: Annotated[list[float], typer.Option(help="Wait this long before each answer.")] = [0],  # noqa: B006
) -> None:
    made = MadeCalls(calls, start, start + dt.timedelta(hours=hours))
    for latency in latency_ms:
        sandbox = Sandbox(made, token=TOKEN, latency_ms=latency, time_zone=TIME_ZONE)
        threading.Thread(target=sandbox.serve_forever, daemon=True).start()
        print(sandbox.base_url, flush=True)
    print(msgspec.json.encode(truth(made)).decode(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    typer.run(main)
