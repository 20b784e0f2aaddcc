"""A source of generated calls: turns the days of `simulation` into records in the vendor's shape.

Each local day depends only on the seed and its date, so that any hour can be served without those before it. Records
hold only what has happened by the centre's clock: later calls are not listed, and a call that is still going on has no
hangup, no duration, no survey answers and no tags. Names and texts are in `profile`.
"""

import datetime as dt
import random
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from cdr_assets.sandbox.calls import SIGNATURE, Call, call_of
from cdr_assets.sandbox.profile import (
    OUTBOUND_NUMBER,
    QUEUES,
    RECOMMENDATION,
    SATISFACTION,
    SURVEY_BY_MESSAGE,
    SURVEY_BY_PHONE,
    agent_names,
)
from cdr_assets.sandbox.simulation import HOUR, Centre, Day, Leg

OPENED = dt.date(2010, 1, 1)

# Thresholds of the records' own flags, in seconds.
SERVICE_LEVEL = 20
SHORT_CALL = 5

# Calls kept in memory, about 1.5 kB each.
_CACHED_CALLS = 100_000

_AGENT_HANGS_UP = 0.3
_TAGGED = 0.65
_TAGGED_AFTER = 90  # seconds after the end of the call
_ANSWERS_SURVEY = 0.22
_ANSWERED_BY_MESSAGE = 0.25

_SIGNATURE = SIGNATURE.decode()
_KEY = re.compile(r"c(\d{8})\d{6}", re.ASCII)
_ACTIVE_CALL_KEY = re.compile(r"a-c(\d{8})\d{6}", re.ASCII)
_UNIQUE_ID = re.compile(r"crm-(\d{8})-\d+", re.ASCII)
_QUARTER = 900


class GeneratedCentre:
    """A source of generated calls.

    `calls_per_hour` is the mean over all hours of a week; at every hour some queue is open, and the busiest hour has
    more than twice the mean. Keys look like `c20260302000017`; the active call key is the key with `a-` before it.
    Recording links get a new signature in each answer. `now` is the clock and returns an aware datetime.
    """

    def __init__(
        self,
        seed: int = 1,
        calls_per_hour: float = 60,
        time_zone: str = "Europe/Istanbul",
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Raises ValueError if `calls_per_hour` is not positive, ZoneInfoNotFoundError for an unknown zone."""
        if not calls_per_hour > 0:
            raise ValueError(f"calls_per_hour must be positive, not {calls_per_hour}")
        self._seed = seed
        self._zone = ZoneInfo(time_zone)
        self._now = now
        self._centre = Centre(seed, calls_per_hour)
        self._names = [agent_names(number) for number in range(self._centre.staff)]
        self._days: dict[dt.date, _MadeDay] = {}
        self._making = threading.Lock()

    def records(self, first: dt.date, last: dt.date) -> Iterator[dict[str, Any]]:
        """The final records of the days from `first` to `last`, both included, by calldate; the clock does not matter.

        They fit a `RecordsFile`: with their active call key, and with recording links that have no signature.
        """
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            for call in self._day(dt.date.fromordinal(ordinal)).calls:
                record = call.record()
                if record["recordingurl"]:
                    record["recordingurl"] = record["recordingurl"].partition("?")[0]
                yield record | {"activecallkey": call.active_call_key}

    def segments(self, start: str, finish: str, ascending: bool) -> Iterator[Sequence[Call]]:
        now = self._wall_clock_now()
        first = max(dt.date.fromisoformat(start[:10]), OPENED).toordinal()
        last = dt.date.fromisoformat(min(finish, now)[:10]).toordinal()
        for day in range(first, last + 1) if ascending else range(last, first - 1, -1):
            yield self._day(dt.date.fromordinal(day)).seen_at(now)

    def with_key(self, key: str) -> Sequence[Call]:
        return self._of_day(_KEY, key, lambda call: call.key == key)

    def with_unique_id(self, unique_id: str) -> Sequence[Call]:
        return self._of_day(_UNIQUE_ID, unique_id, lambda call: call.unique_id == unique_id)

    def with_active_call_key(self, active_call_key: str) -> Sequence[Call]:
        return self._of_day(_ACTIVE_CALL_KEY, active_call_key, lambda call: call.active_call_key == active_call_key)

    def _of_day(self, form: re.Pattern[str], text: str, is_meant: Callable[[Call], bool]) -> list[Call]:
        named = form.fullmatch(text)
        try:
            day = dt.datetime.strptime(named[1], "%Y%m%d").date() if named else None
        except ValueError:
            day = None
        now = self._wall_clock_now()
        if day is None or not OPENED <= day <= dt.date.fromisoformat(now[:10]):
            return []
        return [call for call in self._day(day).seen_at(now) if is_meant(call)]

    def _wall_clock_now(self) -> str:
        # In the hour that a clock change repeats, its calls vanish and come again. No other day is affected.
        return self._now().astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def _day(self, date: dt.date) -> "_MadeDay":
        made = self._days.get(date)
        if made is None:
            with self._making:
                made = self._days.get(date)
                if made is None:
                    made = self._days[date] = _MadeDay(self._centre, self._seed, date, self._zone, self._names)
                    # Drop the oldest day, but keep two days, because a window may reach over midnight.
                    while len(self._days) > 2 and sum(len(d.calls) + 1 for d in self._days.values()) > _CACHED_CALLS:
                        del self._days[next(iter(self._days))]
        return made


class _MadeDay:
    """The calls of one day, in their final form and as they look before that."""

    def __init__(
        self, centre: Centre, seed: int, date: dt.date, zone: ZoneInfo, names: Sequence[tuple[str, str]]
    ) -> None:
        self._names = names
        self._zone = zone
        self._chance = random.Random(f"records {seed} {date}")
        self._compact = f"{date:%Y%m%d}"
        midnight = dt.datetime.combine(date, dt.time(), zone).astimezone(dt.UTC)
        next_midnight = dt.datetime.combine(date + dt.timedelta(1), dt.time(), zone).astimezone(dt.UTC)
        self._midnight = midnight
        elapsed_hours = int((next_midnight - midnight).total_seconds() // HOUR)
        hours = [(midnight + dt.timedelta(hours=n)).astimezone(zone).hour for n in range(elapsed_hours)]
        play = Day(centre, seed, date.toordinal(), date.weekday(), hours)
        self._clock = self._wall_clock(max((int(leg.hangup) for leg in play.legs), default=0) + HOUR)
        rendered = sorted((self._render(leg) for leg in play.legs), key=lambda made: made[0].position)
        del self._clock, self._chance
        self.calls = [call for call, _ in rendered]
        self._settled = [settled for _, settled in rendered]
        self._all_settled = max(self._settled, default="")
        self._seen: tuple[str, list[Call]] = ("", [])

    def seen_at(self, now: str) -> list[Call]:
        """The calls as they are at `now`, a local time."""
        if self._all_settled <= now:
            return self.calls
        at, seen = self._seen
        if at != now:
            begun = bisect_right(self.calls, now, key=attrgetter("calldate"))
            seen = [
                call if settled <= now else _unsettled(call, now)
                for call, settled in zip(self.calls[:begun], self._settled, strict=False)
            ]
            self._seen = now, seen
        return seen

    def _wall_clock(self, seconds: int) -> list[str]:
        """The local time as text for every second since midnight. Looking it up is faster than formatting it."""
        texts: list[str] = []
        # Clock changes happen only at a full quarter of an hour.
        for quarter in range(0, seconds, _QUARTER):
            local = (self._midnight + dt.timedelta(seconds=quarter)).astimezone(self._zone)
            at = local.hour * HOUR + local.minute * 60
            date = f"{local:%Y-%m-%d} "
            texts += [date + clock for clock in _clock()[at : at + _QUARTER]]
        return texts

    def _render(self, leg: Leg) -> tuple[Call, str]:
        """The call in its final form, and the local time at which it reaches that form."""
        clock = self._clock
        key = f"c{self._compact}{leg.number:06}"
        start, hangup = int(leg.start), int(leg.hangup)
        queued = None if leg.queued is None else int(leg.queued)
        talk = None if leg.talk is None else int(leg.talk)
        wait = 0 if leg.left_queue is None else int(leg.left_queue) - (start if queued is None else queued)
        first = leg.first or leg
        customer = None if leg.caller is None else f"059{leg.caller:08}"
        line = QUEUES[first.queue].called_num
        queue = None if queued is None else QUEUES[leg.queue]
        agent = agent_id = None
        if leg.agent is not None:
            agent, agent_id = self._names[leg.agent.number][1], f"U{leg.agent.number + 1001}"
        answered = talk is not None
        unique_id = None if leg.unique_id is None else f"crm-{self._compact}-{leg.unique_id:05}"
        link = f"http://127.0.0.1/recordings/{key}.mp3?signature={_SIGNATURE}"
        record = {
            "key": key,
            "callid": f"{first.number:06x}-{self._compact}@sip.centre.example",
            "queued": queued is not None,
            "answered": answered,
            "assigned": bool(leg.rings),
            "abandon": not answered,
            "queuedate": None if queued is None else clock[queued],
            "calldate": clock[start],
            "talkdate": None if talk is None else clock[talk],
            "hangupdate": clock[hangup],
            "waitduration": wait,
            "duration": hangup - start,
            "sl": queued is not None and answered and wait <= SERVICE_LEVEL,
            "shortcall": queued is not None and not answered and wait <= SHORT_CALL,
            "callerid": customer if leg.inbound else OUTBOUND_NUMBER,
            "called_num": line if leg.inbound else customer,
            "queue": None if queue is None else queue.name,
            "inbound": leg.inbound,
            "agent": agent,
            "agentid": agent_id,
            "hold": len(leg.holds),
            "holdduration": sum(int(end) - int(begin) for begin, end in leg.holds),
            "queuekey": None if queue is None else queue.key,
            "voicemail": leg.voicemail,
            "uniqueid": unique_id,
            "recordingurl": link if answered or leg.voicemail else None,
            "localrelease": leg.transferred or (answered and self._chance.random() < _AGENT_HANGS_UP),
            "answeredby": "agent" if answered and leg.inbound else None,
            "transferred": int(leg.transferred),
            "channel": f"SIP/trunk-{first.number % 4 + 1}-{first.number:08x}",
        }
        tags, answers = self._tags(leg), self._answers(leg, wait)
        settled = max(answer["date"] for answer in answers) if answers else clock[hangup]
        if tags:
            settled = max(settled, clock[hangup + _TAGGED_AFTER])
        call = Call(
            position=(clock[start], leg.number),
            calldate=clock[start],
            key=key,
            unique_id=unique_id,
            active_call_key=f"a-{key}",
            agent=agent,
            agent_id=agent_id,
            queue_key=None if queue is None else queue.key,
            transferred=leg.transferred,
            has_csat=bool(answers),
            head=msgspec.json.encode(record)[:-1],
            call_history=b',"call_history":' + msgspec.json.encode(self._history(leg)),
            csat_answers=b',"csat_answers":' + msgspec.json.encode(answers),
            call_tags=b',"call_tags":' + msgspec.json.encode(tags),
        )
        return call, settled

    def _history(self, leg: Leg) -> list[dict[str, str]]:
        clock, names = self._clock, self._names
        events = [] if leg.first else [{"event": "ivr_enter" if leg.inbound else "dial", "date": clock[int(leg.start)]}]
        if leg.closed:
            events.append({"event": "closed", "date": clock[int(leg.start) + 1]})
        if leg.queued is not None:
            events.append({"event": "queue_enter", "date": clock[int(leg.queued)], "queue": QUEUES[leg.queue].name})
        for n, (moment, agent) in enumerate(leg.rings):
            name = names[agent.number][0]
            events.append({"event": "agent_ring", "date": clock[int(moment)], "agent": name})
            if n < len(leg.misses):
                events.append({"event": "agent_miss", "date": clock[int(leg.misses[n])], "agent": name})
        if leg.talk is not None and leg.agent is not None:
            name = names[leg.agent.number][0]
            answer = {"event": "agent_answer", "date": clock[int(leg.talk)], "agent": name}
            events.append(answer if leg.inbound else {"event": "answer", "date": clock[int(leg.talk)]})
            for begin, end in leg.holds:
                events.append({"event": "hold", "date": clock[int(begin)], "agent": name})
                events.append({"event": "unhold", "date": clock[int(end)], "agent": name})
            if leg.transferred:
                events.append({"event": "transfer", "date": clock[int(leg.hangup)], "agent": name})
        if leg.voicemail:
            events.append({"event": "voicemail", "date": clock[int(leg.left_queue or 0)]})
        events.append({"event": "hangup", "date": clock[int(leg.hangup)]})
        return events

    def _tags(self, leg: Leg) -> list[str]:
        if leg.talk is None or not leg.inbound or self._chance.random() > _TAGGED:
            return []
        tags = QUEUES[leg.queue].tags
        chance = self._chance.random()
        first = int(chance * len(tags))
        # One call in five gets a second tag. This uses the rest of the same random number.
        return [tags[first], tags[first - 1]] if chance * len(tags) - first < 0.2 else [tags[first]]

    def _answers(self, leg: Leg, wait: int) -> list[dict[str, Any]]:
        """Callers who were served may answer a survey: by phone at once, or by message up to two days later."""
        chance = self._chance.random
        if leg.talk is None or not leg.inbound or leg.transferred or chance() > _ANSWERS_SURVEY:
            return []
        by_message = chance() < _ANSWERED_BY_MESSAGE
        seconds = 600 + chance() * 47 * HOUR if by_message else 15 + chance() * 45
        date = self._later(int(leg.hangup + seconds))
        # Long waits lower the score.
        mood = chance() + wait / 900
        score = 5 - sum(mood > bound for bound in (0.55, 0.80, 0.90, 0.97))
        asked = [(SATISFACTION, score)]
        if chance() < 0.5:
            asked.append((RECOMMENDATION, min(10, max(0, 2 * score - 1 + int(3 * chance())))))
        return [
            {
                "survey": SURVEY_BY_MESSAGE if by_message else SURVEY_BY_PHONE,
                "question": question,
                "answer": str(given),
                "score": given,
                "scale": scale,
                "date": date,
            }
            for (question, scale), given in asked
        ]

    def _later(self, seconds: int) -> str:
        if seconds < len(self._clock):
            return self._clock[seconds]
        moment = self._midnight + dt.timedelta(seconds=seconds)
        return f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M:%S}"


@cache
def _clock() -> list[str]:
    """The text `%H:%M:%S` for every second of a day."""
    return [f"{n // HOUR:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(24 * HOUR)]


def _unsettled(call: Call, now: str) -> Call:
    """The call as it is at `now`, a time after its beginning and before it reaches its final form."""
    record = call.record()
    history = record["call_history"] = [item for item in record["call_history"] if item["date"] <= now]
    record["csat_answers"] = [item for item in record["csat_answers"] if item["date"] <= now]
    if record["hangupdate"] > now:
        queued = record["queued"] = record["queued"] and record["queuedate"] <= now
        answered = record["answered"] = record["answered"] and record["talkdate"] <= now
        events = [item["event"] for item in history]
        record |= dict.fromkeys(("hangupdate", "duration", "recordingurl"))
        record |= dict.fromkeys(("abandon", "shortcall", "voicemail", "localrelease"), False)
        record |= {"hold": events.count("hold"), "holdduration": 0, "transferred": 0}
        record["assigned"] = "agent_ring" in events
        if not queued:
            record |= dict.fromkeys(("queuedate", "queue", "queuekey"))
        if not answered:
            record |= dict.fromkeys(("talkdate", "answeredby", "waitduration"))
            record["sl"] = False
        if record["inbound"] and not record["assigned"]:
            record |= dict.fromkeys(("agent", "agentid"))
    if record["hangupdate"] is None or now < _plus(record["hangupdate"], _TAGGED_AFTER):
        record["call_tags"] = []
    return call_of(record | {"activecallkey": call.active_call_key}, call.position[1])


def _plus(date: str, seconds: int) -> str:
    return str(dt.datetime.fromisoformat(date) + dt.timedelta(seconds=seconds))
