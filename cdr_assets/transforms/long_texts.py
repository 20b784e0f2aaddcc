"""Replaces very long texts in a page by short names before parsing, and puts them back into the tables afterwards.

Between page and tables, DuckDB and polars hold a dozen copies of each value. With a name of a hundred bytes in place of
each long text, they copy only the name. Equal texts get equal names, however the JSON spells them, so that content
hashes still tell texts apart. Everything else about a page's JSON is in `records`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate

import msgspec
import polars as pl
import pyarrow as pa

#: Bytes. A text that is longer is replaced. Usual fields are far shorter: even ten whole pages are about this long.
LONG = 1 << 20

# First character of each name: a private-use character, which no text contains by chance. In a page that contains it,
# as itself or as an escape, nothing is replaced.
_MARK = "\ue0c5".encode()
_IS_MARKED = re.compile(rb"%b|\\u[eE]0[cC]5" % _MARK)
_STRING_NAME = re.compile(rb'"(%b[0-9a-f]{64})"' % _MARK)

# A JSON string; the group matches if it is the name of a member.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*:)?', re.DOTALL)

# A text without any such character may be a number or a date, however long it is.
_NO_NUMBER = re.compile(rb"[^0-9.,:+\-eETtZz\s]")
# Control characters must be escaped in JSON; `records` escapes them.
_CONTROL = re.compile(rb"[\x00-\x1f]")
# DuckDB escapes these characters in its own way.
_UNUSUAL = re.compile(rb"[\x0b\x0e\x0f\x1a-\x1f]")


def buffers(series: pl.Series) -> Iterator[pa.Buffer | None]:
    """The values of a series of texts or bytes, without copying them. Python's own objects would be two copies."""
    for value in series.to_arrow(compat_level=pl.CompatLevel.newest()):
        yield value.as_buffer()


def take_out(body: pa.Buffer, texts: dict[bytes, memoryview]) -> pa.Buffer:
    """The page with names in place of its long texts. Adds the texts to `texts`: name to JSON string."""
    if _IS_MARKED.search(body):
        return body
    whole = memoryview(body)
    pieces: list[bytes | memoryview] = []
    done = 0
    for string in _STRING.finditer(body):
        start, end = string.span()
        if end - start <= LONG or string[1] is not None:
            continue
        sent = whole[start:end]
        try:
            text = _text(sent)
        except ValueError:
            # For example half a surrogate pair, which `records` repairs.
            continue
        if _CONTROL.search(sent) or not _is_only_text(text):
            continue
        name = _MARK + sha256(text).hexdigest().encode()
        # Spelled as DuckDB would spell it.
        texts[name] = sent if _is_plain(sent) else memoryview(msgspec.json.encode(str(text, "utf-8")))
        pieces += [whole[done : start + 1], name]
        done = end - 1
    return pa.py_buffer(b"".join([*pieces, whole[done:]])) if pieces else body


def put_back(frame: pl.DataFrame, texts: Mapping[bytes, memoryview]) -> pl.DataFrame:
    """The frame with the texts in place of their names, in text and JSON columns."""
    for column in frame.select(pl.col(pl.String)) if texts else ():
        if column.str.contains(_MARK.decode(), literal=True).any():
            values = [None if value is None else _told(value, texts) for value in column.cast(pl.Binary)]
            frame = frame.with_columns(joined(values).alias(column.name))
    return frame


def _told(value: bytes, texts: Mapping[bytes, memoryview]) -> list[bytes | memoryview]:
    if value in texts:
        # The value is the name alone: it is a text column, not JSON.
        return [_text(texts[value])]
    return [texts.get(piece, piece) for piece in _STRING_NAME.split(value)]


def joined(values: Sequence[Sequence[bytes | memoryview] | None]) -> pl.Series:
    """A series of texts: joins the pieces of each value.

    This copies them once. Arrow's own conversion holds three copies at a time, and never frees a memoryview.
    """
    lengths = (sum(map(len, pieces or ())) for pieces in values)
    offsets = pa.array(accumulate(lengths, initial=0), pa.int64())
    is_there = pa.array([pieces is not None for pieces in values], pa.bool_())
    data = pa.py_buffer(b"".join(piece for pieces in values for piece in pieces or ()))
    buffers = [is_there.buffers()[1], offsets.buffers()[1], data]
    return pl.Series(pa.Array.from_buffers(pa.large_binary(), len(values), buffers)).cast(pl.String)


def _is_plain(json: memoryview) -> bool:
    return re.search(rb"\\", json) is None


def _text(json: memoryview) -> memoryview | bytes:
    """The text of a JSON string, in UTF-8. Raises ValueError if it is not valid."""
    return json[1:-1] if _is_plain(json) else msgspec.json.decode(json, type=str).encode()


def _is_only_text(text: memoryview | bytes) -> bool:
    """True if the text is long and nothing but text: no number, date or array, and without blanks around it."""
    first, last = (str(end, "utf-8", "ignore") for end in (text[:4], text[-4:]))
    return (
        len(text) > LONG
        and not first[:1].isspace()
        and not last[-1:].isspace()
        and not first.startswith("[")
        and _NO_NUMBER.search(text) is not None
        and _UNUSUAL.search(text) is None
    )
