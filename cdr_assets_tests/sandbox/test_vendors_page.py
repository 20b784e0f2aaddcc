"""The sandbox does what the vendor's documentation of `reportsCDRLogs` says, sentence by sentence."""

import datetime as dt
import gzip
import http.client
import json
import os
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_assets.sandbox import ListedCalls, RecordsFile, Sandbox
from cdr_assets_tests.sandbox.conftest import TOKEN, Ask

DAY = dt.datetime(2026, 3, 2)
BESIDE_THE_CHECKOUT = Path(__file__).parents[3] / "shared/data/anonymous-bank-1999-01.jsonl.gz"
HOUR = {"startdate": "2026-03-02 10:00:00", "finishdate": "2026-03-02 10:59:59"}


def call(key: str, seconds: int = 0, **members: Any) -> dict[str, Any]:
    """A record `seconds` after ten o'clock."""
    moment = DAY + dt.timedelta(hours=10, seconds=seconds)
    return {"key": key, "calldate": f"{moment:%Y-%m-%d %H:%M:%S}", "transferred": 0} | members


def keys(page: Any) -> list[str]:
    return [record["key"] for record in page["CallList"]]


def test_the_period_is_the_window_of_calldate(ask: Ask) -> None:
    calls = [call("before", -1), call("first"), call("within", 1800), call("last", 3599), call("after", 3600)]
    with Sandbox(ListedCalls(calls)) as sandbox:
        assert keys(ask(sandbox, **HOUR)) == ["last", "within", "first"]


def test_newest_first_unless_asked_otherwise(ask: Ask) -> None:
    with Sandbox(ListedCalls([call("b", 2), call("a", 1), call("c", 3)])) as sandbox:
        assert keys(ask(sandbox, **HOUR)) == ["c", "b", "a"]
        assert keys(ask(sandbox, **HOUR, sorting="desc")) == ["c", "b", "a"]
        assert keys(ask(sandbox, **HOUR, sorting="asc")) == ["a", "b", "c"]


def test_a_hundred_records_at_most_and_a_cursor_for_more(ask: Ask) -> None:
    with Sandbox(ListedCalls(call(f"k{n:03}", n) for n in range(250))) as sandbox:
        first = ask(sandbox, **HOUR, sorting="asc")
        second = ask(sandbox, **HOUR, sorting="asc", cursor=first["cursor"])
        third = ask(sandbox, **HOUR, sorting="asc", cursor=second["cursor"])
    assert [len(page["CallList"]) for page in (first, second, third)] == [100, 100, 50]
    assert keys(first) + keys(second) + keys(third) == [f"k{n:03}" for n in range(250)]
    assert third["cursor"] is None


def test_an_hour_without_calls_is_an_empty_list(ask: Ask) -> None:
    with Sandbox(ListedCalls()) as sandbox:
        assert ask(sandbox, **HOUR) == {"CallList": [], "cursor": None}


def test_records_come_as_they_are(ask: Ask) -> None:
    record = call("k", queue="Müşteri Hizmetleri İşlem", duration="12", answered=True, agent=None, novel={"a": [1.5]})
    with Sandbox(ListedCalls([record])) as sandbox:
        assert ask(sandbox, **HOUR)["CallList"] == [record]


@pytest.mark.parametrize(
    ("parameter", "member"),
    [
        ("include_call_history", "call_history"),
        ("include_csat", "csat_answers"),
        ("include_call_tags", "call_tags"),
    ],
)
def test_each_array_comes_only_when_asked_for(ask: Ask, parameter: str, member: str) -> None:
    arrays = {"call_history": [{"event": "hangup"}], "csat_answers": [{"score": 5}], "call_tags": ["vip"]}
    plain = call("k")
    with Sandbox(ListedCalls([plain | arrays])) as sandbox:
        assert ask(sandbox, **HOUR)["CallList"] == [plain]
        assert ask(sandbox, **HOUR, **{parameter: "false"})["CallList"] == [plain]
        assert ask(sandbox, **HOUR, **{parameter: "true"})["CallList"] == [plain | {member: arrays[member]}]
        everything = dict.fromkeys(("include_call_history", "include_csat", "include_call_tags"), "true")
        assert ask(sandbox, **HOUR, **everything)["CallList"] == [plain | arrays]


FILTERED = [
    call("ayşe", 1, agent="ayse@centre.example", agentid="A1", queuekey="Q1", csat_answers=[{"score": 5}]),
    call("ayşe-2", 2, agent="ayse@centre.example", agentid="A1", queuekey="Q2", csat_answers=[]),
    call("ömer", 3, agent="omer@centre.example", agentid="A2", queuekey="Q1", csat_answers=None, transferred=2),
    call("none", 4, agent=None, agentid=None, queuekey=None),
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"agent": "A1"}, ["ayşe", "ayşe-2"]),
        ({"agent_username": "omer@centre.example"}, ["ömer"]),
        ({"queue": "Q1"}, ["ayşe", "ömer"]),
        ({"queue": "Q1", "agent": "A1"}, ["ayşe"]),
        ({"queue": "nowhere"}, []),
        ({"csat_only": "true"}, ["ayşe"]),
        ({"csat_only": "false"}, ["ayşe", "ayşe-2", "ömer", "none"]),
        ({"untransferred": "true"}, ["ayşe", "ayşe-2", "none"]),
        ({"agent": "", "queue": ""}, ["ayşe", "ayşe-2", "ömer", "none"]),
    ],
)
def test_filters(ask: Ask, filters: dict[str, str], expected: list[str]) -> None:
    with Sandbox(ListedCalls(FILTERED)) as sandbox:
        assert keys(ask(sandbox, **HOUR, sorting="asc", **filters)) == expected


def test_filters_hold_over_a_chain_of_pages(chain: Ask) -> None:
    calls = [call(f"k{n}", n, queuekey="Q1" if n % 3 == 0 else "Q2") for n in range(600)]
    with Sandbox(ListedCalls(calls)) as sandbox:
        pages = chain(sandbox, **HOUR, sorting="asc", queue="Q1")
    assert [len(page) for page in pages] == [100, 100]
    assert [record["key"] for page in pages for record in page] == [f"k{n}" for n in range(0, 600, 3)]


SINGLES = [
    call("by-key", 1, uniqueid="u-other", activecallkey="active-other"),
    call("by-unique-id", 2, uniqueid="u1", queuekey="Q1"),
    call("by-unique-id-too", 3, uniqueid="u1", queuekey="Q2"),
    call("by-active-call-key", 4, activecallkey="active-1"),
]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"callkey": "by-key"}, ["by-key"]),
        ({"uniqueid": "u1"}, ["by-unique-id", "by-unique-id-too"]),
        ({"activecallkey": "active-1"}, ["by-active-call-key"]),
        ({"uniqueid": "u1", "callkey": "by-key"}, ["by-unique-id", "by-unique-id-too"]),
        ({"activecallkey": "active-1", "callkey": "by-key"}, ["by-active-call-key"]),
        ({"activecallkey": "active-1", "uniqueid": "u1", "callkey": "by-key"}, ["by-active-call-key"]),
        ({"callkey": "unknown"}, []),
        ({"activecallkey": "unknown", "callkey": "by-key"}, []),
    ],
)
@pytest.mark.parametrize(
    "ignored",
    [
        {},
        {"startdate": "2020-01-01 00:00:00", "finishdate": "2020-01-01 01:00:00"},
        {"startdate": "rubbish", "finishdate": ""},
        {
            "agent": "nobody",
            "agent_username": "nobody",
            "queue": "nowhere",
            "csat_only": "true",
            "untransferred": "true",
        },
    ],
)
def test_single_calls_and_their_precedence_over_every_other_filter(
    ask: Ask, asked: dict[str, str], expected: list[str], ignored: dict[str, str]
) -> None:
    with Sandbox(ListedCalls(SINGLES)) as sandbox:
        page = ask(sandbox, sorting="asc", **asked, **ignored)
    assert keys(page) == expected
    assert not any("activecallkey" in record for record in page["CallList"])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"app_token": ""}, "app_token"),
        ({"app_token": "a-wrong-one"}, "app_token"),
        ({"startdate": ""}, "startdate"),
        ({"finishdate": ""}, "finishdate"),
        ({"startdate": "2026-03-02"}, "startdate"),
        ({"finishdate": "2026-03-02T10:59:59"}, "finishdate"),
        ({"finishdate": "2026-02-30 10:00:00"}, "finishdate"),
        ({"finishdate": "2026-03-02 09:00:00"}, "finishdate"),
        ({"function": "reportsNothing"}, "function"),
        ({"function": ""}, "function"),
        ({"include_csat": "yes"}, "include_csat"),
        ({"include_call_history": "True"}, "include_call_history"),
        ({"include_call_tags": "1"}, "include_call_tags"),
        ({"csat_only": "maybe"}, "csat_only"),
        ({"untransferred": "0"}, "untransferred"),
        ({"sorting": "upwards"}, "sorting"),
        ({"cursor": "rubbish"}, "cursor"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_message(ask: Ask, parameters: dict[str, str], told: str) -> None:
    with Sandbox(ListedCalls([call("k")])) as sandbox:
        answer = ask(sandbox, **(HOUR | parameters))
    assert answer["success"] is False
    assert told in answer["message"]
    assert "a-wrong-one" not in answer["message"]
    assert "CallList" not in answer


def test_missing_parameters_are_refused() -> None:
    with Sandbox(ListedCalls()) as sandbox:
        for given_ in (
            {},
            {"app_token": TOKEN},
            {"app_token": TOKEN, "function": "reportsCDRLogs"},
            {"function": "ping"},
        ):
            assert requests.get(sandbox.base_url, params=given_, timeout=5).json()["success"] is False


def test_a_cursor_belongs_to_its_request(ask: Ask) -> None:
    with Sandbox(ListedCalls(call(f"k{n}", n) for n in range(150))) as sandbox:
        cursor = ask(sandbox, **HOUR)["cursor"]
        for other in ({"sorting": "asc"}, {"startdate": "2026-03-02 10:00:01"}, {"queue": "Q1"}):
            answer = ask(sandbox, **(HOUR | other), cursor=cursor)
            assert answer["success"] is False
            assert "cursor" in answer["message"]
        assert len(ask(sandbox, **HOUR, cursor=cursor)["CallList"]) == 50


def test_ping(ask: Ask) -> None:
    with Sandbox(ListedCalls()) as sandbox:
        assert ask(sandbox, function="ping")["success"] is True
        assert ask(sandbox, function="ping", app_token="wrong")["success"] is False


@pytest.mark.parametrize("start_inclusive", [True, False])
@pytest.mark.parametrize("finish_inclusive", [True, False])
def test_the_bounds_can_be_chosen(ask: Ask, start_inclusive: bool, finish_inclusive: bool) -> None:
    calls = ListedCalls([call("start"), call("within", 5), call("finish", 3599)])
    with Sandbox(calls, start_inclusive=start_inclusive, finish_inclusive=finish_inclusive) as sandbox:
        listed = keys(ask(sandbox, **HOUR, sorting="asc"))
    assert listed == ["start"] * start_inclusive + ["within"] + ["finish"] * finish_inclusive


@pytest.mark.parametrize(
    ("chain_end", "tail"),
    [("null", {"cursor": None}), ("absent", {}), ("blank", {"cursor": ""}), ("empty page", None)],
)
def test_the_end_of_a_chain_can_be_chosen(ask: Ask, chain_end: Any, tail: dict[str, Any] | None) -> None:
    with Sandbox(ListedCalls([call("a", 1), call("b", 2), call("c", 3)]), page_size=2, chain_end=chain_end) as sandbox:
        first = ask(sandbox, **HOUR)
        second = ask(sandbox, **HOUR, cursor=first["cursor"])
        assert keys(first) + keys(second) == ["c", "b", "a"]
        if tail is None:
            assert ask(sandbox, **HOUR, cursor=second["cursor"]) == {"CallList": []}
        else:
            assert second == {"CallList": second["CallList"]} | tail


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moments=st.lists(st.integers(0, 30), max_size=40),
    page_size=st.integers(1, 9),
    sorting=st.sampled_from(["asc", "desc"]),
    chain_end=st.sampled_from(["null", "absent", "blank", "empty page"]),
)
def test_a_chain_holds_every_call_once_in_order_whatever_ties(
    chain: Ask, moments: list[int], page_size: int, sorting: str, chain_end: Any
) -> None:
    calls = [call(f"k{n}", moment) for n, moment in enumerate(moments)]
    with Sandbox(ListedCalls(calls), page_size=page_size, chain_end=chain_end) as sandbox:
        pages = chain(sandbox, **HOUR, sorting=sorting)
    listed = [record for page in pages for record in page]
    assert max(map(len, pages)) <= page_size
    assert sorted(record["key"] for record in listed) == sorted(record["key"] for record in calls)
    dates = [record["calldate"] for record in listed]
    assert dates == sorted(dates, reverse=sorting == "desc")


def test_calls_that_change_between_two_pages_move_no_other(ask: Ask) -> None:
    calls = ListedCalls(call(f"k{n}", n) for n in range(5))
    with Sandbox(calls, page_size=2) as sandbox:
        first = ask(sandbox, **HOUR, sorting="asc")
        calls.add(call("early", 0))
        calls.remove("k0")
        calls.edit("k3", duration=9)
        second = ask(sandbox, **HOUR, sorting="asc", cursor=first["cursor"])
    assert keys(first) + keys(second) == ["k0", "k1", "k2", "k3"]
    assert second["CallList"][1]["duration"] == 9


def test_listed_calls_can_be_edited() -> None:
    calls = ListedCalls([call("a", 1)])
    calls.add(42, calldate="2026-03-02 10:00:05")
    calls.add({"key": None, "calldate": "soon"}, calldate="2026-03-02 10:00:06")
    calls.edit("a", calldate="2026-03-02 10:00:09")
    assert calls.records == [call("a", 9), 42, {"key": None, "calldate": "soon"}]
    calls.remove("a")
    assert len(calls) == 2
    with pytest.raises(KeyError):
        calls.remove("a")
    with pytest.raises(KeyError):
        calls.edit("a", duration=1)
    for unreadable in ({"key": "b"}, {"key": "b", "calldate": "soon"}, 42):
        with pytest.raises(ValueError, match="calldate"):
            calls.add(unreadable)


def test_records_of_any_shape_are_served(ask: Ask) -> None:
    calls = ListedCalls()
    shapes: list[Any] = [42, None, "text", [1], {}, {"call_tags": ["a"], "csat_answers": None}]
    for shape in shapes:
        calls.add(shape, calldate="2026-03-02 10:00:05")
    with Sandbox(calls) as sandbox:
        assert ask(sandbox, **HOUR, sorting="asc")["CallList"] == shapes


@pytest.mark.parametrize("compressed", [False, True])
def test_records_of_a_file(ask: Ask, tmp_path: Path, compressed: bool) -> None:
    lines = "\n".join(json.dumps(call(f"ş{n}", 9 - n), ensure_ascii=False) for n in range(5)).encode() + b"\n\n"
    path = tmp_path / "calls.jsonl"
    path.write_bytes(gzip.compress(lines) if compressed else lines)
    with Sandbox(RecordsFile(path)) as sandbox:
        assert keys(ask(sandbox, **HOUR)) == ["ş0", "ş1", "ş2", "ş3", "ş4"]
        assert keys(ask(sandbox, callkey="ş3")) == ["ş3"]


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "a"}', '{"key": "a", "calldate": "soon"}'])
def test_a_file_with_a_bad_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps(call("a")) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r"calls\.jsonl, line 2: "):
        RecordsFile(path)


def test_connections_are_kept_alive_and_end_with_the_sandbox() -> None:
    with Sandbox(ListedCalls()) as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
        for _ in range(3):
            connection.request("GET", "/api/?function=ping&app_token=" + TOKEN)
            answer = connection.getresponse()
            assert answer.status == 200
            assert json.loads(answer.read())["success"] is True
            assert not answer.will_close
        local = connection.sock.getsockname()
        connection.request("GET", "/api/?function=ping&app_token=" + TOKEN)
        connection.getresponse().read()
        assert connection.sock.getsockname() == local
        client = connection.sock
    assert client.recv(1) == b""
    client.close()


def test_only_get_on_the_one_endpoint_is_served() -> None:
    with Sandbox(ListedCalls()) as sandbox:
        assert requests.post(sandbox.base_url, data={"app_token": TOKEN}, timeout=5).status_code == 405
        assert requests.get(sandbox.base_url + "other", timeout=5).status_code == 404


def test_what_was_asked_is_remembered_without_the_token(ask: Ask) -> None:
    with Sandbox(ListedCalls()) as sandbox:
        ask(sandbox, **HOUR, sorting="asc")
        ask(sandbox, function="ping")
        assert sandbox.requests == 2
        assert [asked.parameters for asked in sandbox.asked] == [
            {"function": "reportsCDRLogs", "sorting": "asc"} | HOUR,
            {"function": "ping"},
        ]
        assert sandbox.asked[0].at <= sandbox.asked[1].at
        assert sandbox.most_at_once == 1


def test_a_real_month_is_served_whole(chain: Ask) -> None:
    path = Path(os.environ.get("CDR_REAL_CALLS") or BESIDE_THE_CHECKOUT)
    if not path.exists():
        pytest.skip(f"no real calls: neither CDR_REAL_CALLS nor {BESIDE_THE_CHECKOUT}")
    window = {"startdate": "1999-01-01 00:00:00", "finishdate": "1999-01-31 23:59:59"}
    arrays = dict.fromkeys(("include_call_history", "include_csat", "include_call_tags"), "true")
    with Sandbox(RecordsFile(path)) as sandbox:
        pages = chain(sandbox, **window, **arrays, sorting="asc")
    served = [record for page in pages for record in page]
    assert [len(page) for page in pages] == [100] * 313 + [59]
    with gzip.open(path, "rt") as lines:
        assert served == [json.loads(line) for line in lines]
