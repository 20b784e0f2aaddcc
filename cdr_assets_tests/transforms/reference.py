"""A slow reader of records in plain Python, one record at a time, written from the rules and not from the tested code.

The property tests compare it with `read_pages`: for any input, both must give the same result.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

TEXTS = ["key", "callid", "callerid", "called_num", "queue", "agent", "agentid", "queuekey", "uniqueid"]
TEXTS += ["recordingurl", "answeredby", "channel"]
BOOLEANS = ["queued", "answered", "assigned", "abandon", "sl", "shortcall", "inbound", "voicemail", "localrelease"]
INTEGERS = ["waitduration", "duration", "hold", "holdduration", "transferred"]
DATES = ["queuedate", "calldate", "talkdate", "hangupdate"]
ARRAYS = ["call_history", "csat_answers", "call_tags"]
# An absent array may mean none or not known. This makes it show both.
ASKED_FOR = ["call_history", "call_tags"]

# For each child table: its columns, with their kind, the names they are read from, and whether a plain item is the
# value.
ITEM_COLUMNS: dict[str, list[tuple[str, str, list[str], bool]]] = {
    "call_history": [
        ("event", "text", ["event", "type", "action", "name"], True),
        ("date", "date", ["date", "eventdate", "time"], False),
        ("agent", "text", ["agent", "agent_username", "username"], False),
        ("queue", "text", ["queue", "queue_name"], False),
    ],
    "csat_answers": [
        ("survey", "text", ["survey", "survey_name"], False),
        ("question", "text", ["question", "question_text"], False),
        ("answer", "text", ["answer", "value", "score"], True),
        ("score", "number", ["score", "answer", "value"], True),
        ("scale", "number", ["scale", "max_score", "max"], False),
        ("date", "date", ["date", "answerdate"], False),
    ],
    "call_tags": [("tag", "text", ["tag", "name", "label"], True)],
}

BLANKS = " \t\r\n\f\v"

# Values that mean nothing in a record's field, and that are no names.
NOTHING = ["none", "None", "NONE", "null", "Null", "NULL", "undefined", " null ", " None "]

# The time at which the tests' pages were fetched.
FETCHED_AT = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass
class Read:
    """The result for one record: a call with its items, or the reason why it is rejected."""

    call: dict[str, Any] = field(default_factory=dict)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reason: str | None = None


def is_nothing(value: Any) -> bool:
    return isinstance(value, str) and value in NOTHING


def text_of(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.strip(BLANKS) else None


def boolean_of(value: Any) -> bool | None:
    word = (text_of(value) or "").strip().lower()
    if word in {"true", "1", "1.0", "yes", "t", "y", "on", "evet"}:
        return True
    if word in {"false", "0", "0.0", "no", "f", "n", "off", "hayır", "hayir"}:
        return False
    return None


def decimal_of(value: Any) -> Decimal | None:
    word = (text_of(value) or "").strip()
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?[1-9][0-9]{0,2}([.,][0-9]{3})+", word):
            return None
        word = re.sub(r"^([+-]?[0-9]*),([0-9]+)$", r"\1.\2", word)
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word):
        return None
    # Convert through a double, because a JSON number has no more precision.
    return Decimal(float(word)) if abs(float(word)) < math.inf else None


def seconds_of(value: Any) -> Any:
    """A time like 00:00:30 in seconds, anything else unchanged."""
    text = value if isinstance(value, str) else ""
    clock = re.fullmatch(r"\s*([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])([.,][0-9]+)?\s*", text)
    if not clock:
        return value
    whole = int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])
    return whole + float(clock[4].replace(",", ".")) if clock[4] else whole


def integer_of(value: Any) -> tuple[int | None, bool]:
    """The number, and whether it is all that was sent."""
    word = (text_of(value) or "").strip().lower()
    number = {"true": Decimal(1), "false": Decimal(0)}.get(word, decimal_of(value))
    if number is None or abs(number) > 10**12:
        return None, False
    rounded = math.floor(number + Decimal("0.5") if number > 0 else number)
    if not -(2**31) <= rounded < 2**31:
        return None, False
    return rounded, rounded == number


def date_of(value: Any, zone: ZoneInfo) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The local time, and the UTC time if one was sent."""
    text = (text_of(value) or "").strip()
    if re.fullmatch(r"[0-9]{10}([0-9]{3})?(\.[0-9]+)?", text):
        microseconds = int((text[10:].replace(".", "") + "000000")[:6])
        instant = dt.datetime.fromtimestamp(int(text[:10]), dt.UTC).replace(microsecond=microseconds)
        return instant.astimezone(zone).replace(tzinfo=None), instant
    match = re.fullmatch(
        r"(?:(?P<y>[0-9]{4})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})|(?P<D>[0-9]{1,2})\.(?P<M>[0-9]{1,2})\.(?P<Y>[0-9]{4}))"
        r"(?P<time>[Tt\s]\s*(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})(?:[.,](?P<part>[0-9]+))?)?"
        r"\s*(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
        text,
    )
    if not match:
        return None, None
    part = {name: found or "0" for name, found in match.groupdict().items()}
    try:
        local = dt.datetime(
            int(match["y"] or match["Y"]),
            int(match["m"] or match["M"]),
            int(match["d"] or match["D"]),
            int(part["hour"]),
            int(part["minute"]),
            int(part["second"]),
            int((part["part"] + "00000")[:6]),
        )
        if match["offset"] is None:
            return local, None
        digits = match["offset"].upper().replace("Z", "+00").replace(":", "")
        hours, minutes = int(digits[1:3]), int(digits[3:] or 0)
        if hours > 23 or minutes > 59:
            return None, None
        ahead = dt.timedelta(hours=hours, minutes=minutes) * (-1 if digits[0] == "-" else 1)
        instant = (local - ahead).replace(tzinfo=dt.UTC)
        return instant.astimezone(zone).replace(tzinfo=None), instant
    except (ValueError, OverflowError):
        return None, None


def both_instants(wall: dt.datetime, zone: ZoneInfo) -> list[dt.datetime]:
    try:
        instants = [wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)]
    except OverflowError:
        return []
    # In a skipped hour the two are in the wrong order. The rule asks for the first.
    return instants if instants[0] < instants[1] else instants[:1]


def instants_of(
    local: dict[str, dt.datetime | None],
    exact: dict[str, dt.datetime | None],
    duration: int | None,
    zone: ZoneInfo,
) -> dict[str, dt.datetime | None]:
    """The UTC times of a call's dates. In a repeated hour, tries the possible ones in the order of the rule."""
    choices: dict[str, list[dt.datetime]] = {}
    for date in DATES:
        if (instant := exact[date]) is not None:
            choices[date] = [instant]
        elif (wall := local[date]) is not None:
            choices[date] = both_instants(wall, zone)
        else:
            choices[date] = []
    chosen: dict[str, dt.datetime | None] = dict.fromkeys(DATES)
    if duration is not None and choices["calldate"] and choices["hangupdate"]:
        calls, hangups = choices["calldate"], choices["hangupdate"]
        for start, finish in [(calls[0], hangups[0]), (calls[0], hangups[-1]), (calls[-1], hangups[-1])]:
            if abs((finish - start) - dt.timedelta(seconds=duration)) <= dt.timedelta(seconds=1):
                chosen["calldate"], chosen["hangupdate"] = start, finish
                break
    passed: list[dt.datetime] = []
    for date in ("calldate", "queuedate", "talkdate", "hangupdate"):
        if chosen[date] is None and choices[date]:
            in_order = [choice for choice in choices[date] if all(choice >= time for time in passed)]
            chosen[date] = (in_order or choices[date])[0]
        passed += [time for time in [chosen[date]] if time is not None]
    return chosen


def items_of(value: Any) -> list[Any]:
    if value is None or (isinstance(value, str) and not value.strip(BLANKS)):
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            return list(json.loads(value))
        except ValueError:
            return [value]
    return [value]


def item_row(table: str, item: Any, calldate: dt.datetime, zone: ZoneInfo) -> dict[str, Any]:
    fields: dict[str, Any] = item if isinstance(item, dict) else {"(item)": item}
    row: dict[str, Any] = {}
    source: dict[str, str] = {}
    for column, kind, names, is_plain in ITEM_COLUMNS[table]:
        row[column] = None
        for name in [*names, "(item)"] if is_plain else names:
            if not isinstance(item, dict) and name != "(item)":
                continue
            value = fields.get(name) if isinstance(item, dict) == (name != "(item)") else None
            read: Any
            if kind == "text":
                read = text_of(value)
            elif kind == "number":
                read = None if (number := decimal_of(value)) is None else float(number)
            else:
                read = date_of(value, zone)[0]
            if read is not None and row[column] is None:
                row[column], source[column] = read, name
    latest = FETCHED_AT.replace(tzinfo=None) + 2 * DAY
    if row.get("date") is not None and not calldate - DAY <= row["date"] <= latest:
        row["date"] = None
    if row.get("scale") is not None and not 1 <= row["scale"] <= 1000:
        row["scale"] = None
    if row.get("score") is not None and not 0 <= row["score"] <= (row["scale"] or 1000):
        row["score"] = None
    told = {name for column, name in source.items() if row[column] is not None}
    known = {name for _, _, names, _ in ITEM_COLUMNS[table] for name in [*names, "(item)"]}
    extra = {
        name: value
        for name, value in fields.items()
        if name not in told and value is not None and not (name in known and is_blank(value))
    }
    return row | {"extra": extra or None}


def is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip(BLANKS)


def can_be_true(calldate: dt.datetime) -> bool:
    return dt.datetime(1990, 1, 1) <= calldate <= FETCHED_AT.replace(tzinfo=None) + 2 * DAY


def read_record(record: Any, zone_name: str, asked_for: Sequence[str] = ASKED_FOR) -> Read:
    zone = ZoneInfo(zone_name)
    if not isinstance(record, dict):
        return Read(reason="not an object")
    call: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    exact: dict[str, dt.datetime | None] = {}
    aside: dict[str, str] = {}
    given = {name: value for name, value in record.items() if not is_nothing(value)}
    for name in TEXTS + BOOLEANS + INTEGERS + DATES:
        sent = given.get(name)
        if name in ("waitduration", "duration", "holdduration"):
            sent = seconds_of(sent)
        told = True
        if name in TEXTS:
            call[name] = text_of(sent)
        elif name in BOOLEANS:
            call[name] = boolean_of(sent)
        elif name in INTEGERS:
            call[name], told = integer_of(sent)
        else:
            call[name], exact[name] = date_of(sent, zone)
        is_filled = isinstance(sent, dict | list) or text_of(sent) is not None
        if is_filled and (call[name] is None or not told):
            extra[name] = sent
            if call[name] is None:
                aside[name] = "cannot be read"
        if name in INTEGERS and call[name] is not None and not 0 <= call[name] <= 86400:
            call[name], extra[name], aside[name] = None, sent, "not from 0 to 86400"
    if call["key"] is not None:
        call["key"] = call["key"].strip(BLANKS)
    extra |= {
        name: value
        for name, value in record.items()
        if name not in [*TEXTS, *BOOLEANS, *INTEGERS, *DATES, *ARRAYS] and value is not None
    }
    for date in ("queuedate", "talkdate"):
        if call[date] is not None and call["calldate"] is not None and abs(call[date] - call["calldate"]) > DAY:
            extra[date], aside[date] = record[date], "more than a day away from calldate"
            call[date] = exact[date] = None
    call |= {
        f"{date}_utc": instant
        for date, instant in instants_of({date: call[date] for date in DATES}, exact, call["duration"], zone).items()
    }
    start, end = call["calldate_utc"], call["hangupdate_utc"]
    has_no_instant = call["hangupdate"] is not None and end is None and call["calldate"] is not None
    if has_no_instant:
        is_before = call["hangupdate"] < call["calldate"]
        aside["hangupdate"] = "before calldate" if is_before else "more than a day after it was fetched"
    elif end is not None and start is not None and end < start:
        aside["hangupdate"] = "before calldate"
    elif end is not None and end > FETCHED_AT + DAY:
        aside["hangupdate"] = "more than a day after it was fetched"
    if "hangupdate" in aside and call["hangupdate"] is not None:
        extra["hangupdate"] = record["hangupdate"]
        call["hangupdate"] = call["hangupdate_utc"] = None
    call |= {"extra": extra or None, "set_aside": aside}
    calldate = call["calldate"]
    reason = None
    if call["key"] is None:
        reason = "no key"
    elif calldate is None:
        reason = "calldate cannot be read" if "calldate" in extra else "no calldate"
    elif not can_be_true(calldate):
        reason = "calldate cannot be true"
    if calldate is None or reason is not None:
        return Read(call, {}, reason)
    items = {}
    for name in ARRAYS:
        sent_items = items_of(given.get(name))
        call[f"{name}_count"] = len(sent_items) if given.get(name) is not None or name in asked_for else None
        items[name] = [item_row(name, item, calldate, zone) | {"position": n} for n, item in enumerate(sent_items)]
    return Read(call, items, reason)


@dataclass
class Hour:
    calls: dict[str, Read] = field(default_factory=dict)
    rejected: list[tuple[int, int, str, Any]] = field(default_factory=list)
    served: int = 0
    outside_window: int = 0
    repeated: int = 0


def read_hour(pages: list[list[Any]], start: dt.datetime | None, finish: dt.datetime | None, zone_name: str) -> Hour:
    """The pages of one hour, in order."""
    hour = Hour()
    for number, page in enumerate(pages):
        for position, record in enumerate(page):
            read = read_record(record, zone_name)
            hour.served += 1
            calldate = read.call.get("calldate")
            is_inside = calldate is None or not (start and finish) or start <= calldate < finish
            if not is_inside and can_be_true(calldate):
                hour.outside_window += 1
            elif read.reason is not None:
                hour.rejected.append((number, position, read.reason, record))
            else:
                hour.repeated += read.call["key"] in hour.calls
                hour.calls[read.call["key"]] = read
    return hour
