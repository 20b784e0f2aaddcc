"""Random records in which any field may be wrong: impossible dates, swapped dates, texts in odd places.

Several test packages load them. Records with one wrong field each are in `orchestration.field_calls`.
"""

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import TOKEN, Pipeline, pipelines_in, record
from cdr_assets_tests.orchestration.test_hours import failure_of

DAY = dt.datetime(2026, 3, 2)

Record = dict[str, Any]

_NUMBERS: list[Any] = [
    -(2**31), 2**31 - 1, 2**63, -(2**63), -1, 0, 1, 86_400, 86_401, 1e308, -1e-9, 0.5, 12.5, "n/a", "", " ", None, "30",
    "00:00:30", "24:00:00", "99:59:59", "00:30", "12,5", "1.234", "1,234", "1e999", "9" * 400, True, [], {}, [1], "NaN",
    "Infinity", "-0", "None", "٣",
]  # fmt: skip
_BOOLEANS: list[Any] = [True, False, None, "", "true", "FALSE", 1, 0, "evet", "maybe", 2, [], {"a": 1}, "null"]
_TEXTS: list[Any] = [
    None, "", "  ", "None", "null", "undefined", "0000000000", "anonymous", "[/x]", "[bold]x[/bold] :x: \x1b[31m",
    "a" * 3000, "İŞÇİ ğ", "x\x00y", 905550000001, 1.5, True, ["a"], {"b": 1}, "' OR 1=1 --", '"; DROP', "😀",
    "<script>", "{{ x }}", "%s", "../..", "\u202eabc", "Q1", " Q1 ",
]  # fmt: skip
_DATES: list[Any] = [
    None, "", "soon", "0001-01-01 00:00:00", "1900-01-01 00:00:00", "1970-01-01 02:00:00", "9999-12-31 23:59:59", 0, -1,
    "2038-01-19 03:14:07", "0000-00-00 00:00:00", "02/03/2026 05:10:00", "20260302", 99999999999999, [], {}, True,
]  # fmt: skip
_ITEMS: list[Any] = [
    None, "", 7, -1, 1e300, "x", [], [[]], {"event": "enter", "date": "9999-12-31 23:59:59"},
    {"event": None, "date": "soon"}, {"score": -5, "scale": 5}, {"score": 1e308, "scale": 1e308},
    {"event": "agent_ring", "date": "2026-03-02 05:30:00", "agent": "Ayşe Yıl"}, "agent_ring", "agent_miss",
    {"event": "AGENT_RING", "agent": "Ayşe Yıl "}, {"event": "agent_ring", "agent": "905550000001"},
    {"event": "agent_miss", "date": "2026-03-02 05:30:20", "agent": "Ayşe Yıl"},
    {"event": "agent_answer", "date": "2026-03-03 09:10:00", "agent": "905550000001"},
    {"score": "4,5", "scale": 5}, {"answer": "905550000001"}, {"score": 7, "scale": 5},
    {"tag": "a" * 500}, {"tag": None}, {"label": "[/x]"}, {"unheard": {"of": [1, 2]}},
]  # fmt: skip

_SHAPES: list[Record] = [
    {},
    {"answered": False, "abandon": True, "talkdate": None, "sl": False, "agent": None, "agentid": None},
    {"answered": False, "abandon": False, "voicemail": True, "talkdate": None, "sl": False},
    {"inbound": False, "queued": False, "queuedate": None},
    {"queued": False, "queuedate": None, "answered": False, "abandon": True, "talkdate": None},
    {"queued": False, "queuedate": None},
    {"hangupdate": None, "duration": None},
]

_FIELDS: dict[str, list[Any]] = (
    dict.fromkeys(("waitduration", "duration", "hold", "holdduration", "transferred"), _NUMBERS)
    | dict.fromkeys(
        ("queued", "answered", "assigned", "abandon", "sl", "shortcall", "inbound", "voicemail", "localrelease"),
        _BOOLEANS,
    )
    | dict.fromkeys(
        ("callid", "callerid", "called_num", "queue", "agent", "agentid", "queuekey", "uniqueid", "recordingurl",
         "answeredby", "channel"),
        _TEXTS,
    )
)  # fmt: skip


def dirty_records(seed: int, start: dt.datetime, hours: int, count: int) -> list[tuple[Record, str]]:
    """Records and the local time at which the vendor lists each. Most have one wrong field, some have many."""
    chance = random.Random(seed)
    records = []
    for number in range(count):
        at = start + dt.timedelta(seconds=chance.randrange(hours * 3600))
        made = record(f"k{number}", at, callid=f"c{chance.randrange(count // 2)}", queuekey=f"Q{number % 3}")
        made |= chance.choice(_SHAPES)
        made |= {"callerid": f"9053211122{chance.randrange(12):02}", "agentid": f"A{number % 5}"}
        if made["inbound"] is False and number % 2:
            made["called_num"] = f"9053211122{number % 12:02}"
        for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
            name = chance.choice([*_FIELDS, "queuedate", "talkdate", "hangupdate", "items"])
            if name == "items":
                array = chance.choice(["call_history", "csat_answers", "call_tags"])
                items = chance.choices(_ITEMS, k=3)
                made[array] = chance.choice([items, json.dumps(items), "x", {}])
            elif name in _FIELDS:
                made[name] = chance.choice(_FIELDS[name])
            elif chance.random() < 0.5:
                made[name] = chance.choice(_DATES)
            else:
                # Too early or too late, by seconds, hours or days.
                by = chance.choice([1, 60, 3600, 23 * 3600, 25 * 3600, 40 * 86400]) * chance.choice([-1, 1])
                made[name] = f"{at + dt.timedelta(seconds=by):%Y-%m-%d %H:%M:%S}"
        if chance.random() < 0.03:
            made["key"] = chance.choice([None, "", "None", "k1", [], 5])
        if chance.random() < 0.03:
            made["calldate"] = chance.choice([f"{at:%d/%m/%Y %H:%M:%S}", "soon", f"{at:%Y/%m/%d %H:%M:%S}", None])
        if chance.random() < 0.02:
            made = {name: value for name, value in made.items() if chance.random() < 0.7 or name in ("key", "calldate")}
        records.append((made, f"{at:%Y-%m-%d %H:%M:%S}"))
    return records


def live_through_dirty_calls(folder: Path, seed: int) -> Pipeline:
    """Loads twelve hours of such calls in three runs. The last run fetches hours that are loaded already."""
    calls = ListedCalls()
    for made, at in dirty_records(seed, DAY, hours=12, count=400):
        calls.add(made, at)
    with Sandbox(calls, token=TOKEN) as sandbox, pipelines_in(folder) as make:
        pipeline = make(sandbox.base_url)
        for first, hours in ((6, 6), (0, 6), (4, 4)):
            result = pipeline.run(DAY + dt.timedelta(hours=first), hours)
            assert result.success, failure_of(result)
    return pipeline
