"""Splits pages into records (`records.Records`) in one typed pass, if each field has one type in all of their records.

Most tenants' pages are like that. pyarrow reads them in a quarter of the time that `records` needs, which reads any
page; both give the same result. pyarrow must be told the type of each field, and refuses a page that has another field,
a value of another type, a name that comes twice, half a surrogate pair or a control character. The types are learnt
from the tenant's own pages: for one that writes `"12"`, that field is a text.

Not read here, but in `records`: numbers with a fraction, values that are objects or arrays where none is documented,
and durations that are written as a clock.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from cdr_assets.domain.schema import ARRAYS, CHILDREN, DURATIONS, VENDOR_COLUMNS, Kind
from cdr_assets.transforms.items import ITEM, ItemsSent, fields_of
from cdr_assets.transforms.long_texts import buffers
from cdr_assets.transforms.records import Records
from cdr_assets.transforms.values import BLANKS, Sent, as_json, sent_values

# Many enough that starting the parser costs little, few enough that a page that is refused costs little too.
_PAGES_AT_A_TIME = 16

# Pages of a batch that are refused, or learnt from.
_MOST_TRIES = 16

# Fields of a page, record or item. Each needs a column, and a server may make up names without end.
_MOST_FIELDS = 100

_TEXT, _INTEGER, _BOOLEAN = pa.string(), pa.int64(), pa.bool_()
_OF_VALUE = {str: _TEXT, int: _INTEGER, bool: _BOOLEAN}
_OF_KIND = {Kind.BOOLEAN: _BOOLEAN, Kind.INTEGER: _INTEGER, Kind.NUMBER: _INTEGER}

_NUMERIC = (Kind.INTEGER, Kind.NUMBER)
_COLUMNS = [(column.name, column.kind) for column in VENDOR_COLUMNS] + [
    (name, column.kind) for table in CHILDREN.values() for column in table.columns for name in column.names
]
# The fields that only columns of numbers are read from.
_NUMBERS = {name for name, kind in _COLUMNS if kind in _NUMERIC} - {
    name for name, kind in _COLUMNS if kind not in _NUMERIC
}

_FIELDS = [column.name for column in VENDOR_COLUMNS]
_ENTRIES = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "value": pl.String()})

# As an integer it is 0, and would be another text.
_MINUS_ZERO = re.compile(rb"-0\s*[,}\]]")


class _NotUniformError(Exception):
    """A page has values that cannot be read in a typed pass."""


@dataclass(frozen=True)
class Types:
    """The type of each field of pages, records and items, as far as they were learnt; items may be plain values."""

    page: Mapping[str, pa.DataType] = field(default_factory=lambda: {"cursor": _TEXT})
    record: Mapping[str, pa.DataType] = field(
        default_factory=lambda: {column.name: _OF_KIND.get(column.kind, _TEXT) for column in VENDOR_COLUMNS}
    )
    items: Mapping[str, Mapping[str, pa.DataType]] = field(
        default_factory=lambda: {name: dict.fromkeys(fields_of(name), _TEXT) for name in ARRAYS}
    )

    def has_integer_texts(self) -> bool:
        """True if integers are read as texts, because their field is documented as a text or not at all."""
        fields = [self.record, *self.items.values()]
        return any(type_ == _INTEGER and name not in _NUMBERS for types in fields for name, type_ in types.items())

    def schema(self) -> pa.Schema:
        arrays = [(name, pa.list_(_item_type(types))) for name, types in self.items.items()]
        records = pa.list_(pa.struct([*self.record.items(), *arrays]))
        return pa.schema([("CallList", records), *self.page.items()])

    def learn(self, page: str | None) -> "Types":
        """The types with those of a page. Raises _NotUniformError if a field has values of several types."""
        try:
            content = msgspec.json.decode(page or "", type=dict[str, Any])
            records = msgspec.convert(content.pop("CallList", None) or [], list[dict[str, Any]])
            arrays = {
                name: msgspec.convert([record.pop(name, None) or [] for record in records], list[list[Any]])
                for name in ARRAYS
            }
        except (ValueError, RecursionError):
            raise _NotUniformError from None
        types = self.items
        for name, lists in arrays.items():
            objects = [
                item if isinstance(item, dict) else {ITEM: item}
                for items in lists
                for item in items
                if item is not None
            ]
            found = _types(objects)
            if ITEM in found and len(found) > 1:
                raise _NotUniformError
            if found:
                known = {} if (ITEM in found) != (ITEM in types[name]) else types[name]
                types = {**types, name: _merged(known, found)}
        return Types(_merged(self.page, _types([content])), _merged(self.record, _types(records)), types)


def _types(objects: list[dict[str, Any]]) -> dict[str, pa.DataType]:
    found: dict[str, pa.DataType] = {}
    for values in objects:
        for name, value in values.items():
            if value is not None:
                of_value = _OF_VALUE.get(type(value))
                if of_value is None or found.setdefault(name, of_value) != of_value:
                    raise _NotUniformError
    return found


def _merged(known: Mapping[str, pa.DataType], found: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
    types = {**known, **found}
    if len(types) > _MOST_FIELDS:
        raise _NotUniformError
    return types


def _item_type(types: Mapping[str, pa.DataType]) -> pa.DataType:
    return types[ITEM] if ITEM in types else pa.struct(list(types.items()))


class UniformPages:
    """Reads the pages of one tenant, and learns the types of its fields."""

    def __init__(self) -> None:
        self._types = Types()
        self._read = self._refused = self._learnt = 0

    def take_apart(self, pages: pl.DataFrame) -> tuple[list[Records], pl.DataFrame]:
        """The records of the pages that can be read here, and the other pages.

        `pages` has page (a number), body, and record_count.
        """
        read: list[_Parsed] = []
        refused = [pages.clear()]
        for some in pages.iter_slices(_PAGES_AT_A_TIME):
            if self._is_hopeless():
                refused.append(some)
                continue
            try:
                read.append(_Parsed(self._types, some["page"], _parse(some, self._types)))
                self._read += some.height
            except _NotUniformError:
                for page in some.iter_slices(1):
                    try:
                        read.append(self._parse_or_learn(page))
                        self._read += 1
                    except _NotUniformError:
                        refused.append(page)
                        self._refused += 1
        records = [_records_of(types, list(some)) for types, some in groupby(read, attrgetter("types"))]
        return records, pl.concat(refused)

    def _is_hopeless(self) -> bool:
        """True for a tenant most of whose pages are refused, or whose types change from page to page.

        Trying more pages would only cost more: pages of other types are typed apart.
        """
        return (self._refused > _MOST_TRIES and self._refused > self._read) or self._learnt > _MOST_TRIES

    def _parse_or_learn(self, page: pl.DataFrame) -> "_Parsed":
        try:
            lists = _parse(page, self._types)
        except _NotUniformError:
            self._types = self._types.learn(page["body"][0])
            self._learnt += 1
            lists = _parse(page, self._types)
        return _Parsed(self._types, page["page"], lists)


class _Parsed(NamedTuple):
    """Pages that were parsed with these types: their numbers, and the list of records of each."""

    types: Types
    pages: pl.Series
    lists: pa.ListArray


def _parse(pages: pl.DataFrame, types: Types) -> pa.ListArray:
    """The list of records of each page."""
    # pyarrow crashes if all of what it reads is null.
    if not pages["body"].str.contains(r"^\s*\{").fill_null(False).all():
        raise _NotUniformError
    joined = pa.py_buffer(b"".join(body for body in buffers(pages["body"]) if body is not None))
    if types.has_integer_texts() and _MINUS_ZERO.search(joined):
        raise _NotUniformError
    try:
        table = pj.read_json(
            pa.BufferReader(joined),
            read_options=pj.ReadOptions(use_threads=False, block_size=joined.size + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=types.schema(), newlines_in_values=True, unexpected_field_behavior="error"
            ),
        )
    except pa.ArrowInvalid:
        raise _NotUniformError from None
    lists = table["CallList"].combine_chunks()
    counts = pc.fill_null(pc.list_value_length(lists), 0)
    if len(lists) != pages.height or counts.to_pylist() != pages["record_count"].to_list():
        raise _NotUniformError
    records = lists.flatten()
    if records.null_count:
        raise _NotUniformError
    for name in DURATIONS:
        if types.record[name] == _TEXT and pc.any(pc.match_substring(records.field(name), ":")).as_py():
            raise _NotUniformError
    return lists


def _records_of(types: Types, parsed: list[_Parsed]) -> Records:
    """The records of pages that were parsed with the same types."""
    lists = pa.concat_arrays([some.lists for some in parsed])
    numbers = pl.concat([some.pages for some in parsed])
    page, position = _places(lists)
    records = lists.flatten()
    fields = pl.DataFrame({name: pl.from_arrow(records.field(name)) for name in types.record})
    arrays = {name: records.field(name) for name in ARRAYS}

    def items(name: str, wanted: pl.Series) -> ItemsSent:
        return _items(name, types.items[name], arrays[name], wanted)

    return Records(
        places=pl.DataFrame({"page": numbers.gather(page), "position": position}).with_columns(is_object=pl.lit(True)),
        sent=sent_values(fields.select(_FIELDS), is_plain=True),
        unknown=_unknown(fields.drop(_FIELDS)),
        has_array=pl.DataFrame({name: pl.from_arrow(array.is_valid()) for name, array in arrays.items()}),
        items=items,
    )


def _items(name: str, types: Mapping[str, pa.DataType], arrays: pa.ListArray, wanted: pl.Series) -> ItemsSent:
    record, position = _places(arrays)
    items = arrays.flatten()
    values = [items] if ITEM in types else items.flatten()
    fields = pl.DataFrame({field: pl.from_arrow(column) for field, column in zip(types, values, strict=True)})
    places = pl.DataFrame({"record": record, "position": position})
    if not wanted.all():
        is_wanted = wanted.gather(record)
        places, fields = places.filter(is_wanted), fields.filter(is_wanted)
    known = [field for field in (*fields_of(name), ITEM) if field in types]
    # A blank text is no value.
    is_value = pl.col(pl.String).str.strip_chars(BLANKS) != ""
    return ItemsSent(
        places=places,
        sent=Sent(fields.select(known).with_columns(pl.when(is_value).then(pl.col(pl.String))), is_plain=True),
        unknown=_unknown(fields.drop(known)),
    )


def _places(lists: pa.ListArray) -> tuple[pl.Series, pl.Series]:
    """For each element of the lists: the number of its list, and its position in the list."""
    parents = pl.Series(pc.list_parent_indices(lists), dtype=pl.UInt32)
    starts = pl.Series(lists.offsets).cast(pl.Int64) - lists.offsets[0].as_py()
    elements = pl.int_range(len(parents), dtype=pl.Int64, eager=True)
    return parents, (elements - starts.gather(parents)).cast(pl.Int32)


def _unknown(fields: pl.DataFrame) -> pl.DataFrame:
    found = [_ENTRIES.to_frame()]
    for values in fields:
        rows = values.is_not_null().arg_true()
        entries = pl.DataFrame({"row": rows, "value": as_json(values.gather(rows))}).with_columns(
            name=pl.lit(values.name)
        )
        found.append(entries.select(_ENTRIES.names()))
    return pl.concat(found)
