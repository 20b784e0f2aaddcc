"""Queueing theory through the whole pipeline: the marts' measures of a simulated centre agree with the theory.

There are two centres, each with 12 agents, 4.2 calls a minute and a mean talk of 2 minutes. In one, callers have
endless patience (M/M/12, Erlang C); in the other, they wait a minute in the mean (M/M/12+M, Erlang A). The sandbox
serves their calls, Dagster loads them, and each measure is a ratio of sums over the marts. The formulas are in
`queueing`.

The confidence interval comes from batch means. Waits that follow each other are similar, so calls are no independent
sample, and an interval over calls would be far too narrow. So the time is cut into batches that hardly depend on each
other: the centre's state is forgotten after about 6 minutes (its relaxation time, 1 / (c μ (1 - √load)²)), and a batch
is a day, or three hours in the small version. A measure is the sum of numerators divided by the sum of denominators;
its error is estimated from the batches' residuals x - ratio y, with Student's 99 % interval.
"""

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import polars as pl
import pytest

from cdr_assets.sandbox import Sandbox
from cdr_assets_tests.conftest import TOKEN, Pipeline
from cdr_assets_tests.marts.queueing import Queue, QueueingCentre, Theory, theory

THRESHOLD = 20
PATIENT = Queue("patient", arrival_rate=4.2 / 60, agents=12, talk_mean=120, patience_mean=None)
IMPATIENT = Queue("impatient", arrival_rate=4.2 / 60, agents=12, talk_mean=120, patience_mean=60)

START = dt.datetime(2025, 3, 1)

# Student's t at 99.5 %, by number of batches.
STUDENT = {8: 3.499, 200: 2.601}

# Numerator and denominator in the marts. Occupancy is all talk time in an hour, divided by the time of 12 agents.
MEASURES = {
    "service_level_strict": ("answered_within_threshold", "answered + abandoned"),
    "asa_seconds": ("wait_seconds_answered", "answered"),
    "abandonment_rate": ("abandoned", "offered"),
    "occupancy": ("busy_seconds", "12 * hour_seconds"),
}


def test_the_theory_is_the_published_one() -> None:
    patient, impatient = theory(PATIENT, THRESHOLD), theory(IMPATIENT, THRESHOLD)
    assert patient.service_level_strict == pytest.approx(0.8991, abs=5e-5)
    assert patient.asa_seconds == pytest.approx(6.130, abs=5e-4)
    assert patient.occupancy == pytest.approx(0.700, abs=5e-4)
    assert patient.abandonment_rate == pytest.approx(0, abs=1e-12)
    assert impatient.abandonment_rate == pytest.approx(0.02968, abs=5e-6)
    assert impatient.service_level_strict == pytest.approx(0.945, abs=5e-4)


def test_the_theory_of_patient_callers_is_erlang_c() -> None:
    """Compares with Erlang's own formula, computed by the recursion of Erlang B."""
    load, blocked = PATIENT.arrival_rate * PATIENT.talk_mean, 1.0
    for agents in range(1, PATIENT.agents + 1):
        blocked = load * blocked / (agents + load * blocked)
    waits = blocked / (1 - load / PATIENT.agents * (1 - blocked))
    spare = PATIENT.agents / PATIENT.talk_mean - PATIENT.arrival_rate
    found = theory(PATIENT, THRESHOLD)
    assert found.service_level_strict == pytest.approx(1 - waits * math.exp(-spare * THRESHOLD), rel=1e-9)
    assert found.asa_seconds == pytest.approx(waits / spare, rel=1e-9)


@dataclass(frozen=True)
class Measured:
    value: float
    # Half the width of the 99 % interval.
    margin: float


def measure(parts: pl.DataFrame, numerator: str, denominator: str) -> Measured:
    """The ratio of sums over all batches, with its interval. There is one row per batch."""
    x, y = (parts.select(pl.sql_expr(part).cast(pl.Float64)).to_series() for part in (numerator, denominator))
    ratio = x.sum() / y.sum()
    residuals = x - ratio * y
    spread = math.sqrt((residuals**2).sum() / (len(parts) - 1) / len(parts))
    return Measured(ratio, STUDENT[len(parts)] * spread * len(parts) / y.sum())


def parts_of(pipeline: Pipeline, queue: Queue, batch_hours: int) -> pl.DataFrame:
    """A queue's measures in the marts, summed over batches of hours."""
    batch = f"date_diff('hour', TIMESTAMP '{START}', local_hour) // {batch_hours}"
    rows = pipeline.ask(
        f"""
        SELECT batch, answered_within_threshold, answered, abandoned, offered, wait_seconds_answered, busy_seconds,
            hour_seconds
        FROM (
            SELECT {batch} AS batch, sum(COLUMNS(['answered_within_threshold', 'answered', 'abandoned', 'offered',
                'wait_seconds_answered']))
            FROM marts.queue_hourly WHERE queue_key = '{queue.key}' GROUP BY ALL
        )
        JOIN (
            SELECT {batch} AS batch, sum(busy_seconds) AS busy_seconds, sum(hour_seconds) AS hour_seconds
            FROM marts.concurrency_hourly WHERE scope = '{queue.key}' AND kind = 'talking' GROUP BY ALL
        ) USING (batch)
        ORDER BY batch
        """
    )
    columns = [
        "batch", "answered_within_threshold", "answered", "abandoned", "offered", "wait_seconds_answered",
        "busy_seconds", "hour_seconds",
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int64), orient="row", strict=False)


def correlation_of_neighbours(parts: pl.DataFrame) -> float:
    """The correlation of each batch's service level with the next one's."""
    levels = parts["answered_within_threshold"] / (parts["answered"] + parts["abandoned"])
    apart = (levels - levels.mean()).to_list()
    return sum(one * other for one, other in pairwise(apart)) / sum(one * one for one in apart)


def load(make_pipeline: Callable[..., Pipeline], days: int, days_per_run: int) -> Pipeline:
    """The pipeline after it has loaded both centres, with this many days in a run."""
    centre = QueueingCentre([PATIENT, IMPATIENT], START, days, THRESHOLD, seed=1)
    with Sandbox(centre, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, cdr_start=f"{START:%Y-%m-%d}")
        for day in range(0, days, days_per_run):
            assert pipeline.run(START + dt.timedelta(days=day), 24 * min(days_per_run, days - day)).success
    return pipeline


def agree(pipeline: Pipeline, batches: int, batch_hours: int, widest: dict[str, float]) -> None:
    """Each measure's 99 % interval contains the theory's value, and is narrow enough to say something."""
    for queue in (PATIENT, IMPATIENT):
        said: Theory = theory(queue, THRESHOLD)
        parts = parts_of(pipeline, queue, batch_hours).filter(pl.col("batch") < batches)
        assert parts.height == batches
        assert parts["hour_seconds"].to_list() == [3600 * batch_hours] * batches
        for name, (numerator, denominator) in MEASURES.items():
            found, expected = measure(parts, numerator, denominator), getattr(said, name)
            print(f"{queue.key} {name}: {found.value:.5f} ± {found.margin:.5f}, theory {expected:.5f}")
            assert abs(found.value - expected) <= found.margin + 1e-12, (queue.key, name, found, expected)
            assert found.margin <= widest[name], (queue.key, name, found)


def test_a_day_of_two_centres(make_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = load(make_pipeline, days=1, days_per_run=1)
    wide = {"service_level_strict": 0.15, "asa_seconds": 10, "abandonment_rate": 0.03, "occupancy": 0.1}
    agree(pipeline, batches=8, batch_hours=3, widest=wide)
    assert pipeline.ask("SELECT DISTINCT threshold_seconds FROM marts.dim_queues") == [(THRESHOLD,)]
    # The agents' marts have the same talk time as the queues'.
    talking = "SELECT sum(busy_seconds) FROM marts"
    assert pipeline.ask(f"{talking}.agent_hourly") == pipeline.ask(
        f"{talking}.concurrency_hourly WHERE scope = '(all)' AND kind = 'talking'"
    )


@pytest.mark.campaign
def test_two_hundred_days_of_two_centres(make_pipeline: Callable[..., Pipeline]) -> None:
    """2.4 million calls are enough to see whether cutting waits to whole seconds changes their mean."""
    pipeline = load(make_pipeline, days=200, days_per_run=50)
    assert pipeline.ask("SELECT count(*) > 2400000 FROM marts.fct_calls") == [(True,)]
    narrow = {"service_level_strict": 0.004, "asa_seconds": 0.4, "abandonment_rate": 0.001, "occupancy": 0.004}
    agree(pipeline, batches=200, batch_hours=24, widest=narrow)
    for queue in (PATIENT, IMPATIENT):
        # Days are independent: the correlation is within three standard errors of that of independent days.
        assert abs(correlation_of_neighbours(parts_of(pipeline, queue, 24))) < 3 / math.sqrt(200)
