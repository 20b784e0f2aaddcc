"""Faults of single records: spellings, nulls, missing and new members, arrays and records of the wrong type.

A fault that changes records hits a share of them. The record's key decides, so that every answer hits the same ones. A
test can call `record()` to learn what was served. The docstrings of the classes are in docs/faults.md.
"""

import datetime as dt
import random
from collections.abc import Iterable
from typing import Any

import msgspec

from cdr_assets.sandbox.calls import ARRAYS
from cdr_assets.sandbox.faults.base import Exchange, Fault

_NUMBERS = ("waitduration", "duration", "hold", "holdduration", "transferred", "score", "scale")
_BOOLEANS = ("queued", "answered", "assigned", "abandon", "sl", "shortcall", "inbound", "voicemail", "localrelease")
_DATES = ("queuedate", "calldate", "talkdate", "hangupdate", "date")
_KEPT = ("key", "calldate")


class RecordFault(Fault):
    """Changes some records; `share` is the share of records, not of requests."""

    usual_share = 0.5

    def is_meant(self, exchange: Exchange) -> bool:
        return self.is_at(exchange)

    def change(self, exchange: Exchange) -> None:
        exchange.page.records = [self.record(record) for record in exchange.page.records]

    def record(self, record: Any) -> Any:
        """The record as it is served."""
        if not isinstance(record, dict) or self.chance(str(record.get("key"))) >= self.share:
            return record
        return self.changed(record, random.Random(f"{self.seed} {record.get('key')}"))

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        raise NotImplementedError


class _Spelling(RecordFault):
    """Spells some values differently, in the record and in the items of its arrays."""

    names: tuple[str, ...] = ()

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        def spelled(name: str, value: Any) -> Any:
            if name in ARRAYS and isinstance(value, list):
                return [self.changed(item, chance) if isinstance(item, dict) else item for item in value]
            is_spelled = name in self.names and value not in (None, "")
            return chance.choice(self.spellings(value)) if is_spelled else value

        return {name: spelled(name, value) for name, value in record.items()}

    def spellings(self, value: Any) -> list[Any]:
        raise NotImplementedError


class SpelledNumbers(_Spelling):
    """Spells numbers as 12, 12.0, "12" or "12.0". The client should read them all as 12."""

    names = _NUMBERS

    def spellings(self, value: Any) -> list[Any]:
        return [value, float(value), str(value), str(float(value))] if isinstance(value, int) else [value]


class SpelledBooleans(_Spelling):
    """Spells booleans as true, "true", "True", "TRUE", 1, "1" or "yes", and likewise false. The client should read them
    all."""

    names = _BOOLEANS

    def spellings(self, value: Any) -> list[Any]:
        if not isinstance(value, bool):
            return [value]
        text = str(value)
        return [value, text.lower(), text, text.upper(), int(value), str(int(value)), "yes" if value else "no"]


class SpelledDates(_Spelling):
    """Spells dates with T or a blank and with a fraction of a second or none. The client should read them all."""

    names = _DATES

    def spellings(self, value: Any) -> list[Any]:
        joined = str(value).replace(" ", "T")
        return [value, joined, f"{value}.000", f"{joined}.000", f"{value}.000000", f"{joined}.000000"]


class ZonedDates(_Spelling):
    """Spells dates with an offset from UTC, or as UTC with Z. The client should take them for the instants they are,
    or reject the record; not take UTC for the wall clock."""

    names = _DATES

    def spellings(self, value: Any) -> list[Any]:
        try:
            local = dt.datetime.fromisoformat(value).replace(tzinfo=self.zone)
        except (TypeError, ValueError):
            return [value]
        utc = local.astimezone(dt.UTC).replace(tzinfo=None)
        return [value, local.isoformat(), f"{local:%Y-%m-%d %H:%M:%S%z}", f"{utc.isoformat()}Z"]


class Blanks(RecordFault):
    """Sends "" in place of every null. The client should take it for null."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:  # noqa: ARG002
        return {name: "" if value is None else value for name, value in record.items()}


class Nulls(RecordFault):
    """Sends null in place of half of the values, but for key and calldate. The client should load what is left."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        return {name: None if name not in _KEPT and chance.random() < 0.5 else value for name, value in record.items()}


class MissingFields(RecordFault):
    """Leaves out half of the members, but for key and calldate. The client should load what is left."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        return {name: value for name, value in record.items() if name in _KEPT or chance.random() < 0.5}


class NewFields(RecordFault):
    """Adds members that the vendor's page does not name: a number, a text, a boolean, an object and a list. The client
    should keep them and say that they are new."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        return record | {
            "sentiment_score": round(chance.uniform(-1, 1), 3),
            "language": chance.choice(["tr", "en"]),
            "is_vip": chance.random() < 0.1,
            "routing": {"skill": "görüşme", "attempts": [1, 2], "overflow": {"after": 30}},
            "participants": [{"role": "supervisor", "joined": None}],
        }


class OddArrays(RecordFault):
    """Sends something else in place of each array: null, "", a text, a number, an object, or the array as a text of
    JSON. The client should keep what it says, and load the call."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        def odd(array: Any) -> Any:
            text = msgspec.json.encode(array).decode()
            return chance.choice([None, "", "görüşme", 7, {"name": "görüşme"}, {}, text])

        return {name: odd(value) if name in ARRAYS else value for name, value in record.items()}


class OddItems(RecordFault):
    """Adds items of other kinds to each array: a text, a number, null, a list, an object with other members. The client
    should keep them."""

    def changed(self, record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        def odd(array: Any) -> Any:
            sent = array if isinstance(array, list) else [array]
            items: list[Any] = [*sent, "görüşme", 7, None, ["a", 1], {"name": "görüşme", "since": {"day": 1}}]
            chance.shuffle(items)
            return items

        return {name: odd(value) if name in ARRAYS else value for name, value in record.items()}


class _Added(Fault):
    """Adds records that cannot be loaded to each page, at random places that are the same in every answer."""

    def change(self, exchange: Exchange) -> None:
        chance = random.Random(f"{self.seed} {exchange.identity}")
        sample = next((record for record in exchange.page.records if isinstance(record, dict)), {})
        for bad in self.bad(sample):
            exchange.page.records.insert(chance.randint(0, len(exchange.page.records)), bad)

    def bad(self, sample: dict[str, Any]) -> Iterable[Any]:
        raise NotImplementedError


class NotAnObject(_Added):
    """Adds a number, a text, null and a list to the records of each page. The client should reject them, keep them for
    somebody to look at, and load the others."""

    room = 4

    def bad(self, sample: dict[str, Any]) -> Iterable[Any]:  # noqa: ARG002
        return 42, "görüşme", None, ["key", "calldate"]


class NoKey(_Added):
    """Adds records without a key, and with null or "" for a key. The client should reject them, load the others."""

    room = 3

    def bad(self, sample: dict[str, Any]) -> Iterable[Any]:
        return (
            {name: value for name, value in sample.items() if name != "key"},
            sample | {"key": None},
            sample | {"key": ""},
        )


class UnreadableCalldate(_Added):
    """Adds records whose calldate is missing, null, "", no date, or a day that does not exist. The client should reject
    them and load the others."""

    room = 5

    def bad(self, sample: dict[str, Any]) -> Iterable[Any]:
        keyed = sample | {"key": f"{sample.get('key')}-undated"}
        yield {name: value for name, value in keyed.items() if name != "calldate"}
        for unreadable in (None, "", "yesterday", "2026-02-30 10:00:00"):
            yield keyed | {"calldate": unreadable}
