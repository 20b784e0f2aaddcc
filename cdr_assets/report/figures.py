"""The numbers of a report, read from the published copy.

For every rate, its parts are summed first and then divided. The formulas belong to the marts and are only in
dbt_project/macros/measures.sql. Days and hours are in the tenant's local time; `start` is included, `finish` is not.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
from jinja2 import Environment

from cdr_assets.domain.errors import OperatorError
from cdr_assets.marts.build import PROJECT_DIR

_DAYS_BY_DEFAULT = 28

_Ask = Callable[[str], pl.DataFrame]

_PARTS = (
    "offered", "answered", "abandoned", "short_abandoned", "voicemail", "other_exits", "assigned", "missed", "held",
    "transferred", "outbound", "outbound_answered", "answered_within_threshold", "sl_known", "wait_seconds_answered",
    "wait_known_answered", "talk_seconds", "talk_known", "hold_seconds", "hold_known", "hold_seconds_held",
    "hold_known_held", "holds_known", "transfers_known", "agent_hung_up", "localrelease_known",
)  # fmt: skip
_QUEUE_PARTS = (
    *_PARTS, "abandoned_within_threshold", "wait_seconds_offered", "wait_known_offered", "wait_seconds_abandoned",
    "wait_known_abandoned", "menu_seconds", "menu_known",
)  # fmt: skip
_AGENT_PARTS = (*_PARTS, "all_talk_seconds", "all_talk_known")

# The macros with the marts' formulas: each returns the SQL of one or more rates from the names of their parts. They
# use dbt's `return` and the tag `do`, which plain jinja does not have.
_MACROS = Environment(extensions=["jinja2.ext.do"]).from_string(
    (PROJECT_DIR / "macros" / "measures.sql").read_text(encoding="utf-8"), globals={"return": lambda value: value}
)
_MEASURES: Any = _MACROS.module
# Upper edges of the bins of waiting times, in seconds. The list reads the same in SQL and in jinja.
_WAIT_EDGES = _MEASURES.wait_edges()
_AGENT_RATES = f"{_MEASURES.call_rates()}, {_MEASURES.share_of_time('all_talk_seconds', 'span_seconds')} AS occupancy"
_QUEUE_RATES = f"{_MEASURES.call_rates()}, {_MEASURES.queue_rates()}"


@dataclass(frozen=True)
class Figures:
    """The numbers of a report over the days [start, finish). Parts and rates are the columns of the marts.

    totals: parts and rates of the whole centre; percentiles of the answered calls' waits (`wait_seconds_p50`, `_p90`,
      `_p95`); the longest wait of an offered call; the thresholds in use (`threshold_seconds`, a list)
    steps: a row per `step_start` (an hour, day, week or month, see `step`): parts and rates, and how many hours are
      `final`, `open` (loaded, but may still change) and `missing`
    week: a row per `weekday` (1 is Monday) and `hour_of_day`: loaded `hours`, `offered_per_hour`, parts and rates
    waits: a row per `edge` (seconds, the longest wait in the bin; NULL in the last): `answered`, `abandoned`
    queues, agents: a row per queue or agent, the busiest first: parts and rates
    scores: a row per `question`, `scale` and `score`: `answers`
    csat: a row per `question`, `scale` and `queue_name` (NULL for all queues): `answers`, `mean_score`,
      `top_two_share`
    contacts: `answered` inbound contacts whose survey answers were fetched, and how many are `with_an_answer`
    loads: number of hours `expected`, `loaded` and `final`; calls still `open`; `rejected` records; `newest_fetch` (an
      aware time); hours `restated`, and how many of them after they were final (`restated_final`). Which hours failed
      is read in `status.hours`
    missing: for each span of hours that are not loaded, its first and last hour
    """

    start: dt.date
    finish: dt.date
    step: str
    totals: dict[str, Any]
    steps: pl.DataFrame
    week: pl.DataFrame
    waits: pl.DataFrame
    queues: pl.DataFrame
    agents: pl.DataFrame
    scores: pl.DataFrame
    csat: pl.DataFrame
    contacts: dict[str, Any]
    loads: dict[str, Any]
    missing: Sequence[tuple[dt.datetime, dt.datetime]]


def days_of(
    connection: duckdb.DuckDBPyConnection, start: dt.date | None, finish: dt.date | None
) -> tuple[dt.date, dt.date]:
    """The days of a report. By default it ends with the newest loaded day and covers four weeks.

    Raises OperatorError if nothing is loaded, or if `start` is after the newest loaded day.
    """
    first, last = connection.execute(
        "SELECT min(local_date), max(local_date) FROM marts.dim_hours WHERE is_loaded"
    ).fetchall()[0]
    if first is None:
        raise OperatorError("the published copy holds no hour yet; run `cdr backfill` first")
    finish = finish or last + dt.timedelta(days=1)
    start = start or max(min(first, finish - dt.timedelta(days=1)), finish - dt.timedelta(days=_DAYS_BY_DEFAULT))
    if start >= finish:
        raise OperatorError(f"the published copy ends before {start}: its newest day is {last}; choose another --from")
    return start, finish


def read_figures(connection: duckdb.DuckDBPyConnection, start: dt.date, finish: dt.date) -> Figures:
    """Reads all numbers of the report over [start, finish). `connection` is open on the published copy."""
    days = {"start": start, "finish": finish}
    step = _step(finish - start)

    def ask(query: str) -> pl.DataFrame:
        return connection.execute(query, days if "$" in query else None).pl()

    # Every hour of the days, also hours that are not in the copy, but without an hour that a clock change skips.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE hours AS
        SELECT
            hour AS local_hour,
            date_trunc('{step}', hour) AS step_start,
            coalesce(is_loaded, false) AS is_loaded,
            coalesce(is_final, false) AS is_final,
            coalesce(open_calls, 0) AS open_calls
        FROM range($start::TIMESTAMP, $finish::TIMESTAMP, INTERVAL 1 HOUR) AS hours (hour)
        LEFT JOIN marts.dim_hours ON local_hour = hour
        WHERE coalesce(seconds, 3600) > 0
        """,
        days,
    )
    return Figures(
        start=start,
        finish=finish,
        step=step,
        totals=_totals(ask),
        steps=_steps(ask),
        week=_week(ask),
        waits=_waits(ask),
        queues=_queues(ask),
        agents=_agents(ask),
        scores=ask(
            f"""SELECT question, scale, score, count(*) AS answers FROM marts.fct_csat_answers
                WHERE {_IN_DAYS} AND NOT is_vanished AND score IS NOT NULL GROUP BY ALL ORDER BY ALL"""
        ),
        csat=ask(
            f"""SELECT question, scale, queue_name, count(score) AS answers, sum(score) / count(score) AS mean_score,
                    count(*) FILTER (WHERE is_top_two) / nullif(count(is_top_two), 0) AS top_two_share
                FROM marts.fct_csat_answers JOIN marts.dim_queues USING (queue_key)
                WHERE {_IN_DAYS} AND NOT is_vanished AND score IS NOT NULL
                GROUP BY GROUPING SETS ((question, scale), (question, scale, queue_name))
                ORDER BY question, scale, queue_name NULLS FIRST"""
        ),
        contacts=ask(
            f"""SELECT count(csat_answers) AS answered, count(*) FILTER (WHERE csat_answers > 0) AS with_an_answer
                FROM marts.fct_contacts WHERE {_IN_DAYS} AND is_answered"""
        ).row(0, named=True),
        loads=_loads(ask),
        missing=ask(
            """SELECT min(local_hour) AS first, max(local_hour) AS last
               FROM (SELECT local_hour, local_hour - to_hours(row_number() OVER (ORDER BY local_hour)) AS island
                     FROM hours WHERE NOT is_loaded)
               GROUP BY island ORDER BY first"""
        ).rows(),
    )


_IN_DAYS = "local_date >= $start AND local_date < $finish"


def _step(length: dt.timedelta) -> str:
    """The length of a step, chosen so that a chart has about 10 to 100 of them."""
    for days, step in ((3, "hour"), (92, "day"), (2 * 366, "week")):
        if length <= dt.timedelta(days=days):
            return step
    return "month"


def _totals(ask: _Ask) -> dict[str, Any]:
    totals = ask(
        f"""SELECT *, {_QUEUE_RATES} FROM (
                SELECT {_sums(_QUEUE_PARTS)}, max(wait_seconds_max) AS wait_seconds_max,
                    list_sort(list(DISTINCT threshold_seconds) FILTER (WHERE offered > 0)) AS threshold_seconds
                FROM marts.queue_daily WHERE {_IN_DAYS}
            )"""
    )
    waits = ask(
        f"""SELECT {_percentiles((0.5, 0.9, 0.95))} FROM marts.fct_calls
            WHERE {_IN_DAYS} AND is_answered"""
    )
    return pl.concat([totals, waits], how="horizontal").row(0, named=True)


def _steps(ask: _Ask) -> pl.DataFrame:
    return ask(
        f"""
        WITH calls AS (
            SELECT local_hour, {_sums(_QUEUE_PARTS)} FROM marts.queue_hourly WHERE {_IN_DAYS} GROUP BY local_hour
        ),
        steps AS (
            SELECT
                step_start,
                {_sums(_QUEUE_PARTS)},
                count(*) FILTER (WHERE is_final) AS final,
                count(*) FILTER (WHERE is_loaded AND NOT is_final) AS open,
                count(*) FILTER (WHERE NOT is_loaded) AS missing
            FROM hours
            LEFT JOIN calls USING (local_hour)
            GROUP BY step_start
        )
        SELECT *, {_QUEUE_RATES} FROM steps ORDER BY step_start
        """
    )


def _week(ask: _Ask) -> pl.DataFrame:
    """Means over all loaded hours, also those without a call."""
    return ask(
        f"""
        WITH calls AS (
            SELECT local_hour, {_sums(_QUEUE_PARTS)} FROM marts.queue_hourly WHERE {_IN_DAYS} GROUP BY local_hour
        ),
        week AS (
            SELECT
                isodow(local_hour) AS weekday,
                hour(local_hour) AS hour_of_day,
                count(*) AS hours,
                {_sums(_QUEUE_PARTS)}
            FROM hours
            LEFT JOIN calls USING (local_hour)
            WHERE is_loaded
            GROUP BY ALL
        )
        SELECT *, offered / hours AS offered_per_hour, {_QUEUE_RATES} FROM week ORDER BY weekday, hour_of_day
        """
    )


def _waits(ask: _Ask) -> pl.DataFrame:
    return ask(
        f"""
        WITH counted AS (
            SELECT
                list_filter({_WAIT_EDGES}, lambda edge: wait_seconds <= edge)[1] AS edge,
                count(*) FILTER (WHERE is_answered) AS answered,
                count(*) FILTER (WHERE is_abandoned) AS abandoned
            FROM marts.fct_calls
            WHERE {_IN_DAYS} AND (is_answered OR is_abandoned) AND wait_seconds IS NOT NULL
            GROUP BY ALL
        ),
        edges AS (SELECT unnest({_WAIT_EDGES} || [NULL]) AS edge)
        SELECT
            edges.edge,
            coalesce(answered, 0) AS answered,
            coalesce(abandoned, 0) AS abandoned
        FROM edges
        LEFT JOIN counted ON counted.edge IS NOT DISTINCT FROM edges.edge
        ORDER BY edges.edge NULLS LAST
        """
    )


def _queues(ask: _Ask) -> pl.DataFrame:
    return ask(
        f"""
        WITH waits AS (
            SELECT queue_key, {_percentiles((0.9,))} FROM marts.fct_calls WHERE {_IN_DAYS} AND is_answered GROUP BY ALL
        ),
        queues AS (
            SELECT queue_name, {_sums(_QUEUE_PARTS)}, max(wait_seconds_max) AS wait_seconds_max,
                any_value(waits.wait_seconds_p90) AS wait_seconds_p90
            FROM marts.queue_daily
            LEFT JOIN waits USING (queue_key)
            WHERE {_IN_DAYS}
            GROUP BY queue_key, queue_name
        )
        SELECT *, {_QUEUE_RATES} FROM queues WHERE offered > 0 ORDER BY offered DESC, queue_name
        """
    )


def _agents(ask: _Ask) -> pl.DataFrame:
    return ask(
        f"""SELECT *, {_AGENT_RATES} FROM (
                SELECT agent_username, {_sums(_AGENT_PARTS)}, sum(span_seconds)::BIGINT AS span_seconds
                FROM marts.agent_daily WHERE {_IN_DAYS}
                GROUP BY agent_id, agent_username
            )
            WHERE answered + assigned + outbound > 0 ORDER BY answered DESC, agent_username"""
    )


def _loads(ask: _Ask) -> dict[str, Any]:
    return ask(
        """
        WITH fetches AS (
            SELECT partition_hour, max(fetched_at) AS newest_fetch, arg_max(rejected, fetched_at) AS rejected
            FROM cdr.loads GROUP BY ALL
        ),
        restated AS (
            SELECT local_hour, bool_or(was_final) AS was_final FROM cdr.restatements GROUP BY ALL
        )
        SELECT
            count(*) AS expected,
            count(*) FILTER (WHERE is_loaded) AS loaded,
            count(*) FILTER (WHERE is_final) AS final,
            coalesce(sum(open_calls), 0)::BIGINT AS open,
            coalesce(sum(rejected), 0)::BIGINT AS rejected,
            max(newest_fetch) AS newest_fetch,
            count(was_final) AS restated,
            count(*) FILTER (WHERE was_final) AS restated_final
        FROM hours
        LEFT JOIN fetches ON partition_hour = local_hour
        LEFT JOIN restated USING (local_hour)
        """
    ).row(0, named=True)


def _sums(parts: Sequence[str]) -> str:
    return ", ".join(f"coalesce(sum({part}), 0)::BIGINT AS {part}" for part in parts)


def _percentiles(shares: Sequence[float]) -> str:
    return ", ".join(f"quantile_cont(wait_seconds, {share}) AS wait_seconds_p{share * 100:.0f}" for share in shares)
