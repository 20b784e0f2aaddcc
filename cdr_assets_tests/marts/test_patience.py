"""The curve of patience, through the models: a published example, and a simulated centre whose patience is known."""

import datetime as dt
import math
from collections.abc import Iterator

import pytest

from cdr_assets_tests.marts import centre
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.marts.queueing import Queue, QueueingCentre

MONDAY = dt.datetime(2026, 3, 2, 8, tzinfo=centre.ZONE)

# Weeks of remission of 21 patients with 6-mercaptopurine (Freireich and others, 1963): those that ended, and those that
# went on when the study did. Every textbook of survival analysis has them.
ENDED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
WENT_ON = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]

# Week, patients at risk, survival and standard error as published; and how many less the seconds of the queue are in
# which the week falls on an edge of the marts, and that edge.
PUBLISHED = [
    (6, 21, 0.857, 0.0764, 1, 5), (7, 17, 0.807, 0.0869, 2, 5), (10, 15, 0.753, 0.0963, 0, 10),
    (13, 12, 0.690, 0.1068, 3, 10), (16, 11, 0.627, 0.1141, 1, 15), (22, 7, 0.538, 0.1282, 2, 20),
    (23, 6, 0.448, 0.1346, 3, 20),
]  # fmt: skip

IMPATIENT = Queue("impatient", arrival_rate=4.2 / 60, agents=8, talk_mean=120, patience_mean=60)


def offered(key: str, queue: str, wait: int | None, is_abandoned: bool) -> centre.Call:
    """A call that waited so many seconds."""
    begin = MONDAY.astimezone(dt.UTC)
    left = begin + dt.timedelta(seconds=wait or 0)
    return centre.call(
        key, begin, queue=queue, queuekey=queue, queuedate=begin, waitduration=wait, hangupdate=left,
        answered=not is_abandoned, abandon=is_abandoned, talkdate=None if is_abandoned else left,
    )  # fmt: skip


def simulated() -> Iterator[centre.Call]:
    """The calls of a simulated queue, on three days."""
    start = MONDAY.replace(hour=0, tzinfo=None)
    source = QueueingCentre([IMPATIENT], start, days=3, threshold=20, seed=1)
    for calls in source.segments(f"{start}", f"{start + dt.timedelta(days=2)}", ascending=True):
        for record in (call.record() for call in calls):
            dates = {
                name: record[name]
                and dt.datetime.fromisoformat(record[name]).replace(tzinfo=centre.ZONE).astimezone(dt.UTC)
                for name in ("calldate", "queuedate", "talkdate", "hangupdate")
            }
            fields = {name: record[name] for name in ("waitduration", "answered", "abandon", "queue", "queuekey")}
            yield centre.call(record["key"], **dates, **fields)


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """Queue "minus n" has the patients' weeks as seconds, less n: the events must fall on edges of the marts."""
    marts = Marts(tmp_path_factory.mktemp("patience"), centre.ZONE.key)
    waits = [(week, True) for week in ENDED] + [(week, False) for week in WENT_ON]
    of_queue: dict[str, list[tuple[int | None, bool]]] = {
        **{f"minus {n}": [(week - n, is_abandoned) for week, is_abandoned in waits] for n in range(4)},
        "all hung up": [(3, True), (12, True)],
        "unknown": [(None, True)],
    }
    calls = [
        offered(f"{queue} {number}", queue, wait, is_abandoned)
        for queue, each in of_queue.items()
        for number, (wait, is_abandoned) in enumerate(each)
    ]
    calls += simulated()
    hours = {centre.local_hour(call["calldate"]) for call in calls}
    centre.load(marts.warehouse, calls, hours, MONDAY + dt.timedelta(days=10))
    marts.build()
    return marts


def curve(marts: Marts, queue: str) -> dict[int, tuple[int, int, float | None, float | None]]:
    """By edge: callers at risk, abandoned so far, survival and its standard error."""
    rows = marts.frame(
        f"""SELECT wait_edge_seconds, at_risk, abandoned, survival, survival_standard_error
            FROM marts.patience WHERE queue_key = '{queue}'"""
    ).rows()
    return {edge: (at_risk, abandoned, survival, error) for edge, at_risk, abandoned, survival, error in rows}


def test_the_published_example(marts: Marts) -> None:
    for week, at_risk, survival, error, less, edge in PUBLISHED:
        found = curve(marts, f"minus {less}")[edge]
        assert found[:2] == (at_risk, sum(ended <= week for ended in ENDED)), week
        assert found[2] == pytest.approx(survival, abs=5e-4), week
        assert found[3] == pytest.approx(error, abs=5e-5), week
    # Between two events, the curve is as it was at the last one.
    assert curve(marts, "minus 0")[15][2:] == curve(marts, "minus 3")[10][2:]


def test_what_nobody_waited_for_is_not_known(marts: Marts) -> None:
    patients, hung_up, unknown = (curve(marts, queue) for queue in ("minus 0", "all hung up", "unknown"))
    assert patients[30][:2] == (4, 9)
    assert patients[45] == (0, 9, None, None)
    # Two callers hung up after 3 and 12 seconds.
    assert [hung_up[edge][2] for edge in (5, 10, 15, 1200)] == [0.5, 0.5, 0, 0]
    assert [hung_up[edge][3] for edge in (5, 15)] == [pytest.approx(0.5 * math.sqrt(0.5)), None]
    assert set(unknown.values()) == {(0, 0, None, None)}
    row = (
        "SELECT DISTINCT offered, wait_known_offered, patience_seconds FROM marts.patience WHERE queue_key = 'unknown'"
    )
    assert marts.frame(row).rows() == [(1, 0, None)]


def test_the_patience_of_a_simulated_centre(marts: Marts) -> None:
    """Its callers hang up after a minute in the mean, most are answered before. The 99 % band holds the known curve.

    Records have whole seconds, of which a recorded wait is the difference: one of at most t seconds lasted less than
    t + 0.5 in the mean.
    """
    found = {edge: row for edge, row in curve(marts, "impatient").items() if row[0] >= 20}
    assert len(found) >= 8
    for edge, (_, _, survival, error) in found.items():
        assert survival is not None
        assert error is not None
        assert abs(survival - math.exp(-(edge + 0.5) / 60)) <= 2.576 * error, edge
        assert error < 0.06, edge
    offered, abandons, mean, low, high = marts.frame(
        """SELECT DISTINCT offered, wait_known_abandoned, patience_seconds, patience_seconds_low, patience_seconds_high
           FROM marts.patience WHERE queue_key = 'impatient'"""
    ).row(0)
    assert offered > 15_000
    assert abandons > 1_000
    assert low < 60 < high
    assert high - low < 10
    # The abandoned calls alone say something else: the patient callers are not among them.
    short = "SELECT sum(wait_seconds) / count(*) FROM marts.fct_calls WHERE queue_key = 'impatient' AND is_abandoned"
    assert marts.one(short) < mean / 1.5
