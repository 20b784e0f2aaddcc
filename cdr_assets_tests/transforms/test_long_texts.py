"""Very long texts are processed separately from all others. The result must be the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.domain.schema import CHILDREN, VENDOR_COLUMNS
from cdr_assets.transforms import Tables, bodies, long_texts, read_pages
from cdr_assets_tests.transforms.test_read_pages import ZONE, call, only, pages, read, with_bodies

# The longest word with a special meaning is `undefined`; long texts must be longer.
_LONG = 10


@contextmanager
def long_from(size: int) -> Iterator[None]:
    """Makes texts count as long from this many bytes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "LARGE", size)
        patch.setattr(long_texts, "LONG", size)
        yield


# Some step could take each of these for more than a text, because of its start, its end or its spelling.
_TEXTS = st.one_of(
    st.text(max_size=24),
    st.sampled_from(
        [
            "a text that is", "şçğ\U0001f600 text", 'a "text" that is', "a\ntext that is", "\\u0041 text that is",
            "a\x0btext\x1fthat is", " a text that is ", "\xa0a text that is", " " * 12, " " * 12 + "12",
            '{"a": "a text"}', '[1, 2, "a text"]', "[a text that is", "1" * 20, "12.5" + "0" * 20,
            "2026-03-02 05:10:00.0000000", "00:00:30.000000", "2026-03-02T02:30:00Z", "2026-03-02 05:20:00",
            "\ue0c5" + "0" * 64, "/a/b/c/d/e/f/g",
        ]
    ),
)  # fmt: skip
_VALUES = st.recursive(
    _TEXTS | st.none() | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_NAMES = [*(column.name for column in VENDOR_COLUMNS), *CHILDREN, "new", "a name"]
_RECORDS = st.fixed_dictionaries(
    {"key": _TEXTS, "calldate": st.just("2026-03-02 05:20:00") | _TEXTS},
    optional=dict.fromkeys([name for name in _NAMES if name not in ("key", "calldate")], _VALUES),
)


def contents(tables: Tables) -> dict[str, Any]:
    """The contents of all tables. Hashes are replaced: only which ones are equal counts."""
    hashes = tables.calls["content_hash"].str.split(".").explode().to_list()
    frames = {name: frame.drop("content_hash", strict=False).to_dicts() for name, frame in vars(tables).items()}
    return frames | {"hashes": [hashes.index(part) for part in hashes]}


_pages = given(st.lists(_RECORDS | _VALUES, max_size=6), st.booleans())


@settings(max_examples=10, deadline=None, derandomize=True)
@_pages
def test_what_is_read_of_long_texts_is_what_is_read_of_others(records: list[Any], is_escaped: bool) -> None:
    assert_read_alike(records, is_escaped)


@pytest.mark.campaign
@settings(max_examples=300, deadline=None, derandomize=True)
@_pages
def test_what_is_read_of_long_texts_is_what_is_read_of_others_for_long(records: list[Any], is_escaped: bool) -> None:
    assert_read_alike(records, is_escaped)


def assert_read_alike(records: list[Any], is_escaped: bool) -> None:
    body = json.dumps({"CallList": records, "cursor": None}, ensure_ascii=is_escaped)
    sent = with_bodies(pages([], []), [body, '{"CallList":[]}'])
    plain = contents(read_pages(sent, ZONE))
    with long_from(_LONG):
        assert contents(read_pages(sent, ZONE)) == plain


@pytest.mark.parametrize("spelled", ['"a\\ttext that is"', '"a\\u0009text that is"', '"\\u0061\\ttext that is"'])
def test_a_long_text_is_the_same_content_however_it_is_spelled(spelled: str) -> None:
    body = json.dumps({"CallList": [call(queue="?", new=["?"])]}).replace('"?"', spelled)
    with long_from(_LONG):
        row = only(read_pages(with_bodies(pages([]), [body]), ZONE))
        same = only(read(call(queue="a\ttext that is", new=["a\ttext that is"])))
        other = only(read(call(queue="a\ttext that is", new=["a\ttext that was"])))
    assert row == same
    assert row["content_hash"] != other["content_hash"]


def test_long_texts_are_taken_out_where_they_are_texts_alone() -> None:
    """Otherwise the tests above would compare the same processing with itself."""
    sent = ["a text that is", "[a text that is]", "12345678901"]
    taken: dict[bytes, memoryview] = {}
    with long_from(_LONG):
        body = long_texts.take_out(pa.py_buffer(json.dumps({"a name that is": sent}).encode()), taken)
    assert [bytes(text) for text in taken.values()] == [b'"a text that is"']
    assert json.loads(bytes(body)) == {"a name that is": [next(iter(taken)).decode(), *sent[1:]]}


def test_what_a_record_lacks_is_no_copy_of_what_another_has() -> None:
    calls = [call(key="first", made_up="x" * 10_000, duration="y" * 10_000), *(call(key=str(n)) for n in range(999))]
    tables = read(*calls)
    assert max(frame.to_arrow().nbytes for frame in vars(tables).values()) < 1_000_000
