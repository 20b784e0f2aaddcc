"""Every mart that dbt builds equals the one of `expected`, on generated, dirty and real calls."""

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cdr_assets.domain.schema import CALL_DATES
from cdr_assets.marts.build import build
from cdr_assets_tests.marts import expected
from cdr_assets_tests.marts.built import Marts

_KEYS = (
    "call_key", "first_call_key", "from_call_key", "interval_start", "local_hour", "local_date", "scope", "kind",
    "queue_key", "agent_id", "tag", "position", "question", "scale", "week_start",
    "wait_edge_seconds",
)  # fmt: skip


class Expected:
    """The marts of one warehouse, computed with polars."""

    def __init__(self, marts: Marts) -> None:
        self.zone = ZoneInfo(marts.settings.alotech_timezone)
        self.calls = marts.frame("FROM cdr.calls")
        self.answers = marts.frame("FROM cdr.csat_answers")
        self.history = marts.frame("FROM cdr.call_history")
        self.tags = marts.frame("FROM cdr.call_tags")
        self.loads = marts.frame("FROM cdr.loads")
        self.facts = expected.fct_calls(self.calls, self.loads)
        self.pieces = expected.call_intervals(self.facts, self.zone)
        self.final = expected.final_hours(self.facts, self.loads, self.zone)

    @property
    def final_weeks(self) -> pl.DataFrame:
        """Weeks of 167 hours or more: in one of them the clock may be put forward."""
        return self.final.group_by(pl.col("local_hour").dt.truncate("1w").dt.date().alias("week_start")).agg(
            is_final=pl.col("is_final").all() & (pl.len() >= 167)
        )

    def with_names(self, frame: pl.DataFrame) -> pl.DataFrame:
        if "queue_key" in frame.columns:
            frame = frame.join(expected.dim_queues(self.facts), on="queue_key")
        if "agent_id" in frame.columns:
            frame = frame.join(expected.dim_agents(self.facts), on="agent_id")
        if "interval_start" in frame.columns:
            frame = frame.with_columns(local_hour=pl.col("interval_start").dt.truncate("1h"))
        if "local_hour" in frame.columns:
            return frame.join(self.final, on="local_hour", how="left").with_columns(pl.col("is_final").fill_null(False))
        if "week_start" in frame.columns:
            return frame.join(self.final_weeks, on="week_start", how="left").with_columns(
                pl.col("is_final").fill_null(False)
            )
        days = self.final.group_by(pl.col("local_hour").dt.date().alias("local_date")).agg(
            is_final=pl.col("is_final").all() & (pl.len() >= 23)
        )
        return frame.join(days, on="local_date", how="left").with_columns(pl.col("is_final").fill_null(False))


@pytest.fixture(scope="module", params=["generated", "dirty", "real_month"])
def both(request: pytest.FixtureRequest) -> tuple[Marts, Expected]:
    marts = request.getfixturevalue(request.param)
    return marts, Expected(marts)


def agree(marts: Marts, mart: str, frame: pl.DataFrame, at_least: int = 1) -> None:
    """Compares the mart with the frame's columns, row by row. Counts must be equal, rates up to rounding."""
    assert frame.height >= at_least
    columns = ", ".join(frame.columns)
    built = marts.frame(f"SELECT {columns} FROM marts.{mart}")
    keys = [name for name in _KEYS if name in frame.columns]
    assert_frame_equal(built.sort(keys), frame.sort(keys), check_dtypes=False, rel_tol=1e-12)


def test_fct_calls(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    analysts = ("queued_at", "started_at", "talk_started_at", "ended_at")
    names = dict(zip(CALL_DATES, analysts, strict=True))
    instants = {f"{theirs}_utc": f"{ours}_utc" for theirs, ours in names.items()}
    facts = other.facts.with_columns(is_vanished=~pl.col("listed")).drop("listed")
    agree(marts, "fct_calls", facts.rename(names | instants))


def test_dimensions(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    agree(marts, "dim_queues", expected.dim_queues(other.facts))
    agree(marts, "dim_agents", expected.dim_agents(other.facts))
    agree(marts, "dim_agents", expected.display_names(other.facts, other.history))


def test_fct_rings(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    frame = expected.fct_rings(other.facts, other.history, other.zone)
    # The real month's histories do not tell of rings.
    assert (frame.height == 0) == ("agent_ring" not in set(other.history["event"]))
    agree(marts, "fct_rings", frame, at_least=0)


def test_rings_of_every_kind(generated: Marts) -> None:
    """The generated centre has what the two computations may differ in."""
    outcomes = dict(generated.frame("SELECT outcome, count(*) FROM marts.fct_rings GROUP BY ALL").rows())
    assert outcomes.keys() == {"answered", "missed", "call_left", "unknown"}
    assert min(outcomes.values()) > 3
    names = dict(generated.frame("SELECT display_name, min(agent_id) FROM marts.fct_rings GROUP BY ALL").rows())
    assert names["Can Er"] == "(none)"
    assert len({agent for agent in names.values() if agent != "(none)"}) > 1


@pytest.mark.parametrize(("mart", "period"), [("queue_hourly", "local_hour"), ("queue_daily", "local_date")])
def test_queue_marts(both: tuple[Marts, Expected], mart: str, period: str) -> None:
    marts, other = both
    agree(marts, mart, other.with_names(expected.queue_mart(other.facts, period)))


def test_queue_interval(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    frame = expected.queue_interval(other.facts, other.loads, other.zone)
    assert frame.filter(calls=0).height > 0
    agree(marts, "queue_interval", other.with_names(frame))


def test_staffing_interval(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    seconds = dict(marts.frame("SELECT interval_start, seconds FROM marts.dim_intervals").rows())
    intervals = expected.queue_interval(other.facts, other.loads, other.zone)
    frame = expected.staffing_interval(intervals, other.facts, other.pieces, seconds)
    agree(marts, "staffing_interval", other.with_names(frame))


def test_staffing_of_the_real_month(real_month: Marts) -> None:
    """Where the load is known, so are the agents; callers who hang up need fewer of them, or as many."""
    calls, known, fewer = real_month.frame(
        """SELECT count(*), count(positions_erlang_a), count(*) FILTER (WHERE positions_erlang_a < positions_erlang_c)
           FROM marts.staffing_interval WHERE offered_erlangs > 0 AND patience_abandons > 0"""
    ).row(0)
    assert calls == known > fewer > 500
    assert real_month.one("SELECT bool_and(positions_erlang_a <= positions_erlang_c) FROM marts.staffing_interval")


@pytest.mark.parametrize(("mart", "period"), [("agent_interval", "interval_start"), ("agent_hourly", "local_hour")])
def test_agent_marts(both: tuple[Marts, Expected], mart: str, period: str) -> None:
    marts, other = both
    agree(marts, mart, other.with_names(expected.agent_mart(other.facts, other.pieces, period)))


def test_agent_daily(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    rings = expected.fct_rings(other.facts, other.history, other.zone)
    frame = expected.agent_daily(other.facts, other.pieces, rings)
    assert frame["overlap_seconds"].max() > 0
    agree(marts, "agent_daily", other.with_names(frame))


def test_agent_queue_daily(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    agree(marts, "agent_queue_daily", other.with_names(expected.agent_queue_daily(other.facts)))


def test_tag_daily(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    agree(marts, "tag_daily", other.with_names(expected.tag_daily(other.facts, other.tags)))


def test_patience(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    agree(marts, "patience", other.with_names(expected.patience(other.facts)))


def test_csat(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    answers = expected.csat_answers(other.facts, other.answers)
    tagged = expected.distinct_tags(other.tags).join(answers, on="call_key")
    if answers.is_empty():  # the real month's calls have none
        assert marts.one("SELECT count(*) FROM marts.csat_daily, marts.csat_tag_daily") == 0
        return
    by_agent = expected.csat_mart(answers, "local_date", "queue_key", "agent_id")
    agree(marts, "csat_daily", other.with_names(by_agent))
    agree(marts, "csat_tag_daily", other.with_names(expected.csat_mart(tagged, "local_date", "tag")))


def test_csat_response_daily(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    contacts = expected.fct_contacts(other.facts, expected.loaded_hours(other.loads, other.zone))
    rows = expected.csat_response_daily(contacts)
    names = (expected.dim_queues(other.facts), expected.dim_agents(other.facts))
    agree(marts, "csat_response_daily", rows.join(names[0], on="queue_key").join(names[1], on="agent_id"))


@pytest.mark.parametrize(
    ("mart", "period"), [("concurrency_interval", "interval_start"), ("concurrency_hourly", "local_hour")]
)
def test_concurrency(both: tuple[Marts, Expected], mart: str, period: str) -> None:
    marts, other = both
    agree(marts, mart, expected.concurrency_mart(other.pieces, other.zone, period))


def test_erlangs_are_the_mean_of_what_is_there_at_once(both: tuple[Marts, Expected]) -> None:
    marts, _ = both
    wrong = marts.frame(
        """SELECT * FROM marts.concurrency_hourly
           WHERE abs(erlangs * hour_seconds - busy_seconds) > 1e-6 OR erlangs > peak"""
    )
    assert wrong.is_empty()


def test_fct_contacts(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    contacts = expected.fct_contacts(other.facts, expected.loaded_hours(other.loads, other.zone))
    agree(marts, "fct_contacts", contacts)
    agree(marts, "fct_callbacks", expected.fct_callbacks(contacts))


def test_fct_transfers(both: tuple[Marts, Expected]) -> None:
    marts, other = both
    frame = expected.fct_transfers(other.facts)
    # In the real month each call has a callid of its own, and none is transferred.
    agree(marts, "fct_transfers", frame, at_least=0)


def test_the_repeated_hour_counts_both_of_its_passes(generated: Marts) -> None:
    repeated = "TIMESTAMP '2026-10-25 02:00'"
    assert generated.one(f"SELECT seconds FROM marts.dim_hours WHERE local_hour = {repeated}") == 7200
    passes = generated.frame(
        f"""SELECT DISTINCT date_trunc('hour', started_at_utc) FROM marts.fct_calls
            WHERE date_trunc('hour', started_at) = {repeated}"""
    )
    assert passes.height == 2


def test_the_intervals_of_a_day(generated: Marts) -> None:
    """96 of 900 s; 92 where the clock is put forward; the four of a repeated hour last 1800 s each."""
    days = generated.frame(
        """SELECT local_date, count(*), sum(seconds), count(*) FILTER (WHERE seconds = 1800)
           FROM marts.dim_intervals GROUP BY ALL"""
    )
    kinds = {(count, seconds, doubled): day for day, count, seconds, doubled in days.rows()}
    assert kinds.keys() == {(96, 86400, 0), (92, 82800, 0), (96, 90000, 4)}
    repeated = generated.frame("SELECT DISTINCT local_hour FROM marts.dim_intervals WHERE seconds = 1800")
    assert repeated.rows() == [(dt.datetime(2026, 10, 25, 2),)]


def test_the_skipped_hour_lasts_no_time(generated: Marts) -> None:
    hours = generated.frame(
        """SELECT hour(local_hour), seconds, starts_at_utc::TIMESTAMP FROM marts.dim_hours
           WHERE local_date = DATE '2027-03-28' AND hour_of_day BETWEEN 1 AND 3 ORDER BY ALL"""
    )
    day = dt.datetime(2027, 3, 28)
    assert hours.rows() == [(1, 3600, day), (2, 0, day + expected.HOUR), (3, 3600, day + expected.HOUR)]


def test_the_calendar_names_special_days(generated: Marts) -> None:
    """A day that is noted twice has both names, and its hours once."""
    before = generated.frame("FROM marts.dim_hours ORDER BY ALL")
    assert before["special_day"].null_count() == before.height

    def note(statement: str) -> None:
        with generated.warehouse.held("test"):
            with generated.warehouse.opened() as connection:
                connection.execute(statement)
            assert {result.status for result in build(generated.settings, ["dim_hours"])} <= {"success", "pass"}

    note("INSERT INTO staging.special_days VALUES ('2026-10-24', 'Fair'), ('2026-10-24', NULL), ('2026-10-20', 'Past')")
    noted = generated.frame("SELECT local_date, special_day, count(*) FROM marts.dim_hours GROUP BY ALL ORDER BY ALL")
    assert noted.filter(pl.col("special_day").is_not_null()).rows() == [(dt.date(2026, 10, 24), "Fair, (no name)", 24)]
    note("DELETE FROM staging.special_days")
    assert_frame_equal(generated.frame("FROM marts.dim_hours ORDER BY ALL"), before)
