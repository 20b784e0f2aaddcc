"""Erlang C and Erlang A in Python: how many agents a load needs. The models do the same in SQL (macros/erlang.sql).

Sources: Erlang C: R. B. Cooper, "Introduction to Queueing Theory" (1981), section 3. Erlang A: S. Zeltyn and
A. Mandelbaum, "Call centers with impatient customers: many-server asymptotics of the M/M/n+G queue" (2005), section 2.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

# A probability whose inverse would be too large for a float.
_NEGLIGIBLE = 1e-300


@dataclass(frozen=True)
class Target:
    """What a queue aims at: this share of the offered calls answered within so many seconds, and no agent busier.

    `most_occupancy` is the highest share of their time in which agents handle calls.
    """

    share: float
    seconds: float
    most_occupancy: float


@dataclass(frozen=True)
class Expected:
    """What to expect in the long run: share of offered calls answered in time, and share of time that agents handle
    calls."""

    service_level: float
    occupancy: float


def erlang_c(load: float, handle_seconds: float, agents: int, seconds: float) -> Expected:
    """Callers wait as long as it takes. `load` is in erlangs, and must be less than `agents`."""
    (busy,) = (busy for servers, busy in _blocked(load, agents) if servers == agents)
    waits = busy / (1 - load / agents * (1 - busy))
    in_time = 1 - waits * math.exp(-(agents - load) * seconds / handle_seconds)
    return Expected(in_time, load / agents)


def erlang_a(load: float, handle_seconds: float, patience_seconds: float, agents: int, seconds: float) -> Expected:
    """Callers hang up after a patience that is exponential with this mean. `load` is in erlangs."""
    (busy,) = (busy for servers, busy in _blocked(load, agents - 1) if servers == agents - 1)
    return _with_patience(load, handle_seconds, patience_seconds, agents, seconds, busy)


def agents_erlang_c(load: float, handle_seconds: float, target: Target) -> int:
    """The fewest agents with whom `erlang_c` meets the target; 0 without a load."""
    if load <= 0:
        return 0
    for agents, busy in _blocked(load):
        if agents <= load or load > agents * target.most_occupancy:
            continue
        waits = busy / (1 - load / agents * (1 - busy))
        if 1 - waits * math.exp(-(agents - load) * target.seconds / handle_seconds) >= target.share:
            return agents
    raise AssertionError("the agents never end")


def agents_erlang_a(load: float, handle_seconds: float, patience_seconds: float, target: Target) -> int:
    """The fewest agents with whom `erlang_a` meets the target; 0 without a load."""
    if load <= 0:
        return 0
    for one_less, busy in _blocked(load):
        agents = one_less + 1
        # Fewer agents than this cannot handle the share of the load that is to be answered.
        if agents < load * target.share:
            continue
        reached = _with_patience(load, handle_seconds, patience_seconds, agents, target.seconds, busy)
        if reached.service_level >= target.share and reached.occupancy <= target.most_occupancy:
            return agents
    raise AssertionError("the agents never end")


def _blocked(load: float, most: int | None = None) -> Iterator[tuple[int, float]]:
    """Erlang B: 0, 1, 2 ... servers, and the probability that a call finds all of them busy, where none may wait."""
    servers, busy = 0, 1.0
    while most is None or servers <= most:
        yield servers, busy
        servers += 1
        busy = load * busy / (servers + load * busy)


def _with_patience(
    load: float, handle_seconds: float, patience_seconds: float, agents: int, seconds: float, busy: float
) -> Expected:
    """`busy` is Erlang B of one agent less."""
    # All in units of the mean patience. A caller who joins the queue meets an offered wait of density
    # arrivals * exp(arrivals * (1 - exp(-x)) - served * x); `none_waits` is the weight of finding an agent free.
    arrivals, served = load * patience_seconds / handle_seconds, agents * patience_seconds / handle_seconds
    until = seconds / patience_seconds
    if busy < _NEGLIGIBLE:
        return Expected(1.0, load / agents)
    none_waits, all_waits = 1 / busy, _integral(served, arrivals)
    if math.isinf(arrivals * all_waits):
        # So many more calls than agents can handle that practically nobody is served in time.
        return Expected(0.0, 1.0)
    at_the_end = math.exp(arrivals * -math.expm1(-until) - served * until)
    later = at_the_end * _integral(served, arrivals * math.exp(-until))
    served_waiting = at_the_end - 1 + served * (all_waits - later)
    weight = none_waits + arrivals * all_waits
    lost = (1 + (arrivals - served) * all_waits) / weight
    return Expected((none_waits + served_waiting) / weight, load * (1 - lost) / agents)


def _integral(served: float, arrivals: float) -> float:
    """The integral of exp(arrivals * (1 - exp(-x)) - served * x) over all x from 0, as a series."""
    term = total = 1 / served
    place = 0
    while term > total * 1e-15 and not math.isinf(total):
        place += 1
        term *= arrivals / (served + place)
        total += term
    return total
