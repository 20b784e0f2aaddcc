"""A small call centre for the marts' tests: typed calls, loaded into the warehouse the way the pipeline loads them.

Calls are made from UTC times and their local times are computed, so that the repeated hour of a clock change is right.
"""

import datetime as dt
import hashlib
import random
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from cdr_assets.domain.schema import CALL_DATES, CALL_NUMBERS, CALLS, CHILDREN, REJECTED_RECORDS, UNKNOWN_FIELDS
from cdr_assets.warehouse import Load, Warehouse, load_hours

ZONE = ZoneInfo("Europe/Berlin")

# Two days. In the night between them the clocks go back.
START = dt.datetime(2026, 10, 24, 8, tzinfo=ZONE)
HOURS = 30

# An hour without calls, months later, so that it closes no window for repeated calls. It follows a skipped hour.
LAST_HOUR = dt.datetime(2027, 3, 28, 3)

_COLUMNS = {name: kind for name, kind in CALLS.polars_schema.items() if name not in ("fetched_at", "vanished_at")}

# Key, name, service level threshold. The second queue's sl flags mean 30 seconds, but that is not configured.
_QUEUES = [("Q1", "Satış", 20), ("Q2", "Destek", 30), (None, "Faturalama", 20), (None, None, 20)]
_AGENTS = [("A1", "ayşe@example"), ("A2", "berk@example"), ("A3", "can@example"), (None, "derya@example"), ("A5", None)]
# How people see the agents' names, which histories have. Two agents share one; one agent has another on the second day.
_DISPLAY_NAMES = {"A1": "Ayşe Yıl", "A2": "Berk Ak", "A3": "Can Er", None: "Can Er", "A5": "Ece Su"}
_CALLERS = [f"9053211122{i:02}" for i in range(25)] + ["anonymous", None, "123", "0000000000"]

_ANSWER = {"question": pl.String, "answer": pl.String, "score": pl.Float64, "scale": pl.Float64}

Call = dict[str, Any]


def local_hour(moment: dt.datetime) -> dt.datetime:
    """The local hour of a moment, without a zone."""
    return moment.astimezone(ZONE).replace(minute=0, second=0, microsecond=0, tzinfo=None)


def hours() -> list[dt.datetime]:
    """The centre's local hours, without a zone. The repeated hour is in them once: the vendor lists both passes of
    it."""
    first = START.astimezone(dt.UTC)
    return sorted({local_hour(first + dt.timedelta(hours=i)) for i in range(HOURS)})


def week_after() -> list[dt.datetime]:
    """The local hours of the week after the centre's, which have no calls. When they are loaded, most windows are
    closed."""
    first = START.astimezone(dt.UTC) + dt.timedelta(hours=HOURS)
    return [local_hour(first + dt.timedelta(hours=i)) for i in range(150)]


def event(name: str, date: dt.datetime | None = None, agent: str | None = None) -> dict[str, Any]:
    """An event of a call's history. The date is given in UTC."""
    return {"event": name, "date": date, "agent": agent}


def call(key: str, calldate: dt.datetime, **fields: Any) -> Call:
    """A typed call. Dates are given in UTC; the local times, the partition and the duration are computed."""
    found: Call = {
        "key": key, "callid": f"{key}@example", "queued": True, "answered": False, "assigned": False, "abandon": False,
        "queuedate": None, "talkdate": None, "hangupdate": None, "waitduration": 0, "sl": False, "shortcall": False,
        "callerid": None, "called_num": "908501112233", "queue": None, "queuekey": None, "inbound": True, "agent": None,
        "agentid": None, "hold": 0, "holdduration": 0,
        "voicemail": False, "localrelease": False, "transferred": 0, "channel": "SIP/1",
        "call_history": [event("enter"), event("hangup")], "csat_answers": [], "call_tags": [],
    }  # fmt: skip
    return found | {"calldate": calldate} | fields


def make_calls(seed: int, count: int = 400) -> list[Call]:
    """Calls of every kind that the measures distinguish, some of them broken, some in chains, some still open."""
    chance = random.Random(seed)
    calls = []
    first = START.astimezone(dt.UTC)
    for number in range(count):
        begin = first + dt.timedelta(seconds=chance.randrange(HOURS * 3600))
        made = _make_call(chance, f"k{number:04}", begin)
        calls.append(made)
        if made["talkdate"] and made["hangupdate"] and chance.random() < 0.15:
            made["transferred"] = 1
            calls.append(_make_call(chance, f"k{number:04}b", made["hangupdate"]) | {"callid": made["callid"]})
    # Callids that are used again, within a day and later.
    for one, other in ((3, 90), (5, 200), (8, 300)):
        calls[other]["callid"] = calls[one]["callid"]
    return calls


def _make_call(chance: random.Random, key: str, begin: dt.datetime) -> Call:
    def later(moment: dt.datetime, most: int) -> dt.datetime:
        return moment + dt.timedelta(seconds=chance.randrange(most))

    queue_key, queue, threshold = chance.choice(_QUEUES)
    agent_id, agent = chance.choice(_AGENTS)
    made = call(key, begin, callerid=chance.choice(_CALLERS), queue=queue, queuekey=queue_key)
    made["call_tags"] = chance.choice([[], ["fatura"], ["fatura", "iade"], ["iade", "iade"], [""]])
    kind = chance.choices(
        ["answered", "abandoned", "voicemail", "exit", "menu", "direct", "outbound", "missed"],
        [50, 15, 5, 2, 8, 4, 12, 4],
    )[0]
    if kind in ("menu", "direct", "outbound"):
        made |= {"queued": False, "inbound": kind != "outbound", "abandon": kind == "menu"}
        if kind == "outbound":
            made["called_num"] = random.Random(key).choice(_CALLERS)
        joined = begin
    else:
        # A few are queued before they start, because two machines' clocks differ.
        joined = later(begin, 30) if chance.random() < 0.95 else begin - dt.timedelta(seconds=90)
        made["queuedate"] = joined
    wait = min(chance.randrange(4), 1) * chance.randrange(70)
    left = joined + dt.timedelta(seconds=wait)
    made["waitduration"] = wait
    if kind in ("answered", "direct") or (kind == "outbound" and chance.random() < 0.7):
        long = chance.random() < 0.05
        made |= {
            "answered": True, "assigned": kind == "answered", "talkdate": left, "agent": agent, "agentid": agent_id,
            "hangupdate": later(left, 9000 if long else 600), "sl": kind == "answered" and wait <= threshold,
            "localrelease": chance.random() < 0.3,
        }  # fmt: skip
        if chance.random() < 0.2:
            made |= {"hold": 2, "holdduration": chance.randrange(60)}
        if chance.random() < 0.25:
            made["csat_answers"] = _answers(chance.randrange(1, 6), key)
    else:
        made |= {
            "hangupdate": left,
            "abandon": kind in ("abandoned", "missed", "menu"),
            "voicemail": kind == "voicemail",
        }
        made["shortcall"] = made["abandon"] and wait <= 5
        if kind == "missed":
            made |= {"assigned": True, "agent": agent, "agentid": agent_id}
    made["call_history"] = _history(random.Random(f"rings of {key} at {begin}"), made, agent_id, joined, left)
    if chance.random() < 0.03:
        made["hangupdate"] = None
    if chance.random() < 0.2:
        # Loading makes unreadable and impossible values NULL. A clock that is a little slow is kept.
        unknown = chance.choice(["waitduration", "hold", "holdduration", "transferred", "talkdate", "sl", "behind"])
        made |= {"talkdate": begin - dt.timedelta(seconds=60)} if unknown == "behind" else {unknown: None}
    return made


def answer(
    score: float | None, question: str | None = "Memnun musunuz?", scale: float | None = 5.0, text: str = ""
) -> Any:
    """An answer to the survey, typed as the loader does."""
    return {"question": question, "answer": text or str(score), "score": score, "scale": scale}


def _answers(score: int, key: str) -> list[Any]:
    """Answers to several questions: on two scales and on none, without a score, and with an impossible one."""
    chance = random.Random(key)
    more = [
        answer(float(chance.randrange(11)), "Bizi önerir misiniz?", 10.0),
        answer(float(chance.randrange(4)), " Memnun musunuz? ", None),
        answer(chance.choice([4.7, 3.3, 9.1, 6.5]), "Bizi önerir misiniz?", 10.0),
        answer(None, None, chance.choice([5.0, None]), "Hayır"),
        answer(None, text="7"),
    ]
    return [answer(float(score)), *chance.sample(more, chance.randrange(3))]


def _history(
    chance: random.Random, made: Call, agent_id: str | None, joined: dt.datetime, left: dt.datetime
) -> list[dict[str, Any]]:
    """The call's events. Most calls of a queue ring some agents first; what a history may get wrong is in it."""

    def name_of(agent: str | None) -> str | None:
        is_renamed = agent == "A1" and joined > START.astimezone(dt.UTC) + dt.timedelta(hours=16)
        return "Ayşe Koç" if is_renamed else _DISPLAY_NAMES[agent]

    events = [event("enter", made["calldate"])]
    mine = name_of(agent_id)
    if made["queued"] and chance.random() < 0.85:
        at = joined
        for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
            other = name_of(chance.choice(list(_DISPLAY_NAMES)))
            over = at + dt.timedelta(seconds=chance.randrange(1, 20))
            events += [event("agent_ring", at, other), event(" Agent_Miss ", over, other)]
            at = over
        if made["answered"] or made["assigned"]:
            events.append(event("agent_ring", at, mine))
            if chance.random() < 0.1:
                events.append(event("agent_ring", at, mine))
            events.append(event("agent_answer" if made["answered"] else "agent_miss", left, mine))
        elif chance.random() < 0.3:
            events.append(event("agent_ring", at, mine))
    for wrong in range(2, len(events)):
        damage = chance.randrange(80)
        if damage == 0:
            events[wrong]["date"] = None
        elif damage == 1:
            events[wrong]["agent"] = None
        elif damage == 2:
            events[wrong]["date"] += dt.timedelta(hours=chance.choice([-30, -2, 2, 30]))
        elif damage == 3:
            events[wrong - 1], events[wrong] = events[wrong], events[wrong - 1]
        elif damage == 4:
            events[wrong]["event"] = "agent_ring"
    return [*events, event("hangup", made["hangupdate"])]


def load(
    warehouse: Warehouse,
    calls: Iterable[Call],
    read: Iterable[dt.datetime],
    fetched_at: dt.datetime,
    filters: str | None = None,
) -> None:
    """Loads the local hours `read` as a run would: the calls that started in these hours."""
    partitions = sorted(read)
    frame = _frame([made for made in calls if local_hour(made["calldate"]) in partitions])
    ends = [(hour + dt.timedelta(hours=1)).replace(tzinfo=ZONE).astimezone(dt.UTC) for hour in partitions]
    counts = frame.group_by("partition_hour").len("loaded").cast({"loaded": pl.Int64})
    loads = (
        pl.DataFrame(
            {"partition_hour": partitions, "ends_at": ends},
            schema={"partition_hour": pl.Datetime("us"), "ends_at": pl.Datetime("us", "UTC")},
        )
        .join(counts, on="partition_hour", how="left")
        .with_columns(
            pl.col("loaded").fill_null(0),
            pl.col("loaded").fill_null(0).alias("served"),
            *(pl.lit(0).alias(name) for name in ("outside_window", "elsewhere", "repeated", "rejected", "retries")),
            *(pl.lit(1).alias(name) for name in ("requests", "pages")),
            filters=pl.lit(filters, pl.String),
            fetched_at=pl.lit(fetched_at),
        )
    )
    children = {
        "call_history": _items(
            frame, "call_history", lambda items: {name: items.struct.field(name) for name in ("event", "date", "agent")}
        ),
        "csat_answers": _items(
            frame,
            "csat_answers",
            lambda items: {name: items.struct.field(name) for name in _ANSWER},
        ),
        "call_tags": _items(frame, "call_tags", lambda items: {"tag": items}),
    }
    loaded = Load(
        calls=frame.select(list(_COLUMNS)),
        children=children,
        rejected_records=REJECTED_RECORDS.polars_schema.to_frame(),
        unknown_fields=UNKNOWN_FIELDS.polars_schema.to_frame().drop("noticed_at"),
        loads=loads,
    )
    with warehouse.connect("test") as connection:
        load_hours(connection, loaded, "run")


def _frame(calls: list[Call]) -> pl.DataFrame:
    rows = []
    for made in calls:
        row = dict(made)
        for name in CALL_DATES:
            moment = made[name]
            row[f"{name}_utc"] = moment
            row[name] = moment and moment.astimezone(ZONE).replace(tzinfo=None)
        row["call_history"] = [
            each | {"date": each["date"] and each["date"].astimezone(ZONE).replace(tzinfo=None)}
            for each in made["call_history"]
        ]
        row["duration"] = made["hangupdate"] and int((made["hangupdate"] - made["calldate"]).total_seconds())
        row["partition_hour"] = local_hour(made["calldate"])
        row |= {f"{name}_e164": made[name] for name in CALL_NUMBERS}
        row["content_hash"] = hashlib.sha256(repr(sorted(made.items())).encode()).hexdigest()
        for name in CHILDREN:
            row[f"{name}_count"] = len(made[name])
        rows.append(row)
    events = pl.List(pl.Struct({"event": pl.String, "date": pl.Datetime("us"), "agent": pl.String}))
    answers = pl.List(pl.Struct(_ANSWER))
    arrays = {"call_history": events, "csat_answers": answers, "call_tags": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=_COLUMNS | arrays)


def _items(frame: pl.DataFrame, name: str, columns: Any) -> pl.DataFrame:
    schema = CHILDREN[name].polars_schema
    exploded = (
        frame.filter(pl.col(f"{name}_count") > 0)
        .select("key", "partition_hour", name)
        .with_columns(position=pl.int_ranges(pl.col(name).list.len()))
        .explode(name, "position")
    )
    made = exploded.with_columns(**columns(pl.col(name)))
    missing = [pl.lit(None).alias(column) for column in schema if column not in made.columns]
    return made.with_columns(missing).select(schema.names()).cast(dict(schema))
