"""Simulates one local day of a call centre: who calls, how long they wait, who answers, and how long they talk.

Callers arrive at random (a Poisson process with a rate for each hour), wait with limited patience, and are served by
agents who have skills, shifts and one call at a time. All times are elapsed seconds since local midnight, so that days
of 23 and 25 hours are right too. Records, dates and JSON are made in `centre`.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

from cdr_assets.sandbox.profile import CLOSED_DEMAND, DEMAND_BY_HOUR, DEMAND_BY_WEEKDAY, QUEUES, Queue

HOUR = 3600
_WEEK = [(weekday, hour) for weekday in range(7) for hour in range(24)]

# Shares of an hour's records: calls that agents make, and first calls of callers. The rest are second legs of
# transferred calls, and callers who gave up and call again; the simulation makes those itself.
_OUTBOUND = 0.08
_INBOUND = 0.87

# Probabilities, each for the calls to which it can happen.
_LEAVES_IN_MENU = 0.04
_IMPATIENT = 0.025  # gives up within five seconds of waiting
_LEAVES_VOICEMAIL = 0.2
_CALLS_AGAIN = 0.35
_MISSES_RING = 0.02
_TRANSFERRED = 0.05
_HELD = 0.14
_ANSWERS_OUTBOUND = 0.62
_DIALLED_FROM_CRM = 0.75

_TALK_SPREAD = 0.8  # standard deviation of the logarithm of talk times
_LONGEST_TALK = HOUR
_STAYS_ON = 120  # seconds for which agents stay after the end of their shift
_HOURS_AFTER = 8  # how many hours a day's calls may go on after midnight; no chain of transfers takes longer
_CUSTOMERS_PER_CALL = 150  # the centre's customers per call in a mean hour


@dataclass(slots=True, eq=False)
class Agent:
    """An agent on one day. `skills` are indices of QUEUES, the own queue first; `duty` says for each elapsed hour
    whether
    the agent is on duty."""

    number: int
    skills: tuple[int, ...]
    duty: Sequence[bool]
    busy_until: float = 0.0
    # Changes whenever the agent becomes idle or busy. An entry in an idle list with an older turn no longer counts.
    turn: int = 0

    def is_on_duty(self, moment: float) -> bool:
        hour = int(moment / HOUR)
        if hour < len(self.duty) and self.duty[hour]:
            return True
        # Agents stay a little longer, for callers who are still in the menu when the queue closes.
        return moment - hour * HOUR < _STAYS_ON and 0 < hour <= len(self.duty) and self.duty[hour - 1]


@dataclass(slots=True, eq=False)
class Leg:
    """A call, or the part of a call after a transfer; becomes one record. A time is None if the event did not
    happen."""

    start: float
    queue: int  # called, dialled for, or transferred to
    caller: int | None  # the customer's number; None where it is withheld
    first: "Leg | None" = None  # the first leg of the call; None if this is it
    inbound: bool = True
    closed: bool = False  # heard that the queue is closed
    queued: float | None = None
    gives_up: float = 0.0
    rings: tuple[tuple[float, Agent], ...] = ()
    misses: tuple[float, ...] = ()  # ends of the first rings, which nobody picked up
    agent: Agent | None = None  # who answered or dialled; otherwise who was rung last
    talk: float | None = None
    holds: tuple[tuple[float, float], ...] = ()
    left_queue: float | None = None  # when the caller was answered or gave up
    voicemail: bool = False
    transferred: bool = False
    unique_id: int | None = None  # of the CRM action that dialled
    hangup: float = 0.0
    number: int = 0  # within the day, in the order of `start`


class Centre:
    """The rates and the staff of a centre, the same on every day. They depend only on the two arguments."""

    def __init__(self, seed: int, calls_per_hour: float) -> None:
        weights = {(q, *at): _weight(queue, *at) for q, queue in enumerate(QUEUES) for at in _WEEK}
        out = {
            (q, *at): weights[q, *at] if queue.calls_out and queue.is_open(*at) else 0.0
            for q, queue in enumerate(QUEUES)
            for at in _WEEK
        }
        calls = calls_per_hour * len(_WEEK)
        # Calls an hour by (queue, weekday, hour).
        self.inbound = {at: weight * calls * _INBOUND / sum(weights.values()) for at, weight in weights.items()}
        self.outbound = {at: weight * calls * _OUTBOUND / sum(out.values()) for at, weight in out.items()}
        self.customers = max(100, round(calls_per_hour * _CUSTOMERS_PER_CALL))
        self._slots = {(q, day): self._shifts(q, day) for q in range(len(QUEUES)) for day in range(7)}
        self._places = [max(len(self._slots[q, day]) for day in range(7)) for q in range(len(QUEUES))]
        chance = random.Random(f"staff {seed}")
        # The index is the agent's number.
        self._skills = [self._skills_of(q, chance) for q, places in enumerate(self._places) for _ in range(2 * places)]

    @property
    def staff(self) -> int:
        """The number of agents. They are numbered from 0."""
        return len(self._skills)

    def _shifts(self, q: int, weekday: int) -> list[frozenset[int]]:
        """For each agent of the day, the local hours on duty: shifts of up to eight hours."""
        opens, closes = QUEUES[q].hours[weekday]
        shifts = math.ceil((closes - opens) / 8)
        slots = []
        for n in range(shifts):
            hours = range(opens + (closes - opens) * n // shifts, opens + (closes - opens) * (n + 1) // shifts)
            needed = {hour: self._agents_needed(q, weekday, hour) for hour in hours}
            slots += [frozenset(h for h in hours if needed[h] > place) for place in range(max(needed.values()))]
        return slots

    def _agents_needed(self, q: int, weekday: int, hour: int) -> int:
        queue = QUEUES[q]
        seconds = self.inbound[q, weekday, hour] * (queue.talk_mean + 25) + self.outbound[q, weekday, hour] * 130
        erlangs = seconds / HOUR
        return math.ceil(erlangs + 0.5 * math.sqrt(erlangs))

    @staticmethod
    def _skills_of(q: int, chance: random.Random) -> tuple[int, ...]:
        other = chance.randrange(len(QUEUES))
        return (q, other) if other != q and chance.random() < 0.4 else (q,)

    def agents(self, day: int, weekday: int, hours: Sequence[int]) -> Iterator[Agent]:
        """The agents on duty on the day with this ordinal. `hours` are the local hours, by elapsed hour.

        Agents work every other day. Each day is simulated without knowing the day before, so nobody who is still
        talking at midnight may be on duty on the next day.
        """
        before = 0
        for q, places in enumerate(self._places):
            for place, duty in enumerate(self._slots[q, weekday]):
                number = before + (day % 2) * places + (place + day // 2) % places
                yield Agent(number, self._skills[number], [hour in duty for hour in hours])
            before += 2 * places


def _weight(queue: Queue, weekday: int, hour: int) -> float:
    demand = queue.share * DEMAND_BY_HOUR[hour] * DEMAND_BY_WEEKDAY[weekday]
    return demand if queue.is_open(weekday, hour) else demand * CLOSED_DEMAND


_Event = tuple[float, int, Callable[[float, Any], None], Leg | Agent]


class Day:
    """The simulation of one day. `legs` is the result, sorted by start and numbered from 0."""

    def __init__(self, centre: Centre, seed: int, day: int, weekday: int, hours: Sequence[int]) -> None:
        """`day` is the date's ordinal; `hours` are the local hours by elapsed hour: 24 of them, or 23 or 25."""
        self._centre = centre
        self._weekday = weekday
        self._hours = hours
        self._end = float(len(hours) * HOUR)
        self._chance = random.Random(f"day {seed} {day}")
        self._random = self._chance.random
        self._waiting: list[deque[Leg]] = [deque() for _ in QUEUES]
        self._idle: list[deque[tuple[Agent, int]]] = [deque() for _ in QUEUES]
        self._staffed = [[False] * (len(hours) + _HOURS_AFTER) for _ in QUEUES]
        self._events: list[_Event] = []
        self._events_so_far = 0
        self._actions = 0
        self._ended: list[Leg] = []

        self._agents_come(centre.agents(day, weekday, hours))
        self._callers_call()
        self._agents_call()
        self._run()
        self.legs = sorted(self._ended, key=attrgetter("start"))
        for number, leg in enumerate(self.legs):
            leg.number = number

    def _agents_come(self, agents: Iterator[Agent]) -> None:
        for agent in agents:
            for hour, on_duty in enumerate(agent.duty):
                if on_duty:
                    self._staffed[agent.skills[0]][hour] = True
                    if hour == 0 or not agent.duty[hour - 1]:
                        self._at(hour * HOUR + self._random(), self._look_for_work, agent)

    def _callers_call(self) -> None:
        # Some days and hours are busier than planned; otherwise there would be few queues.
        busy_day = self._chance.lognormvariate(0, 0.08)
        for q, queue in enumerate(QUEUES):
            for elapsed, hour in enumerate(self._hours):
                rate = self._centre.inbound[q, self._weekday, hour] * busy_day * self._chance.lognormvariate(0, 0.1)
                is_open = queue.is_open(self._weekday, hour)
                for moment in self._moments(rate, elapsed):
                    if is_open:
                        self._call(moment, q, self._customer())
                    else:
                        self._hang_up_in_menu(Leg(moment, q, self._customer(), closed=True), 8 + 20 * self._random())

    def _agents_call(self) -> None:
        for q, queue in enumerate(QUEUES):
            for elapsed, hour in enumerate(self._hours if queue.calls_out else ()):
                for moment in self._moments(self._centre.outbound[q, self._weekday, hour], elapsed):
                    action = None
                    if self._random() < _DIALLED_FROM_CRM:
                        self._actions += 1
                        action = self._actions
                    leg = Leg(moment, q, self._customer(), inbound=False, unique_id=action)
                    self._at(moment, self._dial, leg)

    def _moments(self, rate: float, elapsed: int) -> Iterator[float]:
        """The times of a Poisson process with `rate` events per hour, over one hour."""
        random, log, mean_gap = self._random, math.log, HOUR / max(rate, 1e-9)
        moment, end = float(elapsed * HOUR), (elapsed + 1) * HOUR
        while (moment := moment - mean_gap * log(1 - random())) < end:
            yield moment

    def _customer(self) -> int | None:
        # The square makes some customers call far more often than others.
        chance = self._random()
        return int(chance * chance * self._centre.customers) if chance < 0.985 else None

    def _at(self, moment: float, what: Callable[[float, Any], None], who: Leg | Agent) -> None:
        self._events_so_far += 1  # orders events at the same time, so that the heap never compares callables
        heappush(self._events, (moment, self._events_so_far, what, who))

    def _run(self) -> None:
        events = self._events
        while events:
            moment, _, what, who = heappop(events)
            what(moment, who)
        for line in self._waiting:
            for leg in line:
                self._give_up(self._end, leg)

    def _call(self, moment: float, q: int, caller: int | None) -> None:
        """A caller calls an open queue, and hangs up in the menu or reaches the queue."""
        leg = Leg(moment, q, caller)
        if self._random() < _LEAVES_IN_MENU:
            self._hang_up_in_menu(leg, 3 + 40 * self._random())
        else:
            self._queue_up(moment + 5 + 30 * self._random(), leg)

    def _hang_up_in_menu(self, leg: Leg, seconds: float) -> None:
        leg.hangup = leg.start + seconds
        self._ended.append(leg)

    def _queue_up(self, moment: float, leg: Leg) -> None:
        leg.queued = moment
        if self._random() < _IMPATIENT:
            patience = 0.5 + 5 * self._random()
        else:
            patience = 6 - QUEUES[leg.queue].patience_mean * math.log(1 - self._random())
        leg.gives_up = moment + patience
        self._at(moment, self._find_agent, leg)

    # -- events

    def _find_agent(self, moment: float, leg: Leg) -> None:
        """A caller has reached the queue, or an agent did not pick up."""
        agent = self._idle_agent(leg.queue, moment)
        if agent is not None:
            self._ring(moment, agent, leg)
        elif leg.rings:
            self._waiting[leg.queue].appendleft(leg)
        else:
            self._waiting[leg.queue].append(leg)

    def _look_for_work(self, moment: float, agent: Agent) -> None:
        """An agent comes on duty or has finished a call."""
        if agent.busy_until > moment:
            return
        own = agent.skills[0]
        if agent.is_on_duty(moment):
            queues = agent.skills
        elif not self._staffed[own][int(moment / HOUR)]:
            queues = (own,)  # the queue is closed; serve the callers who still wait
        else:
            return
        leg = self._longest_waiting(moment, queues)
        if leg is not None:
            self._ring(moment, agent, leg)
        elif agent.is_on_duty(moment):
            agent.turn += 1
            for q in queues:
                self._idle[q].append((agent, agent.turn))

    def _idle_agent(self, q: int, moment: float) -> Agent | None:
        """The agent who has been idle longest."""
        idle = self._idle[q]
        while idle:
            agent, turn = idle.popleft()
            if agent.turn == turn and agent.is_on_duty(moment):
                agent.turn += 1
                return agent
        return None

    def _longest_waiting(self, moment: float, queues: Sequence[int]) -> Leg | None:
        for q in queues:
            line = self._waiting[q]
            while line and line[0].gives_up <= moment:
                self._give_up(moment, line.popleft())
        lines = [self._waiting[q] for q in queues if self._waiting[q]]
        return min(lines, key=lambda line: line[0].queued or 0.0).popleft() if lines else None

    def _ring(self, moment: float, agent: Agent, leg: Leg) -> None:
        leg.rings += ((moment, agent),)
        leg.agent = agent
        missed = self._random() < _MISSES_RING
        picks_up = moment + (18 if missed else 1.5 + 5 * self._random())
        if leg.gives_up <= picks_up:
            self._give_up(moment, leg)
            self._busy_until(leg.gives_up + 2, agent)
        elif missed:
            leg.misses += (picks_up,)
            self._busy_until(picks_up + 30 + 150 * self._random(), agent)
            self._at(picks_up, self._find_agent, leg)
        else:
            self._talk(picks_up, agent, leg)

    def _talk(self, moment: float, agent: Agent, leg: Leg) -> None:
        leg.talk = leg.left_queue = moment
        seconds = self._talk_seconds(QUEUES[leg.queue].talk_mean)
        leg.hangup = moment + seconds
        if seconds > 40 and self._random() < _HELD:
            parts = 1 + int(3 * self._random() ** 2)
            part = seconds / parts
            holds = ((moment + part * (n + 0.3), part * 0.5 * self._random()) for n in range(parts))
            leg.holds = tuple((start, start + length) for start, length in holds)
        if seconds > 30 and self._random() < _TRANSFERRED:
            self._transfer(leg)
        self._ended.append(leg)
        self._busy_until(leg.hangup + 5 - 12 * math.log(1 - self._random()), agent)

    def _transfer(self, leg: Leg) -> None:
        """The agent sends the caller to another queue, where a new leg begins."""
        q = int(self._random() * len(QUEUES))
        if q != leg.queue and self._is_open(q, leg.hangup):
            leg.transferred = True
            self._queue_up(leg.hangup, Leg(leg.hangup, q, leg.caller, first=leg.first or leg))

    def _give_up(self, moment: float, leg: Leg) -> None:
        """The caller has lost patience, and hangs up or leaves a message. `moment` is when the simulation notices."""
        assert leg.queued is not None
        leg.left_queue = leg.hangup = leg.gives_up
        self._ended.append(leg)
        if QUEUES[leg.queue].takes_voicemail and leg.gives_up - leg.queued > 40 and self._random() < _LEAVES_VOICEMAIL:
            leg.voicemail = True
            leg.hangup += 8 + 40 * self._random()
        elif leg.caller is not None and self._random() < _CALLS_AGAIN:
            again = max(moment, leg.hangup) + 60 + 1500 * self._random()
            if self._is_open(leg.queue, again):
                self._call(again, leg.queue, leg.caller)

    def _dial(self, moment: float, leg: Leg) -> None:
        """An agent calls a customer. If no agent is free, the call is not made."""
        agent = self._idle_agent(leg.queue, moment)
        if agent is None:
            return
        leg.agent = agent
        rings_for = 4 + 24 * self._random()
        leg.hangup = leg.left_queue = moment + rings_for
        if self._random() < _ANSWERS_OUTBOUND:
            leg.talk = leg.left_queue
            leg.hangup += self._talk_seconds(140)
        elif leg.unique_id is not None and self._random() < _CALLS_AGAIN:
            # The same CRM action dials a second time, so that its unique ID has more than one call.
            again = leg.hangup + 600 + 3000 * self._random()
            if self._is_open(leg.queue, again):
                repeated = Leg(again, leg.queue, leg.caller, inbound=False, unique_id=leg.unique_id)
                self._at(again, self._dial, repeated)
        self._ended.append(leg)
        self._busy_until(leg.hangup + 5 - 12 * math.log(1 - self._random()), agent)

    def _busy_until(self, moment: float, agent: Agent) -> None:
        agent.busy_until = moment
        self._at(moment, self._look_for_work, agent)

    def _talk_seconds(self, mean: float) -> float:
        seconds = self._chance.lognormvariate(math.log(mean) - _TALK_SPREAD**2 / 2, _TALK_SPREAD)
        return min(max(3.0, seconds), _LONGEST_TALK)

    def _is_open(self, q: int, moment: float) -> bool:
        return moment < self._end and QUEUES[q].is_open(self._weekday, self._hours[int(moment / HOUR)])
