"""Queueing theory: centres that it can calculate, simulated as calls of the sandbox, and what it says of them.

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
    """A queue with agents of its own. Rates are in a second, times in seconds; patience None is endless."""

    key: str
    arrival_rate: float
    agents: int
    talk_mean: float
    patience_mean: float | None


@dataclass(frozen=True)
class Theory:
    """The steady state: shares of offered calls, seconds, and the share of the agents' time that they talk."""

    service_level_strict: float
    asa_seconds: float
    abandonment_rate: float
    occupancy: float


def theory(queue: Queue, threshold: float) -> Theory:
    """By the density of the wait that an endlessly patient caller would be offered (Baccelli and Hebuterne, 1981):

        v(x) = λ p(c-1) exp(λ ∫ G(u) du from 0 to x - c μ x),  G(u) the share of callers whose patience exceeds u

    where p(c-1) makes it and the states without a wait add up to one. A caller is answered at x if the patience lasts.
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

    # Fewer than c calls in the centre, each state by p(c-1); nobody waits then.
    no_wait = sum(
        math.perm(queue.agents - 1, queue.agents - 1 - n) / offered_load ** (queue.agents - 1 - n)
        for n in range(queue.agents)
    )
    # By half an hour, the density is below 1e-20.
    longest = 1800
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
    """From 0, by Simpson's rule."""
    width = until / steps
    odd = sum(of(i * width) for i in range(1, steps, 2))
    even = sum(of(i * width) for i in range(2, steps, 2))
    return width / 3 * (of(0) + 4 * odd + 2 * even + of(until))


class QueueingCentre:
    """A source of the sandbox: the queues' calls of `days` days from `start` on, a local midnight of a zone without
    clock changes.

    One simulation runs through all days, as a real centre does, from some hours before the first, by when it has
    forgotten that it began empty. Times are exact there, and whole seconds in the records, cut off as a clock does. The
    wait is the difference of the two dates shown: since callers arrive at any fraction of a second alike, cutting off
    makes it longer as often as shorter, and leaves its mean as it is. Whether a call was answered in time is decided
    by the exact wait, as a switch does, which has it before it writes the record: by the whole seconds, half of the
    calls of the second after the threshold would count as in time.
    """

    WARM_UP = 6 * 3600

    def __init__(self, queues: Sequence[Queue], start: dt.datetime, days: int, threshold: float, seed: int) -> None:
        self._queues = queues
        self._start = start
        self._threshold = threshold
        # By queue and day: arrival, end of the wait, hang-up (NaN where it was not answered) and agent, flat.
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
                # Hours are asked for in order: yesterday's calls are asked for once more at the most.
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
    """The calls that arrive on each day. Whoever comes first is served first, so that they can be played one by one."""
    played = [array("d") for _ in range(days)]  # a tenth of the memory of lists
    # When each agent is free next; the one who is free for longest takes the call.
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
