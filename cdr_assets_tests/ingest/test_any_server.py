"""Whatever the vendor's documentation allows a server to do, and in whatever order hours are loaded: every call, field
and
item in the warehouse equals what the API listed, and `cdr.loads` balances."""

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.alotech import AlotechClient
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.alotech.server import TOKEN, Action, Answer, ScriptedServer
from cdr_assets_tests.alotech.tenant import ENDINGS, FAULTS, Tenant
from cdr_assets_tests.conftest import HOUR, record
from cdr_assets_tests.ingest.ingestion import assert_loads_balance, fetch, hours_from, load, reload, stored_calls

ZONE = "Europe/Istanbul"
HOURS = hours_from(HOUR, HOUR + dt.timedelta(hours=3), ZONE)
LENGTH = 3 * 3600

Record = dict[str, Any]

#: Ways in which a call may differ from an answered call with the usual values.
VARIETIES: list[Record] = [
    {},
    {"answered": False, "abandon": True, "talkdate": None, "agent": None, "call_history": [], "csat_answers": []},
    {"hangupdate": None, "duration": None, "csat_answers": None, "call_tags": None},
    {"queue": "İşlem\tAğı\nşubesi", "call_tags": ["öneri\r\n", "", None, 7, {"tag": "ğ", "by": {"n": 1}}]},
    {"duration": "90", "hold": 1.0, "answered": "yes", "transferred": "2", "hangupdate": "2026-03-02T09:10:11.5"},
    {"duration": "long", "waitduration": 7.5, "sentiment": {"score": -0.25}, "language": "tr"},
    {
        "call_history": '[{"event":"enter"},{"type":"hangup","time":"2026-03-02 05:00:00"}]',
        "csat_answers": {"score": 3},
    },
    {
        "agent": "",
        "queue": " ",
        "recordingurl": "https://records.example/1?signature=abc",
        "uniqueid": 12345678901234567,
    },
]


def raw(body: bytes) -> bytes:
    """JSON with unescaped line breaks and tabs in texts, which the standard forbids."""
    return body.replace(rb"\n", b"\n").replace(rb"\r", b"\r").replace(rb"\t", b"\t")


def in_windows_1254(body: bytes) -> bytes:
    letters = {rf"\u{ord(letter):04x}".encode(): letter.encode("cp1254") for letter in "İıĞğŞşÖöÜüÇç"}
    for escaped, letter in letters.items():
        body = body.replace(escaped, letter)
    return body


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "escaped": bytes,
    "utf-8": lambda body: in_windows_1254(body).decode("cp1254").encode(),
    "windows-1254": in_windows_1254,
    "byte order mark": b"\xef\xbb\xbf".__add__,
    "raw": raw,
}


@dataclass
class Step:
    """Changes to calls (by number: the new version, or None if removed), then the hours that one run loads, in
    order."""

    changes: Mapping[int, Record | None]
    hours: Sequence[int]
    faults: Sequence[int | None]
    sorting: str


seconds = st.integers(-5, LENGTH + 5) | st.sampled_from([n * 3600 + m for n in range(4) for m in (-1, 0)])
versions = st.builds(
    lambda second, variety: record("", HOUR + dt.timedelta(seconds=second)) | variety,
    seconds,
    st.sampled_from(VARIETIES),
)
steps = st.builds(
    Step,
    # Often the same few calls, so that they change, move and vanish between loads; sometimes many, to fill many pages.
    changes=st.dictionaries(st.integers(0, 3), versions | versions | st.none(), min_size=1)
    | st.dictionaries(st.integers(0, 24), versions, max_size=25),
    hours=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    faults=st.just([]) | st.lists(st.none() | st.none() | st.integers(0, len(FAULTS) - 1), max_size=20),
    sorting=st.sampled_from(["asc", "desc"]),
)
tenants = st.builds(
    Tenant,
    calls=st.just([]),
    page_size=st.integers(1, 7) | st.integers(8, 100),
    bounds=st.tuples(st.booleans(), st.booleans()),
    ending=st.sampled_from(ENDINGS),
    gaps=st.integers(0, 1),
    is_sorted=st.booleans(),
    repeats=st.integers(0, 2),
    earlier=st.sampled_from([dict, lambda call: call | {"hangupdate": None, "duration": 1, "call_tags": []}]),
)


def assert_the_warehouse_follows(
    server: ScriptedServer, connection: duckdb.DuckDBPyConnection, tenant: Tenant, story: Sequence[Step]
) -> None:
    calls: dict[int, Record] = {}
    right = reload({}, [], [], ZONE)
    for number, step in enumerate(story):
        calls |= {n: call | {"key": f"k{n}"} for n, call in step.changes.items() if call is not None}
        calls = {n: call for n, call in calls.items() if step.changes.get(n, call) is not None}
        # In any order, for servers that do not sort.
        tenant.calls = sorted(calls.values(), key=lambda call: str(call["key"])[::-1])
        tenant.faults = list(step.faults)
        with AlotechClient(server.url, TOKEN, requests_per_second=0, sleep=lambda _: None) as client:
            fetched = fetch(client, [HOURS[n] for n in step.hours], step.sorting)
        # Only many faults may fail an hour: a page is tried five times, a chain is begun three times.
        assert len(fetched.failed) <= sum(fault is not None for fault in step.faults) / 3
        load(connection, fetched, ZONE, f"run {number}")
        right = reload(right, tenant.calls, fetched.pages, ZONE)
        assert stored_calls(connection) == right
        assert_loads_balance(connection)
        failed = "SELECT partition_hour, error FROM cdr.loads WHERE error IS NOT NULL AND run_id = ?"
        told = dict(connection.execute(failed, [f"run {number}"]).fetchall())
        assert told == {hour.start: line for hour, line in fetched.failed.items()}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def examples(number: int) -> Callable[[Any], Any]:
    """Runs the property with this many random servers and histories."""

    def decorate(test: Any) -> Any:
        spellings = st.sampled_from(list(SPELLINGS))
        story = st.lists(steps, min_size=2, max_size=6)
        given_all = given(tenant=tenants, spelling=spellings, story=story)(test)
        return settings(max_examples=number, deadline=None, derandomize=True)(given_all)

    return decorate


def check(server: ScriptedServer, tenant: Tenant, spelling: str, story: Sequence[Step]) -> None:
    def script(asked: dict[str, str]) -> Action:
        action = tenant.answer(asked)
        return replace(action, body=SPELLINGS[spelling](action.body)) if isinstance(action, Answer) else action

    server.script = script
    with (
        tempfile.TemporaryDirectory() as folder,
        Warehouse(Path(folder) / "cdr.duckdb").connect("test") as connection,
    ):
        assert_the_warehouse_follows(server, connection, tenant, story)


@examples(5)
def test_the_warehouse_follows_any_server(
    server: ScriptedServer, tenant: Tenant, spelling: str, story: list[Step]
) -> None:
    check(server, tenant, spelling, story)


@pytest.mark.campaign
@examples(200)
def test_the_warehouse_follows_any_server_for_long(
    server: ScriptedServer, tenant: Tenant, spelling: str, story: list[Step]
) -> None:
    check(server, tenant, spelling, story)
