"""Queueing theory: its formulas for a call centre, and a simulation of the same centre as a source for the sandbox.

The centre is M/M/c+M: callers arrive at random, wait first come first served for one of c agents, talk for an
exponential time, and hang up when an exponential patience is over. Without impatience it is M/M/c, of Erlang C.
"""

import datetime as dt
import math
import random
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

from cdr_assets.sandbox.calls import Call, call_of

DAY = 86_400


@dataclass(frozen=True)
class Queue:
    """A queue with its own agents. Rates are per second, times in seconds. With patience None, callers never hang
    up."""

    key: str
    arrival_rate: float
    agents: int
    talk_mean: float
    patience_mean: float | None


@dataclass(frozen=True)
class Theory:
    """The steady state: shares of offered calls, seconds, and the share of their time that agents talk."""

    service_level_strict: float
    asa_seconds: float
    abandonment_rate: float
    occupancy: float


def theory(queue: Queue, threshold: float, longest: float = 1800) -> Theory:
    """The steady state of a queue whose callers practically never wait more than `longest` seconds.

    Computed from the density of the wait of a caller with endless patience (Baccelli and Hebuterne, 1981):

        v(x) = λ p(c-1) exp(λ ∫ G(u) du from 0 to x - c μ x),  G(u) the share of callers whose patience exceeds u

    where p(c-1) is such that the density and the states without a wait add up to one. A caller is answered at x if the
    patience lasts that long.
    """
    served = queue.agents / queue.talk_mean
    offered_load = queue.arrival_rate * queue.talk_mean

    def patient(x: float) -> float:
        return 1.0 if queue.patience_mean is None else math.exp(-x / queue.patience_mean)

    def patience_until(x: float) -> float:
        return x if queue.patience_mean is None else queue.patience_mean * (1 - patient(x))

    def density(x: float) -> float:
        """v(x) / p(c-1)"""
        return queue.arrival_rate * math.exp(queue.arrival_rate * patience_until(x) - served * x)

    # The states with fewer than c calls, in which nobody waits, relative to p(c-1).
    no_wait = sum(
        math.perm(queue.agents - 1, queue.agents - 1 - n) / offered_load ** (queue.agents - 1 - n)
        for n in range(queue.agents)
    )
    last_idle = 1 / (no_wait + _integral(density, longest))

    def answered_within(x: float) -> float:
        return last_idle * (no_wait + _integral(lambda u: patient(u) * density(u), x))

    answered = answered_within(longest)
    waited = last_idle * _integral(lambda x: x * patient(x) * density(x), longest)
    return Theory(
        service_level_strict=answered_within(threshold),
        asa_seconds=waited / answered,
        abandonment_rate=1 - answered,
        occupancy=answered * offered_load / queue.agents,
    )


def _integral(of: Callable[[float], float], until: float, steps: int = 20_000) -> float:
    """The integral from 0, by Simpson's rule."""
    width = until / steps
    odd = sum(of(i * width) for i in range(1, steps, 2))
    even = sum(of(i * width) for i in range(2, steps, 2))
    return width / 3 * (of(0) + 4 * odd + 2 * even + of(until))


class QueueingCentre:
    """A source for the sandbox: the queues' calls on `days` days from `start`, a local midnight in a zone without clock
    changes.

    One simulation runs through all days. It starts some hours early, so that the empty centre at its start no longer
    matters. Its times are exact; the records' times are cut to whole seconds, as a clock does. The wait in a record is
    the difference of two cut times. Callers arrive at random fractions of a second, so cutting makes waits longer as
    often as shorter and does not change their mean. The exact wait decides whether a call was answered in time, as in a
    real switch. With whole seconds, half of the calls in the second after the threshold would count as in time.
    """

    WARM_UP = 6 * 3600

    def __init__(self, queues: Sequence[Queue], start: dt.datetime, days: int, threshold: float, seed: int) -> None:
        self._queues = queues
        self._start = start
        self._threshold = threshold
        # For each queue and day, one flat list: arrival, end of the wait, hang-up (NaN if not answered) and agent.
        self._played = [_play(queue, days, self.WARM_UP, random.Random(f"{seed} {queue.key}")) for queue in queues]
        self._made: dict[int, Sequence[Call]] = {}
        self._making = threading.Lock()

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        first, last = ((dt.datetime.fromisoformat(moment) - self._start).days for moment in (start, finish))
        days = range(max(first, 0), min(last, len(self._played[0]) - 1) + 1)
        for day in days if ascending else reversed(days):
            yield self._calls(day)

    def with_key(self, key: str) -> Sequence[Call]:  # noqa: ARG002
        return ()

    with_unique_id = with_active_call_key = with_key

    def _calls(self, day: int) -> Sequence[Call]:
        with self._making:
            if day not in self._made:
                # Hours are fetched in order, so keep only yesterday's calls and today's.
                for old in [made for made in self._made if made < day - 1]:
                    del self._made[old]
                calls = (
                    self._call(queue, number, day, *played[number : number + 4])
                    for queue, played in zip(self._queues, [played[day] for played in self._played], strict=True)
                    for number in range(0, len(played), 4)
                )
                self._made[day] = sorted(calls, key=lambda call: call.position)
            return self._made[day]

    def _call(
        self, queue: Queue, number: int, day: int, arrival: float, left: float, hangup: float, agent: float
    ) -> Call:
        def date(moment: float) -> str:
            return f"{self._start + dt.timedelta(seconds=math.floor(moment))}"

        answered = not math.isnan(hangup)
        end = math.floor(hangup if answered else left)
        key = f"{queue.key}-{day}-{number // 4}"
        record = {
            "key": key, "callid": key, "queued": True, "answered": answered, "assigned": answered,
            "abandon": not answered, "queuedate": date(arrival), "calldate": date(arrival),
            "talkdate": date(left) if answered else None, "hangupdate": date(end),
            "waitduration": math.floor(left) - math.floor(arrival), "duration": end - math.floor(arrival),
            "sl": answered and left - arrival <= self._threshold, "shortcall": not answered and left - arrival <= 5,
            "callerid": None, "called_num": "908501112233", "queue": queue.key, "queuekey": queue.key, "inbound": True,
            "agent": f"{queue.key}-{agent:.0f}" if answered else None,
            "agentid": f"{queue.key}-{agent:.0f}" if answered else None, "hold": 0, "holdduration": 0,
            "voicemail": False, "uniqueid": None, "recordingurl": None, "localrelease": False, "answeredby": None,
            "transferred": 0, "channel": "SIP/1", "call_history": [], "csat_answers": [], "call_tags": [],
        }  # fmt: skip
        return call_of(record, number)


def _play(queue: Queue, days: int, warm_up: float, chance: random.Random) -> list[Sequence[float]]:
    """The calls that arrive on each day. Callers are served in the order of arrival, so simulate one after the
    other."""
    played = [array("d") for _ in range(days)]  # takes a tenth of a list's memory
    # When each agent is free next. The agent who has been free longest takes the call.
    agents = [(-warm_up, float(number)) for number in range(queue.agents)]
    heapify(agents)
    moment = -warm_up
    while (moment := moment + chance.expovariate(queue.arrival_rate)) < days * DAY:
        free, agent = agents[0]
        answered = max(moment, free)
        gives_up = moment + chance.expovariate(1 / queue.patience_mean) if queue.patience_mean else math.inf
        if answered <= gives_up:
            hangup = answered + chance.expovariate(1 / queue.talk_mean)
            heapreplace(agents, (hangup, agent))
        if moment >= 0:
            call = (moment, answered, hangup, agent) if answered <= gives_up else (moment, gives_up, math.nan, -1)
            played[int(moment // DAY)].extend(call)
    return played
