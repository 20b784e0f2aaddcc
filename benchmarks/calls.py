"""The calls of the benchmarks, from light to very heavy. A weight is one tenant, which spells all its calls alike.

The sandbox makes the light calls; here they get what real ones also have. Serving them is in `server`.
"""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from benchmarks.contenders import TIME_ZONE
from cdr_assets.sandbox import GeneratedCentre
from cdr_assets.sandbox.calls import Call
from cdr_assets.sandbox.profile import QUEUES

START = dt.datetime(2026, 3, 2)


class Weight(StrEnum):
    LIGHT = "light"
    HEAVY = "heavy"
    HEAVY_TEXTS = "heavy-texts"
    VERY_HEAVY = "very-heavy"


class _Load(NamedTuple):
    """What a weight adds to light calls. Shares are of calls."""

    events: int  # at least this many
    one_more_event: float
    tags: int  # at least this many
    one_more_tag: float
    detail: tuple[int, int]  # shortest and longest half of an event's text, in bytes
    as_texts: bool  # numbers as texts, and "" for a missing value


# A light call has 5.03 events, 0.27 answers and 0.66 tags on average.
_LOADS = {
    Weight.HEAVY: _Load(0, 0.072, 0, 0.023, (15, 45), as_texts=False),
    Weight.HEAVY_TEXTS: _Load(0, 0.072, 0, 0.023, (15, 45), as_texts=True),
    Weight.VERY_HEAVY: _Load(20, 0, 5, 0, (250, 250), as_texts=False),
}
_ANSWERS_KEPT = 0.22 / 0.268

# Mean calls an hour. Chance makes 328,527 light calls of them in the week from START, and 337,440 of the heavier ones.
_LIGHT_PER_HOUR, _HEAVY_PER_HOUR = 2000, 2010


def made_days(weight: Weight, start: dt.datetime, finish: dt.datetime) -> Iterator[Sequence[Call]]:
    """The calls that begin in [start, finish), one list for each day."""
    # A clock after the span, so that every call has ended.
    now = finish.replace(tzinfo=dt.UTC) + dt.timedelta(days=30)
    load = _LOADS.get(weight)
    per_hour = _HEAVY_PER_HOUR if load else _LIGHT_PER_HOUR
    centre = GeneratedCentre(calls_per_hour=per_hour, time_zone=TIME_ZONE, now=lambda: now)
    first, last = f"{start}", f"{finish - dt.timedelta(seconds=1)}"
    for day in centre.segments(first, last, True):
        calls = [call for call in day if first <= call.calldate <= last]
        if calls:
            yield _Loader(load, calls[0].calldate).heavier(calls) if load else calls


class _HeavyCall(Call):
    """A call whose history is kept in pieces and joined when it is served.

    A week of very heavy calls is 5 GB of JSON, but most pieces are texts that other calls have too.
    """

    __slots__ = ("_pieces",)

    @property
    def call_history(self) -> bytes:
        return b"".join(self._pieces)

    @call_history.setter
    def call_history(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces


_WORDS = (
    *("müşteri", "fatura", "ödeme", "şikâyet", "kayıt", "açıldı", "görüşme", "aktarıldı", "bekleme", "sırası"),
    *("menü", "seçimi", "tuşlandı", "doğrulama", "kimlik", "bilgisi", "güncellendi", "adres", "değişikliği", "talep"),
    *("temsilci", "çağrıyı", "aldı", "hat", "meşgul", "geri", "arama", "istendi", "bağlantı", "sorunu", "çözüldü"),
    *("ikinci", "seviye", "destek", "iade", "işlemi", "başlatıldı", "kampanya", "teklifi", "sunuldu", "onay"),
    *("öğleden", "sonra", "tekrar", "aranacak", "üyelik", "iptal", "nedeni", "ürün", "değişimi", "gönderildi"),
)
_EXTRA_EVENTS = ("announcement", "dtmf", "crm_lookup", "screen_pop", "note", "position", "recording_start")
_ALL_TAGS = sorted({tag for queue in QUEUES for tag in queue.tags})
_POOL = 4096
_LINK_BASE = "http://127.0.0.1/recordings/"
# As long as the signed links of cloud storage.
_LINK = "http://127.0.0.1/recordings/centre-example/{day}/{key}.mp3?access_id=recordings%40centre.example&expires={at}&"


def _halves(shortest: int, longest: int) -> list[bytes]:
    """Halves of texts. Two of 4,096 make 17 million texts, so that no event's text is likely to come twice."""
    chance = random.Random(f"{shortest} {longest}")
    halves = []
    for _ in range(_POOL):
        size = chance.randint(shortest, longest)
        text = b""
        while len(text) < size:
            text += chance.choice(_WORDS).encode() + b" "
        # A letter of two bytes must not be cut.
        text = text[:size].decode(errors="ignore").encode()
        halves.append(text + b"." * (size - len(text)))
    return halves


class _Loader:
    """Makes the calls of one day heavier."""

    def __init__(self, load: _Load, seed: str) -> None:
        self._load = load
        self._random = random.Random(f"{load} {seed}").random
        self._details = _halves(*load.detail)

    def heavier(self, calls: Sequence[Call]) -> list[Call]:
        return [self._heavier(call) for call in calls]

    def _heavier(self, call: Call) -> Call:
        record = call.record()
        events, answers, tags = record.pop("call_history"), record.pop("csat_answers"), record.pop("call_tags")
        if record["recordingurl"]:
            day = record["calldate"][:10].replace("-", "/")
            signed = record["recordingurl"].partition("?")[2]
            record["recordingurl"] = _LINK.format(day=day, key=record["key"], at="1775001600") + signed
        if record["answeredby"]:
            record["answeredby"] = f"Ana menü > {record['queue'] or 'Temsilci'} > Temsilciye bağlan"
        if self._random() > _ANSWERS_KEPT:
            answers = []
        tags = self._tags(tags)
        if self._load.as_texts:
            record, answers = _as_texts(record), [_as_texts(answer) for answer in answers]
        return _HeavyCall(
            position=call.position,
            calldate=call.calldate,
            key=call.key,
            unique_id=call.unique_id,
            active_call_key=call.active_call_key,
            agent=call.agent,
            agent_id=call.agent_id,
            queue_key=call.queue_key,
            transferred=call.transferred,
            has_csat=bool(answers),
            head=msgspec.json.encode(record)[:-1],
            call_history=self._history(events),
            csat_answers=b',"csat_answers":' + msgspec.json.encode(answers),
            call_tags=b',"call_tags":' + msgspec.json.encode(tags),
        )

    def _history(self, events: list[dict[str, str]]) -> tuple[bytes, ...]:
        """The history's JSON in pieces: every event gets an agent, a queue, a duration and a text."""
        missing = max(self._load.events - len(events), int(self._random() < self._load.one_more_event))
        if missing > 0:
            events = self._with_more(events, missing)
        missing_value, quote = ('""', '"') if self._load.as_texts else ("null", "")
        details, chance = self._details, self._random
        pieces: list[bytes] = []
        before = b',"call_history":['
        queue = missing_value
        clocks = [_seconds(event["date"]) for event in events]
        # The last event, the hangup, lasts no time.
        for event, clock, then in zip(events, clocks, [*clocks[1:], clocks[-1]], strict=True):
            if "queue" in event:
                queue = f'"{event["queue"]}"'
            agent = f'"{event["agent"]}"' if "agent" in event else missing_value
            lasts = f"{quote}{(then - clock) % 86400}{quote}"
            head = (
                f'{{"event":"{event["event"]}","date":"{event["date"]}","queue":{queue},"agent":{agent},'
                f'"duration":{lasts},"detail":"'
            )
            pieces += (before + head.encode(), details[int(chance() * _POOL)], details[int(chance() * _POOL)])
            before = b'"},'
        return (*pieces, b'"}]')

    def _with_more(self, events: list[dict[str, str]], more: int) -> list[dict[str, str]]:
        """The events with `more` others between the first and the last."""
        first, last = (dt.datetime.fromisoformat(events[place]["date"]) for place in (0, -1))
        step = (last - first) / (more + 1)
        added = [
            {"event": _EXTRA_EVENTS[n % len(_EXTRA_EVENTS)], "date": (first + step * (n + 1)).isoformat(" ", "seconds")}
            for n in range(more)
        ]
        # The sort is stable, and the hangup comes last anyway.
        return sorted([*events[:-1], *added], key=lambda event: event["date"]) + events[-1:]

    def _tags(self, tags: list[str]) -> list[str]:
        if self._random() < self._load.one_more_tag:
            return [*tags, "geri arama istendi"]
        others = (_ALL_TAGS[(n + int(self._random() * 4)) % len(_ALL_TAGS)] for n in range(0, len(_ALL_TAGS), 4))
        while len(tags) < self._load.tags:
            tag = next(others)
            tags = tags if tag in tags else [*tags, tag]
        return tags


def _as_texts(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "" if value is None else value if isinstance(value, bool | str) else str(value)
        for name, value in record.items()
    }


def _seconds(date: str) -> int:
    """Seconds since midnight of `2026-03-02 14:05:24`."""
    return 3600 * int(date[11:13]) + 60 * int(date[14:16]) + int(date[17:19])
