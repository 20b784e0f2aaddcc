"""Removes what is known of forgotten people from the vendor's records, before they are typed.

Fetched pages, stored pages and stored calls go through the same rule, so that a call that is fetched again is equal to
the stored one. The class of each field (`domain/schema.py`) decides:

| class | in a call of the person | in other records, where the number is |
|---|---|---|
| number | null; the line that an inbound call dialled stays | null; that line stays |
| link | null | null |
| identifier, reference | a keyed hash, if it holds the number | the same |
| name, free text | all phone numbers masked | the number masked |
| measure, date | null, if it holds the number | the same |
| a survey's answer | null, if it is no score | the number masked |
| a field without a column | left out | the number masked, in its name too |

How numbers are found is in `forgotten`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from cdr_assets.domain.masking import mask
from cdr_assets.domain.schema import ARRAYS, CHILDREN, CSAT_ANSWERS, VENDOR_COLUMNS, Class, Kind, Table
from cdr_assets.transforms.forgotten import Forgotten
from cdr_assets.transforms.values import Sent, read_values

_CLASSES = {column.name: column.holds for column in VENDOR_COLUMNS}

# A survey's answer that is a score: a number, and too short to be a phone's.
_SCORE = re.compile(r"\s*[+-]?[0-9]{1,4}(?:[.,][0-9]{1,2})?\s*")

_BLANKS = re.compile(r"[ \t\n\r]*")


class Number(str):
    """A JSON number (or NaN) in the spelling in which it was sent."""


class Members(list[tuple[str, Any]]):
    """A JSON object. Its names may come twice."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=Number, strict=False
)


def blank_bodies(bodies: Sequence[bytes], forgotten: Forgotten) -> list[bytes]:
    """The bodies of pages (JSON in UTF-8) without forgotten people. They keep the number and order of their records."""
    if not forgotten:
        return list(bodies)
    texts = [body.decode() for body in bodies]
    held = forgotten.which_hold(texts)
    return [
        _blank_body(text, forgotten).encode() if is_held else body
        for body, text, is_held in zip(bodies, texts, held, strict=True)
    ]


def blank_json(text: str, forgotten: Forgotten) -> str:
    """A record as JSON, such as that of a rejected one, without forgotten people."""
    record = _DECODER.decode(text)
    return text if not forgotten.holds(dump(record)) else dump(blank_record(record, forgotten))


def blank_record(record: Any, forgotten: Forgotten) -> Any:
    """A record, as `members` reads it, without forgotten people."""
    if not isinstance(record, Members):
        return _without(record, forgotten)
    values = dict(reversed(record))  # If a name comes twice, its first value counts.
    inbound = _boolean(values.get("inbound"))
    is_theirs = _is_theirs(values, inbound, forgotten)
    blank = Members()
    for name, value in record:
        if name in _CLASSES:
            blank.append((name, _field(name, value, forgotten, inbound=inbound, is_theirs=is_theirs)))
        elif not is_theirs:
            blank.append((forgotten.without(name), _without(value, forgotten)))
        elif name in ARRAYS:
            blank.append((name, _items_of_theirs(CHILDREN[name], value, forgotten)))
    return blank


def _is_theirs(values: Mapping[str, Any], inbound: bool | None, forgotten: Forgotten) -> bool:
    """Whether a forgotten person made the call, or was called by the centre."""
    is_caller = inbound is not False and forgotten.is_number(_text(values.get("callerid")))
    return is_caller or (inbound is not True and forgotten.is_number(_text(values.get("called_num"))))


def records_of(body: bytes, forgotten: Forgotten) -> list[str]:
    """The records in a page's body of calls of these people, as JSON."""
    text = body.decode()
    records = [_DECODER.raw_decode(text, start)[0] for start, _, is_record in _values(text) if is_record]
    of_people = []
    for record in records:
        if isinstance(record, Members) and forgotten.holds(dump(record)):
            values = dict(reversed(record))
            if _is_theirs(values, _boolean(values.get("inbound")), forgotten):
                of_people.append(dump(record))
    return of_people


def blank_text(text: str, forgotten: Forgotten) -> str:
    """A text without the numbers; it stays JSON if it is JSON."""
    try:
        return dump(_without(_DECODER.decode(text), forgotten))
    except ValueError:
        return forgotten.without(text)


def members(text: str) -> Any:
    """Reads JSON: objects as `Members`, numbers in their spelling."""
    return _DECODER.decode(text)


def dump(value: Any) -> str:
    """Writes JSON without blanks."""
    if isinstance(value, Members):
        return "{" + ",".join(f"{_quoted(name)}:{dump(of_it)}" for name, of_it in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    # Half a surrogate pair cannot be written in UTF-8.
    return quoted if quoted.isascii() or not re.search("[\ud800-\udfff]", quoted) else json.dumps(text)


def _blank_body(text: str, forgotten: Forgotten) -> str:
    """Replaces only the records and other members that hold a forgotten number; the rest stays letter by letter."""
    pieces, end = [], 0
    for start, finish, is_record in _values(text):
        value, _ = _DECODER.raw_decode(text, start)
        if forgotten.holds(dump(value)):
            blank = blank_record(value, forgotten) if is_record else _without(value, forgotten)
            pieces += [text[end:start], dump(blank)]
            end = finish
    return "".join([*pieces, text[end:]])


def _values(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each record, and of each other member of the outer object."""
    at = _skip(text, 0)
    while text[at] not in "}":
        at = _skip(text, at + 1)
        if text[at] == "}":
            return
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        start = at
        _, at = _DECODER.raw_decode(text, at)
        if name == "CallList" and text[start] == "[":
            yield from ((first, last, True) for first, last in _elements(text, start))
        else:
            yield start, at, False
        at = _skip(text, at)


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    at = _skip(text, at + 1)
    while text[at] != "]":
        start = at
        _, at = _DECODER.raw_decode(text, start)
        yield start, at
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _field(name: str, value: Any, forgotten: Forgotten, *, inbound: bool | None, is_theirs: bool) -> Any:
    text = _text(value)
    holds = _CLASSES[name]
    if holds is Class.NUMBER:
        if name == "called_num" and inbound:
            return value
        is_number = forgotten.is_number(text, but_no_line=name == "callerid" and inbound is False)
        return None if is_theirs or is_number else value
    if holds is Class.LINK:
        return None if is_theirs or forgotten.holds(text) else value
    is_scalar = not isinstance(value, list)
    if holds in (Class.IDENTIFIER, Class.REFERENCE) and is_scalar:
        return forgotten.reference(text) if forgotten.holds(text) else value
    if holds in (Class.NAME, Class.FREE_TEXT) and is_scalar:
        return _masked(value, forgotten) if is_theirs else _without(value, forgotten)
    if is_theirs and not is_scalar:
        return None
    return None if is_scalar and forgotten.holds(text) else _without(value, forgotten)


def _items_of_theirs(table: Table, value: Any, forgotten: Forgotten) -> Any:
    if isinstance(value, str) and value.strip().startswith("["):
        # An array that was sent as a text.
        try:
            value = _DECODER.decode(value.strip())
        except ValueError:
            return None
    if isinstance(value, Members) or not isinstance(value, list):
        return None if value is None or not _text(value).strip() else [_item_of_theirs(table, value, forgotten)]
    return [_item_of_theirs(table, item, forgotten) for item in value]


def _item_of_theirs(table: Table, item: Any, forgotten: Forgotten) -> Any:
    if not isinstance(item, Members):
        if isinstance(item, list):
            return None
        return _answer(item) if table is CSAT_ANSWERS else _masked(item, forgotten)
    blank = Members()
    for name, value in item:
        of_field = [column for column in table.columns if name in column.names]
        classes = {column.holds for column in of_field}
        if not of_field:
            continue
        if any(column.name == "answer" for column in of_field):
            blank.append((name, _answer(value)))
        elif classes & {Class.NAME, Class.FREE_TEXT}:
            blank.append((name, None if isinstance(value, list) else _masked(value, forgotten)))
        else:
            blank.append((name, None if isinstance(value, list) or forgotten.holds(_text(value)) else value))
    return blank


def _answer(value: Any) -> Any:
    return value if value is None or _SCORE.fullmatch(_text(value)) else None


def _masked(value: Any, forgotten: Forgotten) -> Any:
    """A scalar with all phone numbers masked, also those of others."""
    if not isinstance(value, str):
        return value
    masked = mask(forgotten.without(value))
    return value if masked == value else masked


def _without(value: Any, forgotten: Forgotten) -> Any:
    if isinstance(value, Members):
        return Members((forgotten.without(name), _without(of_it, forgotten)) for name, of_it in value)
    if isinstance(value, list):
        return [_without(each, forgotten) for each in value]
    if isinstance(value, Number):
        return None if forgotten.holds(value) else value
    return forgotten.without(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, str) else dump(value)


def _boolean(value: Any) -> bool | None:
    sent = pl.DataFrame({"value": [None if value is None else dump(value)]}, schema={"value": pl.String})
    values = read_values(Sent(sent, is_plain=False), {"value": ("value", Kind.BOOLEAN)}, "UTC")
    read: bool | None = values.typed["value"].item()
    return read
