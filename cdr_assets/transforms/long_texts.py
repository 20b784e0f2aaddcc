"""Texts as long as pages: taken out of a page before it is taken apart, and put back into its tables.

On the way from page to tables, DuckDB and polars hold a dozen copies of each value. A name of a hundred bytes goes that
way in the place of each such text: the same for the same text, however it was spelled, so that content hashes know one
text from another.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate

import msgspec
import polars as pl
import pyarrow as pa

#: Bytes. No field of a call that is a call is as long as ten pages.
LONG = 1 << 20

# Begins the names: of private use, so that no text has it by chance. A page that has it, in either of the spellings
# that JSON knows, is read as it is.
_MARK = "\ue0c5".encode()
_IS_MARKED = re.compile(rb"%b|\\u[eE]0[cC]5" % _MARK)
_STRING_NAME = re.compile(rb'"(%b[0-9a-f]{64})"' % _MARK)

# A string of a JSON text, and whether it is the name of a member.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*:)?', re.DOTALL)

# A text of these characters alone may be a number or a date, with as many digits as it likes.
_NO_NUMBER = re.compile(rb"[^0-9.,:+\-eETtZz\s]")
# Should have been escaped: `records` does it.
_CONTROL = re.compile(rb"[\x00-\x1f]")
# DuckDB spells these in its own way.
_UNUSUAL = re.compile(rb"[\x0b\x0e\x0f\x1a-\x1f]")


def buffers(series: pl.Series) -> Iterator[pa.Buffer | None]:
    """The values of a series of texts or bytes as they lie there; Python's own would be two copies."""
    for value in series.to_arrow(compat_level=pl.CompatLevel.newest()):
        yield value.as_buffer()


def take_out(body: pa.Buffer, texts: dict[bytes, memoryview]) -> pa.Buffer:
    """The page with names in place of its long texts, which are added to `texts` as JSON."""
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
            # Half a surrogate pair, say: `records` mends it.
            continue
        if _CONTROL.search(sent) or not _is_only_text(text):
            continue
        name = _MARK + sha256(text).hexdigest().encode()
        # As DuckDB spells it.
        texts[name] = sent if _is_plain(sent) else memoryview(msgspec.json.encode(str(text, "utf-8")))
        pieces += [whole[done : start + 1], name]
        done = end - 1
    return pa.py_buffer(b"".join([*pieces, whole[done:]])) if pieces else body


def put_back(frame: pl.DataFrame, texts: Mapping[bytes, memoryview]) -> pl.DataFrame:
    """The frame with the texts in place of their names, in columns of text and of JSON."""

    for column in frame.select(pl.col(pl.String)) if texts else ():
        if column.str.contains(_MARK.decode(), literal=True).any():
            values = [None if value is None else _told(value, texts) for value in column.cast(pl.Binary)]
            frame = frame.with_columns(_joined(values).alias(column.name))
    return frame


def _told(value: bytes, texts: Mapping[bytes, memoryview]) -> list[bytes | memoryview]:
    if value in texts:
        # In a column of text, a name is all there is.
        return [_text(texts[value])]
    return [texts.get(piece, piece) for piece in _STRING_NAME.split(value)]


def _joined(values: Sequence[Sequence[bytes | memoryview] | None]) -> pl.Series:
    """A text of the pieces of each value, which are copied once: Arrow's own way has three copies at a time."""
    lengths = (sum(map(len, pieces or ())) for pieces in values)
    offsets = pa.array(accumulate(lengths, initial=0), pa.int64())
    is_there = pa.array([pieces is not None for pieces in values], pa.bool_())
    data = pa.py_buffer(b"".join(piece for pieces in values for piece in pieces or ()))
    buffers = [is_there.buffers()[1], offsets.buffers()[1], data]
    return pl.Series(pa.Array.from_buffers(pa.large_binary(), len(values), buffers)).cast(pl.String)


def _is_plain(json: memoryview) -> bool:
    return re.search(rb"\\", json) is None


def _text(json: memoryview) -> memoryview | bytes:
    """The text of a JSON string, in UTF-8. Raises ValueError where it is none."""
    return json[1:-1] if _is_plain(json) else msgspec.json.decode(json, type=str).encode()


def _is_only_text(text: memoryview | bytes) -> bool:
    """Whether it is long, and cannot be read as anything else: a number, a date, an array, a key with blanks around."""
    first, last = (str(end, "utf-8", "ignore") for end in (text[:4], text[-4:]))
    return (
        len(text) > LONG
        and not first[:1].isspace()
        and not last[-1:].isspace()
        and not first.startswith("[")
        and _NO_NUMBER.search(text) is not None
        and _UNUSUAL.search(text) is None
    )
