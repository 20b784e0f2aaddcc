"""A second computation of every mart, in polars over `cdr.calls` and its children. What dbt builds must equal it.

It follows the definitions, not the models, and works differently: it cuts UTC times where the models cut local times,
and walks along chains of calls where the models use SQL windows. `test_independent` compares the two.
"""

import datetime as dt
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from cdr_assets_tests.marts.erlang import Target, agents_erlang_a, agents_erlang_c

EDGES = [5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200]
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)

_COUNTS = {
    "offered": "is_offered", "answered": "is_answered", "abandoned": "is_abandoned",
    "short_abandoned": "is_short_abandoned", "voicemail": "is_voicemail", "other_exits": "is_other_exit",
    "left_in_menu": "is_left_in_menu", "direct": "is_direct", "outbound": "is_outbound",
    "outbound_answered": "is_outbound_answered", "assigned": "is_assigned", "missed": "is_missed", "held": "is_held",
    "transferred": "is_transferred", "agent_hung_up": "is_agent_hung_up",
    "answered_within_threshold": "is_answered_within_threshold", "sl_known": "is_sl_known",
    "localrelease_known": "is_localrelease_known",
}  # fmt: skip


def fct_calls(calls: pl.DataFrame, loads: pl.DataFrame) -> pl.DataFrame:
    """The calls, vanished ones too, with the sets they belong to: the columns that the other functions need."""
    whole = loads.filter(pl.col("error").is_null() & pl.col("filters").is_null())
    read = whole.group_by("partition_hour").agg(read_at=pl.col("fetched_at").max())
    calls = calls.join(read, on="partition_hour", how="left", maintain_order="left")
    calls = calls.with_columns(
        holdduration=pl.coalesce(
            "holdduration",
            pl.when((pl.col("hold") == 0) & ~pl.col("set_aside").str.contains("holdduration").fill_null(False)).then(0),
        ),
    )
    flags = ("inbound", "queued", "answered", "abandon", "voicemail", "shortcall", "assigned")
    calls = calls.with_columns(pl.col(flags).fill_null(False), listed=pl.col("vanished_at").is_null())
    counted_at = pl.when(pl.col("queued") & pl.col("queuedate").is_not_null()).then("queuedate").otherwise("calldate")
    offered = pl.col("listed") & pl.col("inbound") & pl.col("queued")
    answered = offered & pl.col("answered")
    abandoned = offered & ~pl.col("answered") & pl.col("abandon") & ~pl.col("voicemail")
    missed_queue = pl.col("listed") & pl.col("inbound") & ~pl.col("queued")
    outbound = pl.col("listed") & ~pl.col("inbound")
    voicemail = offered & ~pl.col("answered") & pl.col("voicemail")
    talk = _plausible(pl.col("hangupdate_utc") - pl.col("talkdate_utc"))
    seconds = pl.when(pl.col("talkdate_utc") >= pl.col("calldate_utc")).then(talk)
    left_menu = (
        pl.when("queued").then("queuedate_utc").when("answered").then("talkdate_utc").otherwise("hangupdate_utc")
    )
    outcomes = {
        "vanished": ~pl.col("listed"),
        "answered": answered, "abandoned": abandoned, "voicemail": voicemail, "other_exit": offered,
        "direct": missed_queue & pl.col("answered"), "left_in_menu": missed_queue,
        "outbound_answered": outbound & pl.col("answered"), "outbound_not_answered": outbound,
    }  # fmt: skip
    facts = calls.select(
        "partition_hour", "calldate", "queuedate", "talkdate", "hangupdate", "calldate_utc",
        "queuedate_utc", "talkdate_utc", "hangupdate_utc", "listed",
        call_key="key",
        callerid="callerid_e164",
        called_num="called_num_e164",
        callid=_text("callid").fill_null(pl.col("key")),
        queue_key=pl.coalesce(_text("queuekey"), _text("queue"), pl.lit("(none)")),
        queue_name=_text("queue"),
        agent_id=pl.coalesce(_text("agentid"), _text("agent"), pl.lit("(none)")),
        agent_username=_text("agent"),
        interval_start=counted_at.dt.truncate("15m"),
        local_hour=counted_at.dt.truncate("1h"),
        local_date=counted_at.dt.date(),
        menu_seconds=pl.when("inbound").then(_plausible(left_menu - pl.col("calldate_utc"))),
        outcome=pl.coalesce(*(pl.when(condition).then(pl.lit(name)) for name, condition in outcomes.items())),
        is_inbound="inbound",
        wait_seconds="waitduration",
        talk_seconds=pl.when("answered").then(seconds),
        hold_seconds="holdduration",
        holds="hold",
        transfers="transferred",
        csat_answers="csat_answers_count",
        is_offered=offered,
        is_answered=answered,
        is_abandoned=abandoned,
        is_short_abandoned=abandoned & pl.col("shortcall"),
        is_voicemail=voicemail,
        is_other_exit=offered & ~pl.col("answered") & ~pl.col("voicemail") & ~pl.col("abandon"),
        is_left_in_menu=missed_queue & ~pl.col("answered"),
        is_direct=missed_queue & pl.col("answered"),
        is_outbound=outbound,
        is_outbound_answered=outbound & pl.col("answered"),
        is_assigned=pl.col("listed") & pl.col("assigned"),
        is_missed=pl.col("listed") & pl.col("assigned") & ~pl.col("answered"),
        is_sl_known=answered & pl.col("sl").is_not_null(),
        is_answered_within_threshold=answered & pl.col("sl").fill_null(False),
        is_held=answered & (pl.col("hold") > 0).fill_null(False),
        is_transferred=answered & (pl.col("transferred") > 0).fill_null(False),
        is_localrelease_known=answered & pl.col("localrelease").is_not_null(),
        is_agent_hung_up=answered & pl.col("localrelease").fill_null(False),
        is_open=pl.col("listed") & pl.col("hangupdate").is_null()
        & (pl.max_horizontal("fetched_at", "read_at") - pl.col("calldate_utc") < DAY),
    )  # fmt: skip
    beyond = pl.col("is_sl_known") & ~pl.col("is_answered_within_threshold")
    thresholds = facts.group_by("queue_key", "local_date").agg(
        low=pl.col("wait_seconds").filter("is_answered_within_threshold").max().fill_null(0),
        high=pl.col("wait_seconds").filter(beyond).min().fill_null(10**6) - 1,
    )
    thresholds = thresholds.select(
        "queue_key", "local_date", threshold_seconds=pl.max_horizontal("low", pl.min_horizontal(pl.lit(20), "high"), 0)
    )
    within = (pl.col("wait_seconds") <= pl.col("threshold_seconds")).fill_null(False)
    return facts.join(thresholds, on=["queue_key", "local_date"]).with_columns(
        is_abandoned_within_threshold=pl.col("is_abandoned") & within
    )


def _plausible(length: pl.Expr) -> pl.Expr:
    """The length in seconds if it is from 0 to a day."""
    return pl.when((length >= dt.timedelta()) & (length <= DAY)).then(length.dt.total_seconds())


def dim_queues(facts: pl.DataFrame) -> pl.DataFrame:
    return _latest(facts, "queue_key", "queue_name")


def dim_agents(facts: pl.DataFrame) -> pl.DataFrame:
    return _latest(facts, "agent_id", "agent_username")


_KINDS = {"agent_ring": "ring", "agent_miss": "miss", "agent_answer": "answer"}


@dataclass(frozen=True)
class _Event:
    position: int
    kind: str
    at: dt.datetime | None
    name: str | None


def _events_of_calls(history: pl.DataFrame) -> dict[str, list[_Event]]:
    """By call, the events that tell of rings, in the vendor's order."""
    events: dict[str, list[_Event]] = defaultdict(list)
    for row in history.sort("key", "position").iter_rows(named=True):
        if kind := _KINDS.get((row["event"] or "").strip(" ").lower()):
            name = (row["agent"] or "").strip(" ") or None
            events[row["key"]].append(_Event(row["position"], kind, row["date"], name))
    return events


def agent_names(facts: pl.DataFrame, history: pl.DataFrame) -> list[tuple[str, str, dt.date, dt.datetime]]:
    """What calls show surely: agent_id, display name, the call's day and start."""
    events = _events_of_calls(history)
    found = []
    for call in facts.filter(pl.col("listed") & (pl.col("agent_id") != "(none)")).iter_rows(named=True):
        named = [event for event in events.get(call["call_key"], ()) if event.name]
        answers = [event for event in named if event.kind == "answer"]
        talked = any(event.at is not None and event.at == call["talkdate"] for event in answers)
        name = None
        if len({event.name for event in answers}) == 1 and talked:
            name = answers[0].name
        elif len({event.name for event in named}) == 1 and call["is_assigned"]:
            name = named[0].name if any(event.kind == "ring" for event in named) else None
        if name:
            found.append((call["agent_id"], name, call["local_date"], call["calldate"]))
    return found


def agents_of_names(facts: pl.DataFrame, history: pl.DataFrame) -> dict[str, str]:
    """The agent of each display name that belongs to one agent only."""
    agents: dict[str, set[str]] = defaultdict(set)
    for agent, name, *_ in agent_names(facts, history):
        agents[name].add(agent)
    return {name: next(iter(which)) for name, which in agents.items() if len(which) == 1}


def display_names(facts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """agent_id and display_name of dim_agents."""
    whose = agents_of_names(facts, history)
    latest: dict[str, tuple[Any, str]] = {}
    for agent, name, day, start in agent_names(facts, history):
        if name in whose:
            latest[agent] = max(latest.get(agent, ((day, start), name)), ((day, start), name))
    agents = facts["agent_id"].unique().to_list()
    names = [latest[agent][1] if agent in latest else None for agent in agents]
    return pl.DataFrame({"agent_id": agents, "display_name": names}, schema_overrides={"display_name": pl.String})


def fct_rings(facts: pl.DataFrame, history: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """One row per ring."""
    whose, events = agents_of_names(facts, history), _events_of_calls(history)

    def instant(local: dt.datetime | None, call: dict[str, Any]) -> dt.datetime | None:
        if local is None:
            return None
        first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
        return first if first >= call["calldate_utc"] else second

    rows = []
    for call in facts.iter_rows(named=True):
        told = events.get(call["call_key"], [])
        talked = call["is_answered"] or call["is_direct"] or call["is_outbound_answered"]
        for place, ring in enumerate(told):
            after = next((event for event in told[place + 1 :] if event.name == ring.name), None)
            if ring.kind != "ring" or (after and after.kind == "ring" and after.at == ring.at):
                continue
            over = None
            if after and after.kind != "ring":
                outcome = {"answer": "answered", "miss": "missed"}[after.kind]
                over = instant(after.at, call)
            elif after or call["is_open"] or not call["listed"]:
                outcome = "unknown"
            elif not talked:
                outcome, over = "call_left", call["hangupdate_utc"]
            elif any(event.kind == "answer" for event in told[place + 1 :]):
                outcome, over = "call_left", call["talkdate_utc"]
            else:
                outcome = "unknown"
            at, start, end = instant(ring.at, call), call["calldate_utc"], call["hangupdate_utc"]
            known = at is not None and abs(at - start) <= DAY
            seconds = int((over - at).total_seconds()) if at and known and over else None
            counted = call["interval_start"]
            if ring.at and at and end and start <= at <= end:
                counted = ring.at.replace(minute=ring.at.minute // 15 * 15, second=0, microsecond=0)
            rows.append(
                {
                    "call_key": call["call_key"], "position": ring.position,
                    "partition_hour": call["partition_hour"], "interval_start": counted,
                    "local_hour": counted.replace(minute=0), "local_date": counted.date(), "callid": call["callid"],
                    "queue_key": call["queue_key"], "agent_id": whose.get(ring.name or "", "(none)"),
                    "display_name": ring.name, "rung_at": ring.at if known else None,
                    "ring_seconds": seconds if seconds is not None and 0 <= seconds <= 86400 else None,
                    "outcome": outcome, "is_vanished": not call["listed"],
                }
            )  # fmt: skip
    schema = {
        "call_key": pl.String, "position": pl.Int64, "partition_hour": pl.Datetime("us"),
        "interval_start": pl.Datetime("us"), "local_hour": pl.Datetime("us"), "local_date": pl.Date,
        "callid": pl.String, "queue_key": pl.String, "agent_id": pl.String, "display_name": pl.String,
        "rung_at": pl.Datetime("us"), "ring_seconds": pl.Int64, "outcome": pl.String, "is_vanished": pl.Boolean,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def final_hours(facts: pl.DataFrame, loads: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """local_hour and is_final of every hour that was fetched."""
    still_open = set(facts.filter("is_open")["local_hour"])
    fetched = loads.filter(pl.col("error").is_null()).group_by("partition_hour").agg(pl.col("fetched_at").max())
    loaded = set(fetched["partition_hour"])

    def hour_before(hour: dt.datetime) -> dt.datetime:
        before = hour - HOUR
        is_shown = before.replace(tzinfo=zone).astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == before
        return before if is_shown else before - HOUR

    return pl.DataFrame(
        [
            (
                hour,
                hour not in still_open
                and (hour == min(loaded) or hour_before(hour) in loaded)
                and at >= (hour + HOUR).replace(tzinfo=zone).astimezone(dt.UTC) + 2 * DAY,
            )
            for hour, at in fetched.iter_rows()
        ],
        schema={"local_hour": pl.Datetime("us"), "is_final": pl.Boolean},
        orient="row",
    )


def queue_mart(facts: pl.DataFrame, period: str) -> pl.DataFrame:
    """queue_hourly by local_hour, queue_daily by local_date; without queue_name and is_final."""
    answered, talks = pl.col("wait_seconds").filter("is_answered"), pl.col("talk_seconds").filter("is_answered")
    abandoned, menu = pl.col("wait_seconds").filter("is_abandoned"), pl.col("menu_seconds").filter("is_inbound")
    rows = facts.filter("listed").group_by(period, "queue_key").agg(
        *_parts(),
        abandoned_within_threshold=pl.col("is_abandoned_within_threshold").sum(),
        wait_seconds_offered=pl.col("wait_seconds").filter("is_offered").sum(),
        wait_known_offered=pl.col("wait_seconds").filter("is_offered").count(),
        wait_seconds_abandoned=pl.col("wait_seconds").filter("is_abandoned").sum(),
        wait_known_abandoned=pl.col("wait_seconds").filter("is_abandoned").count(),
        wait_seconds_max=pl.col("wait_seconds").filter("is_offered").max(),
        wait_seconds_p50=answered.quantile(0.5, "linear"),
        wait_seconds_p90=answered.quantile(0.9, "linear"),
        wait_seconds_p95=answered.quantile(0.95, "linear"),
        talk_seconds_p50=talks.quantile(0.5, "linear"),
        talk_seconds_p90=talks.quantile(0.9, "linear"),
        menu_seconds=menu.sum(),
        menu_known=menu.count(),
        threshold_seconds=pl.col("threshold_seconds").max(),
        **{f"answered_within_{edge}s": (answered <= edge).sum() for edge in EDGES},
        **{f"abandoned_within_{edge}s": (abandoned <= edge).sum() for edge in EDGES},
    )  # fmt: skip
    served, lost, short = pl.col("answered_within_threshold"), pl.col("abandoned"), pl.col("short_abandoned")
    o, quick = pl.col("offered"), pl.col("abandoned_within_threshold")
    # If calls were answered but it is known of none whether in time, there is no service level.
    a = pl.when((pl.col("answered") == 0) | (pl.col("sl_known") > 0)).then("sl_known")
    return rows.with_columns(
        *_rates(),
        service_level=_over(served, a + lost - short),
        service_level_strict=_over(served, a + lost),
        service_level_2t=_over(served, a + lost - quick),
        service_level_answered=_over(served, a),
        service_level_credit=_over(served + quick, a + lost),
        abandonment_rate=_over(lost, o),
        abandonment_rate_long=_over(lost - short, o - short),
        voicemail_rate=_over(pl.col("voicemail"), o),
        wait_seconds_per_offered=_over(pl.col("wait_seconds_offered"), pl.col("wait_known_offered")),
        wait_seconds_per_abandoned=_over(pl.col("wait_seconds_abandoned"), pl.col("wait_known_abandoned")),
        menu_seconds_per_call=_over(pl.col("menu_seconds"), pl.col("menu_known")),
    )


def queue_interval(facts: pl.DataFrame, loads: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Without queue_name and is_final. A queue's quiet quarters of loaded hours, from its first day on, are zeros."""
    rows = queue_mart(facts, "interval_start").drop(pl.selectors.matches(r"^(wait|talk)_seconds_p\d+$"))
    first_days = facts.group_by("queue_key").agg(pl.col("local_date").min()).rows()
    both_passes: dict[dt.datetime, int] = defaultdict(int)
    for hour in loaded_hours(loads, zone):
        both_passes[hour.astimezone(zone).replace(tzinfo=None)] += 1
    quarters = [hour + n * HOUR / 4 for hour in both_passes for n in range(4)]
    quiet = pl.DataFrame(
        [(queue, quarter) for queue, first in first_days for quarter in quarters if quarter.date() >= first],
        schema={"queue_key": pl.String, "interval_start": pl.Datetime("us")},
        orient="row",
    ).join(rows, on=["queue_key", "interval_start"], how="anti")
    parts = [name for name, kind in rows.schema.items() if kind.is_integer()]
    unknown = {"wait_seconds_max", "threshold_seconds"}
    zeros = quiet.with_columns(pl.lit(0).alias(name) for name in parts if name not in unknown)
    return pl.concat([rows, zeros], how="diagonal_relaxed")


def staffing_interval(
    intervals: pl.DataFrame, facts: pl.DataFrame, pieces: pl.DataFrame, seconds: dict[dt.datetime, int]
) -> pl.DataFrame:
    """Without queue_name and is_final, for queues without targets. `intervals` is queue_interval; `seconds` says how
    long each interval lasts."""
    target = Target(share=0.8, seconds=20, most_occupancy=1)
    rows_of = {(row["queue_key"], row["interval_start"]): row for row in intervals.iter_rows(named=True)}
    days_of: dict[tuple[str, dt.date], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of.values():
        days_of[row["queue_key"], row["interval_start"].date()].append(row)
    seen: dict[tuple[str, dt.datetime], set[str]] = defaultdict(set)
    assigned = facts.filter("is_assigned").select("queue_key", "interval_start", "agent_id")
    talking = pieces.filter(kind="talking").select("queue_key", "interval_start", "agent_id")
    for queue, start, agent in [*assigned.iter_rows(), *talking.iter_rows()]:
        seen[queue, start] |= {agent} - {"(none)"}
    rows = []
    for (queue, start), row in rows_of.items():
        weeks = [rows_of[key] for n in (1, 2, 3, 4) if (key := (queue, start - n * 7 * DAY)) in rows_of]
        days = [each for n in range(1, 29) for each in days_of.get((queue, start.date() - dt.timedelta(n)), ())]
        basis, past = "weekday and interval", weeks
        if sum(each["talk_known"] for each in past) < 30:
            basis, past = "queue", days
        known, talked = sum(each["talk_known"] for each in past), sum(each["talk_seconds"] for each in past)
        abandons = sum(each["wait_known_abandoned"] for each in days)
        waited = sum(each["wait_seconds_offered"] for each in days)
        handle = talked / known if known else None
        patience = waited / abandons if abandons else None
        offered, positions = row["offered"], dict.fromkeys("ca", 0)
        erlangs = offered * handle / seconds[start] if handle is not None else None
        if offered:
            positions = dict.fromkeys("ca")
            if erlangs and handle:
                positions["c"] = agents_erlang_c(erlangs, handle, target)
                if patience is not None:
                    positions["a"] = agents_erlang_a(erlangs, handle, patience, target)
        agents = len(seen[queue, start])
        rows.append(
            {
                "interval_start": start, "queue_key": queue, "offered": offered, "interval_seconds": seconds[start],
                "handle_from": basis if known else None, "handle_seconds": handle,
                "offered_erlangs": erlangs if offered else 0.0, "patience_seconds": patience,
                "positions_erlang_c": positions["c"], "positions_erlang_a": positions["a"],
                "agents_erlang_c": positions["c"], "agents_erlang_a": positions["a"], "agents_seen": agents,
                "gap": None if positions["c"] is None else agents - positions["c"],
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def agent_mart(facts: pl.DataFrame, pieces: pl.DataFrame, period: str) -> pl.DataFrame:
    """agent_interval by interval_start, agent_hourly by local_hour; without agent_username, occupancy and is_final.

    `pieces` are those of call_intervals().
    """
    parts = facts.filter("listed").group_by(period, "agent_id").agg(_parts())
    busy = pieces.filter(kind="talking").group_by(period, "agent_id").agg(busy_seconds=pl.col("seconds").sum())
    rows = parts.join(busy, on=[period, "agent_id"], how="full", coalesce=True).fill_null(0)
    return rows.with_columns(_rates())


def agent_daily(facts: pl.DataFrame, pieces: pl.DataFrame, rings: pl.DataFrame) -> pl.DataFrame:
    """Without agent_username and is_final. `rings` is fct_rings."""
    talked = pl.col("talk_seconds").is_not_null()
    parts = facts.filter("listed").group_by("local_date", "agent_id").agg(
        *_parts(),
        all_talk_seconds=pl.col("talk_seconds").sum(),
        all_talk_known=pl.col("talk_seconds").count(),
        span_seconds=(
            pl.col("hangupdate_utc").filter(talked).max() - pl.col("talkdate_utc").filter(talked).min()
        ).dt.total_seconds(),
        first_talk_at=pl.col("talkdate").filter(talked).min(),
        last_hangup_at=pl.col("hangupdate").filter(talked).max(),
    )  # fmt: skip
    busy = (
        pieces.filter(kind="talking")
        .group_by(pl.col("local_hour").dt.date().alias("local_date"), "agent_id")
        .agg(busy_seconds=pl.col("seconds").sum())
    )
    rung = rings.filter(~pl.col("is_vanished")).group_by("local_date", "agent_id").agg(
        rings=pl.len(),
        rings_known=(pl.col("outcome") != "unknown").sum(),
        missed_rings=(pl.col("outcome") == "missed").sum(),
    )  # fmt: skip
    rows = parts.join(busy, on=["local_date", "agent_id"], how="full", coalesce=True)
    rows = rows.join(rung, on=["local_date", "agent_id"], how="full", coalesce=True)
    unknown = ("span_seconds", *rung.columns)
    rows = rows.with_columns(pl.selectors.numeric().exclude(unknown).fill_null(0))
    rows = rows.join(_presence(facts, rings), on=["local_date", "agent_id"], how="left")
    rows = rows.with_columns(pl.col("overlap_seconds").fill_null(0))
    occupancy = _over(pl.col("all_talk_seconds"), pl.col("span_seconds"))
    return rows.with_columns(
        *_rates(),
        occupancy=pl.when(occupancy <= 1).then(occupancy),
        missed_ring_rate=_over(pl.col("missed_rings"), pl.col("rings_known")),
    )


def _presence(facts: pl.DataFrame, rings: pl.DataFrame) -> pl.DataFrame:
    """By local_date and agent_id: when the agent was seen, idle, and in several talks, counted second by second."""
    talks: dict[tuple[dt.date, str], list[tuple[int, int]]] = defaultdict(list)
    seen: dict[tuple[dt.date, str], list[dt.datetime]] = defaultdict(list)
    for call in facts.filter("listed").iter_rows(named=True):
        day = call["local_date"], call["agent_id"]
        if call["talk_seconds"] is not None:
            talks[day].append((int(call["talkdate_utc"].timestamp()), int(call["hangupdate_utc"].timestamp())))
            seen[day].append(call["hangupdate"])
        has_agent = call["is_answered"] or call["is_direct"] or call["is_outbound_answered"]
        if has_agent and call["talkdate_utc"] and call["talkdate_utc"] >= call["calldate_utc"]:
            seen[day].append(call["talkdate"])
    for ring in rings.filter(~pl.col("is_vanished")).iter_rows(named=True):
        if ring["rung_at"] and ring["rung_at"].date() == ring["local_date"]:
            seen[ring["local_date"], ring["agent_id"]].append(ring["rung_at"])
    rows = []
    for day in talks.keys() | seen.keys():
        times = defaultdict(int)
        for start, end in talks[day]:
            for second in range(start, end):
                times[second] += 1
        idle = longest = None
        if talks[day]:
            idle = longest = now = 0
            # A talk of 0 seconds ends a gap too.
            starts = {start for start, _ in talks[day]}
            for second in range(min(starts), max(end for _, end in talks[day])):
                now = 0 if second in times else 1 if second in starts else now + 1
                idle += now > 0
                longest = max(longest, now)
        rows.append(
            {
                "local_date": day[0], "agent_id": day[1], "overlap_seconds": sum(n - 1 for n in times.values()),
                "idle_seconds": idle, "longest_idle_seconds": longest,
                "first_seen_at": min(seen[day], default=None), "last_seen_at": max(seen[day], default=None),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def agent_queue_daily(facts: pl.DataFrame) -> pl.DataFrame:
    """Without queue_name, agent_username and is_final."""
    rows = facts.filter("listed").group_by("local_date", "queue_key", "agent_id").agg(_parts())
    return rows.with_columns(_rates())


def distinct_tags(tags: pl.DataFrame) -> pl.DataFrame:
    """call_key and tag, each tag of a call once."""
    return tags.select(call_key="key", tag=_text("tag").fill_null("(none)")).unique()


def tag_daily(facts: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """Without is_final."""
    rows = facts.filter("listed").join(distinct_tags(tags), on="call_key").group_by("local_date", "tag").agg(_parts())
    return rows.with_columns(*_rates(), abandonment_rate=_over(pl.col("abandoned"), pl.col("offered")))


def csat_answers(facts: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The answers of listed calls, with the columns by which csat_daily and csat_tag_daily group them."""
    sent = pl.coalesce(pl.col("extra").str.json_path_match("$.score"), "answer").cast(pl.Float64, strict=False)
    score = pl.when(pl.col("score") < 1e6).then("score")
    typed = answers.select(
        "scale", score=score, call_key="key", question=_text("question").fill_null("(none)"),
        is_impossible=score.is_null() & sent.is_not_null(),
    )  # fmt: skip
    calls = facts.filter("listed").select("call_key", "local_date", "queue_key", "agent_id")
    return typed.join(calls, on="call_key")


def csat_mart(answers: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """csat_daily and csat_tag_daily, by their keys; without names and is_final. `answers` are those of csat_answers."""
    score, scale = pl.col("score"), pl.col("scale").first()
    recommends = {
        "promoters": score >= 9, "passives": (score >= 7) & (score < 9), "detractors": score < 7,
        "zero_scores": score == 0,
    }  # fmt: skip
    rows = answers.group_by(*keys, "question", pl.col("scale").alias("of_scale")).agg(
        answers=score.count(),
        answers_without_score=score.null_count(),
        impossible_scores=pl.col("is_impossible").sum(),
        score_sum=score.sum(),
        score_squares_sum=(score**2).sum(),
        top_two=pl.when(scale.is_not_null()).then((score >= pl.col("scale") - 1).sum()),
        **{name: pl.when(scale == 10).then(condition.sum()) for name, condition in recommends.items()},
    )
    total = pl.col("answers")
    return rows.rename({"of_scale": "scale"}).with_columns(
        mean_score=_over(pl.col("score_sum"), total),
        top_two_share=_over(pl.col("top_two"), total),
        nps=_over(pl.col("promoters").cast(pl.Int64) - pl.col("detractors"), total),
    )


def csat_response_daily(contacts: pl.DataFrame) -> pl.DataFrame:
    """Without names. `contacts` is fct_contacts."""
    counted = contacts.filter("is_inbound", "is_answered").group_by(
        pl.col("started_at").dt.date().alias("local_date"), "queue_key", "agent_id"
    )
    rows = counted.agg(
        answered_contacts=pl.len(),
        answered_contacts_known=pl.col("csat_answers").count(),
        answered_contacts_with_answer=(pl.col("csat_answers") > 0).sum(),
    )
    rate = _over(pl.col("answered_contacts_with_answer"), pl.col("answered_contacts_known"))
    return rows.with_columns(response_rate_of_answered_contacts=rate)


def patience(facts: pl.DataFrame) -> pl.DataFrame:
    """Without queue_name and is_final, and without the interval of the mean. Walks from one hang-up to the next."""
    rows = []
    weeks = facts.filter("is_offered").group_by(pl.col("local_date").dt.truncate("1w").alias("week"), "queue_key")
    for (week, queue), calls in weeks:
        known = calls.filter(pl.col("wait_seconds").is_not_null())
        waits, hang_ups = known["wait_seconds"].to_list(), known.filter("is_abandoned")["wait_seconds"].to_list()
        for edge in EDGES:
            survival: Fraction | None = Fraction(1)
            variance = 0.0
            for second in sorted(each for each in set(hang_ups) if each <= edge):
                at_risk, left = sum(wait >= second for wait in waits), hang_ups.count(second)
                survival *= 1 - Fraction(left, at_risk)
                variance += left / (at_risk * (at_risk - left)) if left < at_risk else 0
            at_risk = sum(wait >= edge for wait in waits)
            if survival and not at_risk:
                survival = None
            rows.append(
                {
                    "week_start": week, "queue_key": queue, "wait_edge_seconds": edge, "at_risk": at_risk,
                    "abandoned": sum(wait <= edge for wait in hang_ups),
                    "survival": None if survival is None else float(survival),
                    "survival_standard_error": float(survival) * math.sqrt(variance) if survival else None,
                    "offered": calls.height, "wait_known_offered": len(waits), "wait_known_abandoned": len(hang_ups),
                    "wait_seconds_offered": sum(waits),
                    "patience_seconds": sum(waits) / len(hang_ups) if hang_ups else None,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def call_intervals(facts: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Spans in the system, waiting and talking, cut at the quarters of an hour: kind, queue_key, agent_id,
    interval_start, local_hour, start, end."""
    rows = []
    for call in facts.filter("listed").iter_rows(named=True):
        talk, end = call["talkdate_utc"], call["hangupdate_utc"]
        if call["is_answered"] or call["is_direct"] or call["is_outbound_answered"]:
            left = None if talk is not None and end is not None and talk > end else talk
        else:
            left = min((moment for moment in (talk, end) if moment is not None), default=None)
        spans = [("system", call["calldate_utc"], call["hangupdate_utc"]), ("waiting", call["queuedate_utc"], left)]
        if call["talk_seconds"] is not None:
            spans.append(("talking", call["talkdate_utc"], call["hangupdate_utc"]))
        for kind, start, end in spans:
            # A span counts only if it has an end, ends within a day of the call's start, and starts at most an hour
            # before the call's hour.
            if start is None or end is None or end > call["calldate_utc"] + DAY:
                continue
            if start < call["calldate_utc"].replace(minute=0, second=0, microsecond=0) - HOUR:
                continue
            cut = start
            # The tests' zones differ from UTC by whole hours, so local quarters start when UTC quarters do.
            while cut < end:
                begin = cut.replace(minute=cut.minute // 15 * 15, second=0, microsecond=0)
                local = begin.astimezone(zone).replace(tzinfo=None)
                hour = local.replace(minute=0)
                until = begin + HOUR / 4
                rows.append((kind, call["queue_key"], call["agent_id"], local, hour, cut, min(end, until)))
                cut = until
    schema = {"kind": pl.String, "queue_key": pl.String, "agent_id": pl.String, "interval_start": pl.Datetime("us"),
              "local_hour": pl.Datetime("us"), "start": pl.Datetime("us", "UTC"),
              "end": pl.Datetime("us", "UTC")}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        seconds=(pl.col("end") - pl.col("start")).dt.total_seconds()
    )


def concurrency_mart(pieces: pl.DataFrame, zone: ZoneInfo, period: str) -> pl.DataFrame:
    """concurrency_interval by interval_start, concurrency_hourly by local_hour: scope, kind, peak, peak_at,
    busy_seconds."""
    scoped = pl.concat([pieces.with_columns(scope=pl.lit("(all)")), pieces.with_columns(scope="queue_key")])
    rows = []
    for (begin, scope, kind), group in scoped.group_by(period, "scope", "kind"):
        steps: dict[dt.datetime, int] = defaultdict(int)
        for start, end in group.select("start", "end").iter_rows():
            steps[start] += 1
            steps[end] -= 1
        now = peak = 0
        peak_at: dt.datetime | None = None
        for moment in sorted(steps):
            now += steps[moment]
            if now > peak:
                peak, peak_at = now, moment
        assert peak_at is not None
        rows.append((begin, scope, kind, peak, peak_at.astimezone(zone).replace(tzinfo=None), group["seconds"].sum()))
    schema = {period: pl.Datetime("us"), "scope": pl.String, "kind": pl.String, "peak": pl.Int64,
              "peak_at": pl.Datetime("us"), "busy_seconds": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def loaded_hours(loads: pl.DataFrame, zone: ZoneInfo) -> list[dt.datetime]:
    """The loaded hours in UTC, sorted. A repeated local hour is two of them."""
    whole = loads.filter(pl.col("error").is_null() & pl.col("filters").is_null())
    found = set()
    for local, fetched_at in whole.group_by("partition_hour").agg(pl.col("fetched_at").max()).iter_rows():
        passes = {local.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}
        passes = {start for start in passes if start.astimezone(zone).replace(tzinfo=None) == local}
        if all(start + HOUR <= fetched_at for start in passes):
            found |= passes
    return sorted(found)


def is_closed(start: dt.datetime, length: dt.timedelta, loaded: list[dt.datetime]) -> bool:
    """Whether all hours that the window from `start` touches are loaded."""
    first, finish = start.replace(minute=0, second=0, microsecond=0), start + length
    return bisect_left(loaded, finish) - bisect_left(loaded, first) == math.ceil((finish - first) / HOUR)


def fct_contacts(facts: pl.DataFrame, loaded: list[dt.datetime]) -> pl.DataFrame:
    """One row per contact. `loaded` are the loaded hours in UTC."""
    contacts = [_contact(group[0]["callid"], group) for group in _legs_of_contacts(facts)]
    contacts.sort(key=lambda contact: (contact["started_at_utc"], contact["callid"]))
    coming: dict[str, dt.datetime] = {}
    for contact in reversed(contacts):
        start = contact["started_at_utc"]
        contact["seconds_to_next"] = None
        if contact["has_usable_callerid"]:
            following = coming.get(contact["callerid"])
            if following is not None and following - start <= 7 * DAY:
                contact["seconds_to_next"] = int((following - start).total_seconds())
            coming[contact["callerid"]] = start
        candidate, seconds = contact["is_repeat_candidate"], contact["seconds_to_next"]
        contact["repeated_within_24h"] = (seconds is not None and seconds <= 86400) if candidate else None
        contact["repeated_within_7d"] = (seconds is not None) if candidate else None
        contact["window_24h_closed"] = is_closed(start, DAY, loaded)
        contact["window_7d_closed"] = is_closed(start, 7 * DAY, loaded)
    return pl.DataFrame(contacts, infer_schema_length=None)


def _legs_of_contacts(facts: pl.DataFrame) -> list[list[dict[str, Any]]]:
    """The calls of each contact, from the earliest."""
    legs_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for leg in facts.filter("listed").sort("calldate_utc", "call_key").iter_rows(named=True):
        legs_of[leg["callid"]].append(leg)
    contacts = []
    for legs in legs_of.values():
        grouped: dict[dt.datetime, list[dict[str, Any]]] = defaultdict(list)
        for leg in legs:
            since = leg["calldate_utc"] - DAY
            grouped[min(other["calldate_utc"] for other in legs if other["calldate_utc"] >= since)].append(leg)
        contacts += grouped.values()
    return contacts


def fct_transfers(facts: pl.DataFrame) -> pl.DataFrame:
    """One row per step from a leg to the next, and per transfer to no leg."""
    rows = []
    for legs in _legs_of_contacts(facts):
        for leg, after in zip(legs, [*legs[1:], None], strict=True):
            has_agent = leg["is_answered"] or leg["is_direct"] or leg["is_outbound_answered"]
            if after is None and not (has_agent and (leg["transfers"] or 0) > 0):
                continue
            to = after or dict.fromkeys(("call_key", "queue_key", "agent_id"))
            kind = None
            if after:
                kind = "same_queue" if after["queue_key"] == leg["queue_key"] else "other_queue"
                if after["queue_key"] == "(none)":
                    kind = "elsewhere" if after["agent_id"] == "(none)" else "to_agent"
            rows.append(
                {
                    "from_call_key": leg["call_key"], "to_call_key": to["call_key"],
                    "partition_hour": leg["partition_hour"], "local_date": leg["local_date"],
                    "from_queue_key": leg["queue_key"], "to_queue_key": to["queue_key"],
                    "from_agent_id": leg["agent_id"], "to_agent_id": to["agent_id"],
                    "transferred_at": after["calldate"] if after else leg["hangupdate"],
                    "seconds_before": leg["talk_seconds"], "transfers": leg["transfers"], "kind": kind,
                }
            )  # fmt: skip
    texts = ("from_call_key", "to_call_key", "from_queue_key", "to_queue_key", "from_agent_id", "to_agent_id", "kind")
    schema = dict.fromkeys(texts, pl.String) | {
        "partition_hour": pl.Datetime("us"), "local_date": pl.Date, "transferred_at": pl.Datetime("us"),
        "seconds_before": pl.Int64, "transfers": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def fct_callbacks(contacts: pl.DataFrame) -> pl.DataFrame:
    """One row per abandoned contact. `contacts` is fct_contacts."""
    found = contacts.sort("started_at_utc", "callid", "first_call_key").to_dicts()
    rows = []
    for place, lost in enumerate(found):
        if not lost["is_abandoned"]:
            continue
        usable, after = lost["has_usable_callerid"], None
        for other in found[place + 1 :] if usable else ():
            if other["started_at_utc"] > lost["started_at_utc"] + 7 * DAY:
                break
            if lost["callerid"] == (other["callerid"] if other["is_inbound"] else other["called_num"]):
                after = other
                break
        delay = (after["started_at_utc"] - lost["started_at_utc"]).total_seconds() if after else None
        reached = False if usable and lost["window_7d_closed"] else None
        rows.append(
            {
                "first_call_key": lost["first_call_key"], "callerid": lost["callerid"],
                "queue_key": lost["queue_key"], "abandoned_at": lost["ended_at"], "has_usable_callerid": usable,
                "next_call_key": after["first_call_key"] if after else None,
                "direction": ("inbound" if after["is_inbound"] else "outbound") if after else None,
                "delay_seconds": delay,
                "is_reached": after["is_connected"] if after else reached,
                "window_24h_closed": lost["window_24h_closed"], "window_7d_closed": lost["window_7d_closed"],
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _contact(callid: str, legs: list[dict[str, Any]]) -> dict[str, Any]:
    first = legs[0]
    taken = [leg for leg in legs if leg["is_answered"] or leg["is_direct"]]
    inbound = not first["is_outbound"]
    digits = sum(character.isascii() and character.isdigit() for character in first["callerid"] or "")
    usable = digits >= 5 and any(character in "123456789" for character in first["callerid"])
    with_agent = [leg for leg in legs if leg["is_answered"] or leg["is_direct"] or leg["is_outbound_answered"]]
    known = [leg["csat_answers"] for leg in legs if leg["csat_answers"] is not None]
    return {
        "first_call_key": first["call_key"],
        "callid": callid,
        "started_at": first["calldate"],
        "started_at_utc": first["calldate_utc"],
        "ended_at": _whole(max, [leg["hangupdate"] for leg in legs]),
        "callerid": first["callerid"],
        "called_num": first["called_num"],
        "queue_key": next((leg["queue_key"] for leg in legs if leg["is_offered"]), first["queue_key"]),
        "agent_id": (taken or legs)[0]["agent_id"],
        "legs": len(legs),
        "transfers": _whole(sum, [leg["transfers"] for leg in with_agent]),
        "wait_seconds": _whole(sum, [leg["wait_seconds"] for leg in legs if leg["is_offered"]]),
        "talk_seconds": _whole(sum, [leg["talk_seconds"] for leg in with_agent]),
        "hold_seconds": _whole(sum, [leg["hold_seconds"] for leg in with_agent]),
        "csat_answers": sum(known) if known else None,
        "is_inbound": inbound,
        "is_answered": inbound and bool(taken),
        "is_connected": bool(with_agent),
        "is_abandoned": inbound and not with_agent and any(leg["is_abandoned"] for leg in legs),
        "has_usable_callerid": inbound and usable,
        "is_repeat_candidate": inbound and bool(taken) and usable,
    }


def _whole(total: Callable[[list[Any]], Any], values: list[Any]) -> Any:
    """The sum of all values; None if one of them is not known."""
    return None if any(value is None for value in values) else total(values)


def _parts() -> list[pl.Expr]:
    return [
        pl.len().alias("calls"),
        *(pl.col(flag).sum().alias(name) for name, flag in _COUNTS.items()),
        pl.col("holds").filter("is_answered").count().alias("holds_known"),
        pl.col("transfers").filter("is_answered").count().alias("transfers_known"),
        *_sum_and_count("wait_seconds", "is_answered", "wait_seconds_answered", "wait_known_answered"),
        *_sum_and_count("talk_seconds", "is_answered", "talk_seconds", "talk_known"),
        *_sum_and_count("hold_seconds", "is_answered", "hold_seconds", "hold_known"),
        *_sum_and_count("hold_seconds", "is_held", "hold_seconds_held", "hold_known_held"),
        *_sum_and_count("talk_seconds", "is_outbound_answered", "outbound_talk_seconds", "outbound_talk_known"),
    ]


def _sum_and_count(value: str, among: str, total: str, known: str) -> list[pl.Expr]:
    values = pl.col(value).filter(among)
    return [values.sum().alias(total), values.count().alias(known)]


def _rates() -> list[pl.Expr]:
    formulas = {
        "asa_seconds": ("wait_seconds_answered", "wait_known_answered"),
        "aht_ex_acw_seconds": ("talk_seconds", "talk_known"),
        "hold_rate": ("held", "holds_known"),
        "hold_seconds_per_held": ("hold_seconds_held", "hold_known_held"),
        "hold_seconds_per_answered": ("hold_seconds", "hold_known"),
        "transfer_rate": ("transferred", "transfers_known"),
        "missed_rate": ("missed", "assigned"),
        "outbound_connect_rate": ("outbound_answered", "outbound"),
        "agent_hung_up_rate": ("agent_hung_up", "localrelease_known"),
    }
    return [_over(pl.col(top), pl.col(bottom)).alias(name) for name, (top, bottom) in formulas.items()]


def _over(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return pl.when(bottom != 0).then(top.cast(pl.Float64) / bottom)


def _text(name: str) -> pl.Expr:
    stripped = pl.col(name).str.strip_chars(" ")
    return pl.when(stripped != "").then(stripped)


def _latest(facts: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    """The latest name of each member, by day and then by the call's start."""
    named = facts.filter(pl.col(name).is_not_null()).sort("local_date", "calldate", "call_key")
    latest = named.group_by(key).agg(pl.col(name).last())
    return facts.select(key).unique().join(latest, on=key, how="left").with_columns(pl.col(name).fill_null(pl.col(key)))
