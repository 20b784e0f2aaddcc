"""Every fault over a real socket: what it does, where and how often, and that a patient client gets all calls."""

import datetime as dt
import email.utils
import gzip
import http.client
import math
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_assets.sandbox import FAULTS, Fault, ListedCalls, Sandbox, fault_of
from cdr_assets.sandbox.faults import PASSING
from cdr_assets_tests.sandbox.conftest import TOKEN

HOUR = {"startdate": "2026-03-02 10:00:00", "finishdate": "2026-03-02 10:59:59", "sorting": "asc"}
ARRAYS = dict.fromkeys(("include_call_history", "include_csat", "include_call_tags"), "true")
TEN = dt.datetime(2026, 3, 2, 10)

Record = dict[str, Any]


def call(n: int, second: int | None = None) -> Record:
    """The n-th call. Calls are 50 s apart by default."""
    start = TEN + dt.timedelta(seconds=50 * n if second is None else second)
    end = start + dt.timedelta(seconds=95)
    return {
        "key": f"k{n}",
        "calldate": str(start),
        "talkdate": str(start + dt.timedelta(seconds=12)),
        "hangupdate": str(end),
        "answered": True,
        "abandon": False,
        "duration": 95,
        "agent": None,
        "queue": "Müşteri Hizmetleri İşlem",
        "transferred": 0,
        "call_history": [{"event": "hangup", "date": str(end)}],
        "csat_answers": [{"score": 4, "scale": 5}],
        "call_tags": ["şikâyet", "öneri"],
    }


CALLS = [call(n) for n in range(50)]
ONE_PAGE = CALLS[:5]


def get(sandbox: Sandbox, timeout: float = 10, **parameters: str) -> requests.Response:
    """Sends one request on a new connection. A test that expects no answer sets a short timeout."""
    asked = {"function": "reportsCDRLogs", "app_token": TOKEN} | HOUR | ARRAYS | parameters
    return requests.get(sandbox.base_url, params=asked, timeout=timeout)


def served(*fault: str | Fault, calls: Iterable[Record] = ONE_PAGE, **rules: Any) -> Sandbox:
    return Sandbox(ListedCalls(calls), fault=fault, **rules)


# -- the register


def test_every_fault_is_described() -> None:
    assert len(FAULTS) == len(set(FAULTS.values())) >= 45
    for name, description in FAULTS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert "The client should" in description, name
        assert fault_of(name).passes == (name in PASSING)


@pytest.mark.parametrize("name", ["", "no-such-fault", "reset@", "500@somewhere", "500@"])
def test_unknown_faults_and_places_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Sandbox(ListedCalls(), fault=name)


# -- the wire


@pytest.mark.parametrize(
    ("name", "status"),
    [(name, int(name[:3])) for name in FAULTS if re.match(r"\d{3}", name) and name != "429-tomorrow"],
)
def test_statuses(name: str, status: int) -> None:
    with served(name) as sandbox:
        answer = get(sandbox)
        assert answer.status_code == status
        assert "<html>" in answer.text
        wait = answer.headers.get("Retry-After")
        if name.endswith("seconds"):
            assert wait == "1"
        elif name.endswith("date"):
            assert wait is not None
            until = email.utils.parsedate_to_datetime(wait)
            assert 0 < (until - dt.datetime.now(dt.UTC)).total_seconds() <= 2
        else:
            assert wait is None
        assert get(sandbox).json()["CallList"] == ONE_PAGE


def test_a_retry_after_of_a_day_does_not_pass() -> None:
    with served("429-tomorrow") as sandbox:
        for _ in range(3):
            answer = get(sandbox)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "86400")


@pytest.mark.parametrize("name", ["timeout", "stall", "reset", "reset-in-body", "cut-body"])
def test_connections_that_fail(name: str) -> None:
    with served(name) as sandbox:
        with pytest.raises(requests.exceptions.RequestException) as failed:
            get(sandbox, timeout=0.5 if name in ("timeout", "stall") else 10)
        assert ("timed out" in str(failed.value)) == (name in ("timeout", "stall"))
        assert get(sandbox).json()["CallList"] == ONE_PAGE


def raw_answer(sandbox: Sandbox) -> bytes:
    """All bytes of an answer until the connection ends. Raises ConnectionResetError at a reset, TimeoutError if nothing
    more comes."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=0.3) as connection:
        target = f"/api/?function=reportsCDRLogs&app_token={TOKEN}&" + "&".join(
            f"{name}={value.replace(' ', '+')}" for name, value in HOUR.items()
        )
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: sandbox\r\n\r\n".encode())
        received = bytearray()
        try:
            while some := connection.recv(65536):
                received += some
        except (TimeoutError, ConnectionResetError) as error:
            error.args = (bytes(received),)
            raise
        return bytes(received)


def test_what_failing_connections_carry() -> None:
    with served("timeout") as sandbox:
        with pytest.raises(TimeoutError) as silent:
            raw_answer(sandbox)
        assert silent.value.args == (b"",)
    with served("stall") as sandbox:
        with pytest.raises(TimeoutError) as stalled:
            raw_answer(sandbox)
        head, _, body = stalled.value.args[0].partition(b"\r\n\r\n")
        assert body.startswith(b'{"CallList"')
        assert len(body) < int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
    with served("reset") as sandbox:
        with pytest.raises(ConnectionResetError) as reset:
            raw_answer(sandbox)
        assert reset.value.args == (b"",)
    with served("reset-in-body") as sandbox, pytest.raises(ConnectionResetError):
        raw_answer(sandbox)
    with served("cut-body") as sandbox:
        head, _, body = raw_answer(sandbox).partition(b"\r\n\r\n")
        assert 0 < len(body) < int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]


def test_drip_never_pauses_for_long_and_never_ends_soon() -> None:
    with served("drip") as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=0.5)
        query = f"/api/?function=reportsCDRLogs&app_token={TOKEN}&callkey=k1"
        connection.request("GET", query)
        answer = connection.getresponse()
        assert answer.read(6) == b'{"Call'
        connection.close()
        connection.request("GET", query)
        assert len(connection.getresponse().read()) > 100
        connection.close()


@pytest.mark.parametrize("name", ["cut-json", "empty-body", "html"])
def test_bodies_that_are_no_json(name: str) -> None:
    with served(name) as sandbox:
        answer = get(sandbox)
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()
        assert get(sandbox).json()["CallList"] == ONE_PAGE


def test_held_connections_end_with_the_sandbox() -> None:
    with Sandbox(ListedCalls(ONE_PAGE), fault="timeout") as sandbox:
        held = socket.create_connection(("127.0.0.1", sandbox.port), timeout=5)
        held.sendall(f"GET /api/?function=reportsCDRLogs&callkey=k1&app_token={TOKEN} HTTP/1.1\r\n\r\n".encode())
        while sandbox.requests == 0:
            time.sleep(0.01)
    assert held.recv(1) == b""
    held.close()


# -- place, times, share, order


@pytest.mark.parametrize(
    ("place", "failures"),
    [("first", [1, 0, 0, 0]), ("middle", [0, 1, 1, 0]), ("last", [0, 0, 0, 1]), ("any", [1, 1, 1, 1])],
)
def test_faults_hit_a_place_in_the_chain(place: str, failures: list[int]) -> None:
    with served(f"500@{place}", calls=CALLS[:16], page_size=4) as sandbox:
        cursor, failed = "", []
        for _ in range(4):
            answer = get(sandbox, cursor=cursor)
            failed.append(int(answer.status_code == 500))
            cursor = (get(sandbox, cursor=cursor) if failed[-1] else answer).json()["cursor"]
    assert failed == failures
    assert cursor is None


def test_faults_hit_each_request_as_often_as_said() -> None:
    with served(fault_of("500", times=2)) as sandbox:
        assert [get(sandbox).status_code for _ in range(4)] == [500, 500, 200, 200]
        assert [get(sandbox, queue="Q").status_code for _ in range(3)] == [500, 500, 200]
    with served(fault_of("500", times=math.inf)) as sandbox:
        assert {get(sandbox).status_code for _ in range(6)} == {500}


def test_of_several_faults_one_hits_at_a_time() -> None:
    with served("503", "html", "429") as sandbox:
        met = [get(sandbox) for _ in range(4)]
    assert [answer.status_code for answer in met] == [503, 200, 429, 200]
    assert "<html>" in met[1].text
    assert met[3].json()["CallList"] == ONE_PAGE


def test_a_share_of_the_requests_is_hit_by_the_seed() -> None:
    def hit(seed: int) -> list[bool]:
        with served(fault_of("500", share=0.3, seed=seed)) as sandbox:
            return [get(sandbox, queue=f"Q{n}").status_code == 500 for n in range(60)]

    assert hit(1) == hit(1)
    assert hit(1) != hit(2)
    assert 5 < sum(hit(1)) < 35


def test_faults_leave_ping_and_refusals_alone() -> None:
    with served("500") as sandbox:
        assert get(sandbox, function="ping").json()["success"] is True
        assert get(sandbox, app_token="wrong").json()["success"] is False
        assert get(sandbox, startdate="rubbish").json()["success"] is False


# -- refusals


@pytest.mark.parametrize(
    ("name", "told"), [("refused-token", "app_token"), ("refused-date", "startdate"), ("echoed-token", TOKEN)]
)
def test_refusals_that_stay(name: str, told: str) -> None:
    with served(name) as sandbox:
        for _ in range(3):
            answer = get(sandbox)
            assert answer.status_code == 200
            assert answer.json()["success"] is False
            assert told in answer.json()["message"]


def test_a_refusal_that_passes() -> None:
    with served("passing-error") as sandbox:
        assert get(sandbox).json()["success"] is False
        assert get(sandbox).json()["CallList"] == ONE_PAGE


def test_an_expired_cursor_stays_expired_and_a_new_chain_is_good() -> None:
    with served("expired-cursor", calls=CALLS[:10], page_size=4) as sandbox:
        cursor = get(sandbox).json()["cursor"]
        for _ in range(3):
            answer = get(sandbox, cursor=cursor).json()
            assert answer == {"success": False, "message": "cursor has expired"}
        assert keys(chain_of(sandbox)) == [f"k{n}" for n in range(10)]
        assert get(sandbox, cursor=cursor).json()["success"] is False


def test_a_cursor_that_expires_at_the_last_page() -> None:
    with served("expired-cursor@last", calls=CALLS[:10], page_size=4) as sandbox:
        second = get(sandbox, cursor=get(sandbox).json()["cursor"]).json()
        assert keys(second["CallList"]) == ["k4", "k5", "k6", "k7"]
        assert get(sandbox, cursor=second["cursor"]).json()["message"] == "cursor has expired"


def test_cursors_that_live_for_two_pages() -> None:
    with served("short-lived-cursors", calls=CALLS[:10], page_size=3) as sandbox:
        second = get(sandbox, cursor=get(sandbox).json()["cursor"]).json()
        assert keys(second["CallList"]) == ["k3", "k4", "k5"]
        for _ in range(2):
            assert get(sandbox, cursor=second["cursor"]).json()["message"] == "cursor has expired"


# -- the chain


def chain_of(sandbox: Sandbox, limit: int = 40) -> list[Any]:
    """The records of a whole chain in which every page is answered well."""
    return [record for page in pages_of(sandbox, limit) for record in page]


def pages_of(sandbox: Sandbox, limit: int = 40) -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor = ""
    for _ in range(limit):
        page = get(sandbox, cursor=cursor).json()
        pages.append(page["CallList"])
        cursor = page.get("cursor")
        if not cursor:
            break
    return pages


def keys(records: Iterable[Any]) -> list[Any]:
    return [record.get("key") if isinstance(record, dict) else record for record in records]


def test_the_same_cursor_again() -> None:
    with served("same-cursor", calls=CALLS[:10], page_size=4) as sandbox:
        cursor = get(sandbox).json()["cursor"]
        for _ in range(3):
            page = get(sandbox, cursor=cursor).json()
            assert page["cursor"] == cursor
            assert keys(page["CallList"]) == ["k4", "k5", "k6", "k7"]


@pytest.mark.parametrize("place", ["", "@last"])
@pytest.mark.parametrize(("name", "again"), [("endless-chain", True), ("endless-empty-pages", False)])
def test_chains_without_an_end(name: str, again: bool, place: str) -> None:
    with served(name + place, calls=CALLS[:10], page_size=4) as sandbox:
        cursor, cursors, listed = "", set(), []
        for _ in range(20):
            page = get(sandbox, cursor=cursor).json()
            cursor = page["cursor"]
            cursors.add(cursor)
            listed.append(keys(page["CallList"]))
    assert len(cursors) == 20
    assert "" not in cursors
    rounds = [["k0", "k1", "k2", "k3"], ["k4", "k5", "k6", "k7"], ["k8", "k9"]]
    assert listed == (rounds * 7)[:20] if again else rounds + [[]] * 17


@pytest.mark.parametrize(
    ("place", "sizes"), [("any", [0, 4, 0, 4, 0, 2]), ("first", [0, 4, 4, 2]), ("middle", [4, 0, 4, 2])]
)
def test_an_empty_page_with_a_cursor(place: str, sizes: list[int]) -> None:
    with served(f"empty-page@{place}", calls=CALLS[:10], page_size=4) as sandbox:
        pages = pages_of(sandbox)
    assert [len(page) for page in pages] == sizes
    assert keys(record for page in pages for record in page) == [f"k{n}" for n in range(10)]


def test_a_cursor_with_the_last_page() -> None:
    with served("last-cursor", calls=CALLS[:10], page_size=4) as sandbox:
        assert [len(page) for page in pages_of(sandbox)] == [4, 4, 2, 0]


def test_ties_lie_across_the_borders_of_pages() -> None:
    with served("ties", calls=CALLS, page_size=4) as sandbox:
        records = chain_of(sandbox)
        (single,) = get(sandbox, callkey="k7").json()["CallList"]
        quarter = get(sandbox, startdate="2026-03-02 10:14:30", finishdate="2026-03-02 10:15:00").json()
    assert sorted(keys(records)) == sorted(keys(CALLS))
    assert {record["calldate"][11:] for record in records} == {"10:00:00", "10:15:00", "10:30:00"}
    assert len(quarter["CallList"]) == 4
    assert single in records
    for record in records:
        length = dt.datetime.fromisoformat(record["hangupdate"]) - dt.datetime.fromisoformat(record["calldate"])
        assert record["duration"] == length.total_seconds()


@pytest.mark.parametrize("name", ["repeated-key", "repeated-key-changed"])
def test_calls_that_come_twice(name: str) -> None:
    with served(name, calls=CALLS[:10], page_size=5) as sandbox:
        pages = pages_of(sandbox)
    assert max(map(len, pages)) <= 5
    records = [record for page in pages for record in page]
    times = Counter(keys(records))
    assert times.keys() == set(keys(CALLS[:10]))
    assert max(times.values()) > 1
    # With one page and with two.
    assert any(len(set(keys(page))) < len(page) for page in pages)
    assert any(set(keys(page)) & set(keys(following)) for page, following in pairwise(pages))
    assert {record["key"]: record for record in records} == {record["key"]: record for record in CALLS[:10]}
    different = [record for record in records if record not in CALLS]
    assert bool(different) == (name == "repeated-key-changed")


@pytest.mark.parametrize("days", [0, 20])
def test_records_outside_the_window(days: int) -> None:
    start, finish = f"{TEN - dt.timedelta(days=days)}", f"{TEN + dt.timedelta(minutes=59)}"
    with served("outside-window", calls=CALLS[:10], page_size=5) as sandbox:
        page = get(sandbox, startdate=start, finishdate=finish).json()
    dates = [record["calldate"] for record in page["CallList"]]
    assert dates[0] < start
    assert dates[-1] > finish
    assert page["CallList"][1:-1] == CALLS[:3]
    assert len(set(keys(page["CallList"]))) == 5


# -- the body


def test_gzip_only_where_it_is_accepted() -> None:
    with served("gzip") as sandbox:
        for accepted, encoding in (("gzip, deflate", "gzip"), ("identity", None)):
            connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
            query = f"/api/?function=reportsCDRLogs&app_token={TOKEN}&callkey=k1"
            connection.request("GET", query, headers={"Accept-Encoding": accepted})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert answer.getheader("Content-Encoding") == encoding
            assert (gzip.decompress(body) if encoding else body).startswith(b'{"CallList":[{"key":"k1"')


def test_a_page_of_five_megabytes() -> None:
    with served("big-page") as sandbox:
        answer = get(sandbox)
        assert 4_900_000 < len(answer.content) < 5_100_000
        assert answer.json()["CallList"] == ONE_PAGE


def test_wrong_character_sets() -> None:
    odd = call(0) | {"queue": "Ağ İşleri çÇ — 日 \U0001f600 ÿþ"}
    with served("charset-windows-1254", calls=[odd]) as sandbox:
        answer = get(sandbox)
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        with pytest.raises(UnicodeDecodeError):
            answer.content.decode()
        answer.encoding = "cp1254"
        assert answer.json()["CallList"] == [odd]
    with served("charset-latin-1", calls=[odd]) as sandbox:
        answer = get(sandbox)
        assert answer.headers["Content-Type"] == "application/json; charset=iso-8859-1"
        answer.encoding = "utf-8"
        assert answer.json()["CallList"] == [odd]
    with served("byte-order-mark", calls=[odd]) as sandbox:
        answer = get(sandbox)
        assert answer.content.startswith(b"\xef\xbb\xbf{")
        answer.encoding = "utf-8-sig"
        assert answer.json()["CallList"] == [odd]


# -- the records

TRUE, FALSE = [True, "true", "True", "TRUE", 1, "1", "yes"], [False, "false", "False", "FALSE", 0, "0", "no"]


def values(records: list[Record], name: str) -> Iterator[Any]:
    for record in records:
        for item in [record, *record["call_history"], *record["csat_answers"]]:
            if name in item:
                yield item[name]


def changed_by(fault: Fault) -> list[Record]:
    """The records served for CALLS. Checks that they equal the fault's `record()` and are the same in every answer."""
    with served(fault, calls=CALLS) as sandbox:
        first, second = chain_of(sandbox), chain_of(sandbox)
    expected = [fault.record(record) for record in CALLS]  # type: ignore[attr-defined]
    assert first == second == expected
    assert 10 < sum(a != b for a, b in zip(expected, CALLS, strict=True)) <= 50
    return expected


def spellings(found: Iterator[Any]) -> set[tuple[type, Any]]:
    return {(type(value), value) for value in found}


def test_numbers_in_every_spelling() -> None:
    records = changed_by(fault_of("spelled-numbers", share=1))
    for name, number in (("duration", 95), ("transferred", 0), ("score", 4)):
        expected = [number, float(number), str(number), f"{number}.0"]
        assert spellings(values(records, name)) == spellings(iter(expected))


def test_booleans_in_every_spelling() -> None:
    records = changed_by(fault_of("spelled-booleans", share=1))
    assert spellings(values(records, "answered")) == spellings(iter(TRUE))
    assert spellings(values(records, "abandon")) == spellings(iter(FALSE))


@pytest.mark.parametrize("name", ["spelled-dates", "zoned-dates"])
def test_dates_in_every_spelling(name: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    records = changed_by(fault_of(name, share=1, time_zone="Europe/Berlin"))
    forms: set[str] = set()
    for member in ("calldate", "hangupdate", "date"):
        meant = [dt.datetime.fromisoformat(value) for value in values(CALLS, member)]
        for value, moment in zip(values(records, member), meant, strict=True):
            read = dt.datetime.fromisoformat(value)
            assert read.astimezone(dt.UTC) == moment.replace(tzinfo=read.tzinfo and zone).astimezone(dt.UTC)
            forms.add(re.sub(r"\d+", "0", value))
    zoned = {"0-0-0 0:0:0", "0-0-0T0:0:0+0:0", "0-0-0 0:0:0+0", "0-0-0T0:0:0Z"}
    assert forms == (
        zoned if name == "zoned-dates" else {"0-0-0 0:0:0", "0-0-0T0:0:0", "0-0-0 0:0:0.0", "0-0-0T0:0:0.0"}
    )


def test_blanks_nulls_and_missing_fields() -> None:
    assert all(record["agent"] == "" for record in changed_by(fault_of("blanks", share=1)))
    nulls = changed_by(fault_of("nulls"))
    assert any(record["duration"] is None for record in nulls)
    assert all(set(record) == set(CALLS[0]) for record in nulls)
    missing = changed_by(fault_of("missing-fields"))
    assert any("duration" not in record for record in missing)
    for records in (nulls, missing):
        assert [(r["key"], r["calldate"]) for r in records] == [(r["key"], r["calldate"]) for r in CALLS]


def test_of_two_faults_of_records_the_second_spells_no_blank_of_the_first() -> None:
    blanks, dates = fault_of("blanks", share=1), fault_of("spelled-dates", share=1)
    with served(blanks, dates, calls=[call(n) | {"hangupdate": None} for n in range(20)]) as sandbox:
        assert {record["hangupdate"] for record in chain_of(sandbox)} == {""}


def test_new_fields() -> None:
    records = changed_by(fault_of("new-fields", share=1))
    for record, known in zip(records, CALLS, strict=True):
        new = {name: value for name, value in record.items() if name not in known}
        assert {type(value) for value in new.values()} == {float, str, bool, dict, list}
        assert record.items() >= {"key": known["key"], "calldate": known["calldate"]}.items()


def test_arrays_and_items_of_other_kinds() -> None:
    odd = changed_by(fault_of("odd-arrays", share=1))
    assert {type(record["call_tags"]) for record in odd} == {type(None), str, int, dict}
    items = changed_by(fault_of("odd-items", share=1))
    kinds = {type(item) for record in items for item in record["call_history"]}
    assert kinds == {str, int, type(None), list, dict}
    assert all(call["call_history"][0] in record["call_history"] for record, call in zip(items, CALLS, strict=True))


@pytest.mark.parametrize(("name", "added"), [("not-an-object", 4), ("no-key", 3), ("unreadable-calldate", 5)])
def test_records_that_cannot_be_loaded_come_besides_the_others(name: str, added: int) -> None:
    with served(name, calls=CALLS, page_size=20) as sandbox:
        pages, again = pages_of(sandbox), pages_of(sandbox)
    assert pages == again
    assert max(map(len, pages)) <= 20
    records = [record for page in pages for record in page]
    bad = [record for record in records if record not in CALLS]
    assert [record for record in records if record in CALLS] == CALLS
    assert len(bad) == added * len(pages)
    for record in bad:
        if name == "not-an-object":
            assert not isinstance(record, dict)
        elif name == "no-key":
            assert not record.get("key")
        else:
            with pytest.raises((TypeError, ValueError)):
                dt.datetime.fromisoformat(record.get("calldate"))


# -- a client that takes everything

HARMLESS = sorted(
    PASSING - {"drip"}
    | {"gzip", "big-page", "charset-latin-1", "empty-page", "last-cursor", "repeated-key", "repeated-key-changed"}
    | {"outside-window", "not-an-object", "no-key", "unreadable-calldate"}
)


def patient(session: requests.Session, sandbox: Sandbox) -> dict[str, Record]:
    """The hour's calls by key, for a client that retries, begins chains again and skips records that it cannot use."""
    for _ in range(20):
        calls: dict[str, Record] = {}
        cursor = ""
        for _ in range(400):
            asked = {"function": "reportsCDRLogs", "app_token": TOKEN, "cursor": cursor} | HOUR | ARRAYS
            try:
                answer = session.get(sandbox.base_url, params=asked, timeout=0.15)
                answer.encoding = "utf-8"
                page = answer.json()
            except requests.exceptions.RequestException:
                continue
            if page.get("message") == "cursor has expired":
                break
            if "CallList" not in page:
                continue
            for record in page["CallList"]:
                if isinstance(record, dict) and record.get("key"):
                    date = str(record.get("calldate"))
                    if HOUR["startdate"] <= date <= HOUR["finishdate"]:
                        calls[record["key"]] = record
            cursor = page.get("cursor")
            if not cursor:
                return calls
    raise AssertionError("the chain does not end")


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(
        st.tuples(st.sampled_from(HARMLESS), st.sampled_from(["", "@first", "@middle", "@last"])),
        max_size=4,
        unique_by=lambda fault: fault[0],
    ),
    seconds=st.lists(st.integers(0, 60), max_size=25),
    page_size=st.integers(2, 12),
    chain_end=st.sampled_from(["null", "absent", "blank", "empty page"]),
)
def test_a_patient_client_gets_every_call_through_any_mixture(
    names: list[tuple[str, str]], seconds: list[int], page_size: int, chain_end: Any
) -> None:
    calls = [call(n, second) for n, second in enumerate(seconds)]
    faults = [name + place for name, place in names]
    with (
        served(*faults, calls=calls, page_size=page_size, chain_end=chain_end) as sandbox,
        requests.Session() as session,
    ):
        session.trust_env = False
        assert patient(session, sandbox) == {record["key"]: record for record in calls}
