"""A simulated day with ticking schedules: calls run long, change, vanish, and get answers and tags late.

At the end the warehouse equals the API, and few requests were needed.
"""

import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.alotech import PAGE_SIZE
from cdr_assets.ingest.audit import audit
from cdr_assets.ingest.fetching import Alotech
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.sandbox.calls import Call
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import TOKEN, UP_TO_THE_CALLS, Pipeline, record, settings_for
from cdr_assets_tests.orchestration.test_hours import failure_of, files_with_the_token

MIDNIGHT = dt.datetime(2026, 3, 2)
HOUR = dt.timedelta(hours=1)
ZONE = dt.timezone(3 * HOUR)


class Api:
    """A source that lists the calls as they are at `now`, a local time."""

    def __init__(self, hours: int, calls_per_hour: int) -> None:
        chance = random.Random(1)
        self._lives = [
            _life(f"k{n}", MIDNIGHT + dt.timedelta(seconds=chance.randrange(hours * 3600)), chance)
            for n in range(hours * calls_per_hour)
        ]
        self.listed = ListedCalls()
        self.at(MIDNIGHT)

    def at(self, now: dt.datetime) -> None:
        states = [[state for since, state in life if since <= now][-1:] for life in self._lives]
        self.listed = ListedCalls(state for [state] in filter(None, states) if state)

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        return self.listed.segments(start, finish, ascending)

    def with_key(self, key: str) -> Sequence[Call]:
        return self.listed.with_key(key)

    with_unique_id = with_active_call_key = with_key


def _life(key: str, begins: dt.datetime, chance: random.Random) -> list[tuple[dt.datetime, dict[str, Any]]]:
    """The versions of a call, each with the time from which the API lists it; {} once it is not listed any more."""
    seconds = chance.choice([60, 300, 1200, 3 * 3600, 9 * 3600])
    ends = begins + dt.timedelta(seconds=seconds)
    talking = record(key, begins, hangupdate=None, duration=None, csat_answers=[], call_tags=[], call_history=[])
    ended = talking | {
        "hangupdate": f"{ends}",
        "duration": seconds,
        "call_history": record(key, begins)["call_history"],
    }
    life = [(begins, talking), (ends, ended)]
    for change, share, latest in (
        ({"call_tags": ["iade", "fatura"]}, 0.4, 2 * HOUR),
        ({"queue": "Satış (yeni)"}, 0.2, 20 * HOUR),
        (
            {"csat_answers": [{"question": "Memnun musunuz?", "score": chance.randint(1, 5), "scale": 5}]},
            0.4,
            200 * HOUR,
        ),
    ):
        if chance.random() < share:
            since = max(ends, life[-1][0]) + chance.random() * latest
            life.append((since.replace(microsecond=0), life[-1][1] | change))
    if chance.random() < 0.05:
        # Within the look-backs, because after them nothing would show that the call is gone.
        life = [state for state in life if state[0] <= ends + HOUR] + [(ends + HOUR, {})]
    return life


def told(api: Api) -> dict[str, tuple[Any, ...]]:
    """The API's calls, each with a few fields."""
    return {
        call["key"]: (
            call["hangupdate"],
            call["duration"],
            call["queue"],
            call["call_tags"],
            [answer["score"] for answer in call["csat_answers"]],
            [item["event"] for item in call["call_history"]],
        )
        for call in api.listed.records
    }


def stored(pipeline: Pipeline) -> dict[str, tuple[Any, ...]]:
    rows = pipeline.ask(
        """
        SELECT key, strftime(hangupdate, '%Y-%m-%d %H:%M:%S'), duration, queue,
               coalesce((SELECT list(tag ORDER BY position) FROM cdr.call_tags WHERE call_tags.key = calls.key), []),
               coalesce((SELECT list(score ORDER BY position) FROM cdr.csat_answers AS a WHERE a.key = calls.key), []),
               coalesce((SELECT list(event ORDER BY position) FROM cdr.call_history AS h WHERE h.key = calls.key), [])
        FROM cdr.calls AS calls WHERE vanished_at IS NULL
        """
    )
    return {key: tuple(values) for key, *values in rows}


def _pass_hours(pipeline: Pipeline, api: Api, hours: int, nights: int, selection: Sequence[Any] | None) -> int:
    """Lets the schedules tick over some hours and the nights after them, as `Pipeline.tick` with the selection.

    Returns how many hours a pipeline would fetch that fetches all hours every time.
    """
    reading_all = 0

    def tick(schedule: str, now: dt.datetime) -> None:
        api.at(now)
        for result in pipeline.tick(schedule, now.replace(tzinfo=ZONE), selection=selection):
            assert result.success, failure_of(result)

    for n in range(1, hours + 1):
        end = MIDNIGHT + n * HOUR
        tick("hourly", end + dt.timedelta(minutes=10))
        tick("lookback_hourly", end + dt.timedelta(minutes=30))
        tick("open_calls", end + dt.timedelta(minutes=50))
        reading_all += n
    for night in range(1, nights + 1):
        tick("lookback_nightly", MIDNIGHT + dt.timedelta(days=night, hours=2, minutes=30))
        tick("csat_sweep", MIDNIGHT + dt.timedelta(days=night, hours=3, minutes=45))
    # All answers have come by now, and the sweep finds the last ones.
    tick("csat_sweep", MIDNIGHT + dt.timedelta(days=20, hours=3, minutes=45))
    # Such a pipeline fetches all hours so far, in every hour of this day and of the twenty days after it.
    return reading_all + 20 * 24 * hours


@pytest.mark.parametrize(
    ("hours", "calls_per_hour", "nights", "selection"),
    [(2, 30, 1, UP_TO_THE_CALLS), pytest.param(24, 200, 3, None, marks=pytest.mark.campaign)],
    ids=["two hours", "a day and its nights"],
)
def test_the_warehouse_follows_the_api(
    make_pipeline: Callable[..., Pipeline],
    tmp_path: Path,
    hours: int,
    calls_per_hour: int,
    nights: int,
    selection: Sequence[Any] | None,
) -> None:
    api = Api(hours, calls_per_hour)
    with Sandbox(api, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, cdr_start=f"{MIDNIGHT}")
        reading_all = _pass_hours(pipeline, api, hours, nights, selection) * (calls_per_hour // PAGE_SIZE + 1)
        requests = sandbox.requests
        expected = told(api)
        assert len(expected) > 0.9 * hours * calls_per_hour
        assert stored(pipeline) == expected
        print(f"{requests} requests; reading all hours again every hour: {reading_all} at the least")
        assert requests < reading_all / 3

        # An audit finds the same, and writes nothing.
        settings = settings_for(sandbox.base_url, pipeline.settings.cdr_data_dir)
        whole_day = hours_between(
            hourly_partitions(settings),
            MIDNIGHT.replace(tzinfo=ZONE),
            (MIDNIGHT + hours * HOUR).replace(tzinfo=ZONE),
            dt.datetime.now(dt.UTC),
        )
        before = pipeline.settings.warehouse_path.read_bytes()
        found = audit(
            whole_day, Alotech(settings), Warehouse(pipeline.settings.warehouse_path), dt.datetime.now(dt.UTC)
        )
        assert (found.hours, found.calls, found.differences.height, found.failed) == (hours, len(expected), 0, {})
        assert pipeline.settings.warehouse_path.read_bytes() == before
    assert not files_with_the_token(tmp_path)
