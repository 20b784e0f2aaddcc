"""Every fault of the sandbox, over a real socket into a real warehouse: the hour gets exactly the right rows, or it
fails
and nothing changes.

`outcomes.py` says which of the two is right for each fault. All cases are hours of one load, as in a run, so that
failing hours are loaded together with good ones. Each hour held other calls before.
"""

import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from cdr_assets.alotech import AlotechClient
from cdr_assets.domain.hours import Hour
from cdr_assets.sandbox import FAULTS, Fault, ListedCalls, Sandbox, fault_of
from cdr_assets.sandbox.faults import PASSING, RecordFault
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, Pipeline, record
from cdr_assets_tests.ingest.ingestion import (
    Fetched,
    Stored,
    assert_loads_balance,
    fetch,
    hours_from,
    load,
    pages_of,
    reload,
    rows_by_hour,
    stored_calls,
)
from cdr_assets_tests.ingest.outcomes import OUTCOMES, PAGE, Ends, Outcome, page
from cdr_assets_tests.orchestration.test_hours import failure_of, files_with_the_token

ZONE = "Europe/Istanbul"
START = dt.datetime(2026, 3, 2)

PLACES = ("first", "middle", "last")
PAGE_SIZE = 6
MAX_PAGES = 40

# These faults only cost time.
SLOW = ("timeout", "stall", "drip")

Record = dict[str, Any]


def calls_of(hour: Hour) -> list[Record]:
    """Thirteen calls of the hour, the first in its first second, two in the same second; and the next hour's first
    call,
    which a server with inclusive bounds lists too."""
    name = f"{hour.start:%m%dT%H}"

    def call(n: int, second: int, **fields: Any) -> Record:
        return record(f"{name}-{n}", hour.start + dt.timedelta(seconds=second), **fields)

    unanswered = {"answered": False, "abandon": True, "talkdate": None, "agent": None, "agentid": None, "sl": False}
    return [
        call(0, 0),
        call(1, 300, **unanswered, call_history=[], csat_answers=[], call_tags=[]),
        call(2, 500, queue="Müşteri Hizmetleri İşlem Ağı", call_tags=["şikâyet", "öneri", "ğüıİ"]),
        call(3, 700, hangupdate=None, duration=None),
        call(4, 900, callerid="", waitduration=0, hold=2, holdduration=35),
        call(5, 1200),
        call(6, 1200),
        *(call(n, 1200 + 300 * (n - 6)) for n in range(7, 12)),
        call(12, 3599),
        record(f"{name}-next", hour.finish),
    ]


def earlier_calls_of(hour: Hour) -> list[Record]:
    """The calls that the hour held before: seven of its calls, one of them different, and one that is no longer
    listed."""
    calls = calls_of(hour)
    different = calls[5] | {"duration": 7, "call_tags": ["eski", "etiket"]}
    return [*calls[:5], different, calls[6], record(f"{calls[0]['key']}-gone", hour.start + dt.timedelta(seconds=1500))]


@dataclass
class Case:
    """An hour, the faults that it is served with, and the result."""

    hour: Hour
    faults: list[Fault]
    requests: int = 0
    fetched: Fetched = field(default_factory=Fetched)

    def fetch(self) -> None:
        source = ListedCalls(calls_of(self.hour))
        slow = any(type(fault) in {type(fault_of(name)) for name in SLOW} for fault in self.faults)
        # Shorter than the pauses of the slow faults, but long enough for all others on a busy machine.
        patience = {"read_timeout": 0.3, "total_timeout": 0.5} if slow else {"read_timeout": 20, "total_timeout": 40}
        with (
            Sandbox(source, token=TOKEN, fault=self.faults, page_size=PAGE_SIZE) as sandbox,
            client_of(sandbox, **patience) as client,
        ):
            self.fetched = fetch(client, [self.hour])
            self.requests = sandbox.requests

    def served(self) -> list[Any]:
        """The records that the API lists, changed by the faults of single records, in the order of listing."""
        source = ListedCalls(calls_of(self.hour))
        for fault in self.faults:
            source = fault.source(source)  # type: ignore[assignment]
        day = f"{self.hour.start:%Y-%m-%d}"
        calls = [call for segment in source.segments(f"{day} 00:00:00", f"{day} 23:59:59", True) for call in segment]
        pages = list(pages_of([call.record() for call in calls], self.page_size()))
        for fault in self.faults:
            if isinstance(fault, RecordFault):
                pages = [
                    [fault.record(sent) for sent in one] if is_hit(fault, n, len(pages)) else one
                    for n, one in enumerate(pages)
                ]
        return [sent for one in pages for sent in one]

    def page_size(self) -> int:
        """How many calls a page holds. Records that a fault adds take the place of calls."""
        return max(1, PAGE_SIZE - sum(fault.room for fault in self.faults))

    def pages_hit(self) -> int:
        [fault] = self.faults
        pages = len(list(pages_of(calls_of(self.hour), self.page_size())))
        return sum(is_hit(fault, n, pages) for n in range(pages))


def is_hit(fault: Fault, page: int, pages: int) -> bool:
    place = "first" if page == 0 else "last" if page == pages - 1 else "middle"
    return fault.at in ("any", place)


def client_of(sandbox: Sandbox, **options: Any) -> AlotechClient:
    defaults = {"requests_per_second": 0, "max_pages": MAX_PAGES, "sleep": lambda _: None}
    return AlotechClient(sandbox.base_url, TOKEN, **defaults | options)


@dataclass
class Loaded:
    """The warehouse before and after one load of all cases."""

    before: dict[str, Stored]
    after: dict[str, Stored]
    rows_before: Mapping[dt.datetime, Mapping[str, pl.DataFrame]]
    rows_after: Mapping[dt.datetime, Mapping[str, pl.DataFrame]]
    loads: dict[dt.datetime, dict[str, Any]]
    reasons: dict[dt.datetime, Counter[str]]


def load_all(cases: Sequence[Case], folder: Path) -> Loaded:
    hours = [case.hour for case in cases]
    warehouse = Warehouse(folder / "cdr.duckdb")
    source = ListedCalls(call for hour in hours for call in earlier_calls_of(hour))
    with Sandbox(source, token=TOKEN) as sandbox, client_of(sandbox) as client:
        earlier = fetch(client, hours)
    with warehouse.connect("test") as connection:
        load(connection, earlier, ZONE, "earlier")
        before, rows_before = stored_calls(connection), rows_by_hour(connection)
    assert before == reload({}, source.records, hours, ZONE)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(Case.fetch, cases))
    fetched = Fetched()
    for case in cases:
        fetched.pages |= case.fetched.pages
        fetched.failed |= case.fetched.failed
    with warehouse.connect("test") as connection:
        load(connection, fetched, ZONE, "faulty")
        assert_loads_balance(connection)
        loads = connection.execute("SELECT * FROM cdr.loads WHERE run_id = 'faulty'").pl().to_dicts()
        rejected = connection.execute("SELECT partition_hour, reason FROM cdr.rejected_records").fetchall()
        loaded = Loaded(
            before=before,
            after=stored_calls(connection),
            rows_before=rows_before,
            rows_after=rows_by_hour(connection),
            loads={row["partition_hour"]: row for row in loads},
            reasons={hour: Counter(reason for at, reason in rejected if at == hour) for hour, _ in rejected},
        )
    assert len(loads) == len(cases)
    assert not files_with_the_token(folder)
    return loaded


def of_hour(calls: Mapping[str, Stored], hour: Hour) -> dict[str, Stored]:
    return {key: call for key, call in calls.items() if call.hour == hour.start}


def expected(case: Case, loaded: Loaded, reads_as_meant: bool) -> dict[str, Stored]:
    """The hour's expected calls: the served ones, with the original values or with those that the fault sent."""
    served = case.served()
    after = reload(of_hour(loaded.before, case.hour), served, [case.hour], ZONE)
    if reads_as_meant:
        meant = reload({}, calls_of(case.hour), [case.hour], ZONE)
        for key, call in meant.items():
            items = {name: [*map(as_sent, rows, after[key].items[name])] for name, rows in call.items.items()}
            after[key] = replace(call, items=items)
    return after


def as_sent(meant: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """The item's row with the sent spelling where it is kept: in the text of a numeric answer."""
    return meant | {name: sent[name] for name in ("answer",) if name in meant}


def content(call: Stored | None) -> str | None:
    """A text that differs if the call differs. In items, the spelling counts."""
    return None if call is None else json.dumps([call.call, call.items, call.has_vanished], default=str, sort_keys=True)


def assert_loaded_exactly(case: Case, loaded: Loaded, reads_as_meant: bool) -> None:
    right = expected(case, loaded, reads_as_meant)
    assert of_hour(loaded.after, case.hour) == right
    assert sum(not call.has_vanished for call in right.values()) == 13
    row = loaded.loads[case.hour.start]
    before = of_hour(loaded.before, case.hour)
    assert row["error"] is None
    assert (row["loaded"], row["new"], row["vanished"], row["moved"]) == (13, 6, 1, 0)
    assert row["changed"] == sum(
        content(before[key]) != content(call) for key, call in right.items() if key in before and not call.has_vanished
    )
    assert row["requests"] == case.requests


def assert_nothing_changed(case: Case, loaded: Loaded) -> str:
    """Checks that the hour kept its calls; returns the line that says why it failed."""
    before, after = loaded.rows_before[case.hour.start], loaded.rows_after[case.hour.start]
    assert before.keys() == after.keys()
    assert all(after[table].equals(rows) for table, rows in before.items())
    row = loaded.loads[case.hour.start]
    figures = {name: row[name] for name in ("requests", "pages", "served", "loaded", "new", "changed", "content_hash")}
    assert set(figures.values()) == {None}
    line = row["error"]
    assert line
    assert "\n" not in line
    assert not any(form in line for form in (TOKEN, quote(TOKEN), quote(TOKEN, safe="")))
    # The most requests that a fault may cost: five tries of a page, three beginnings of a chain, times the pages.
    assert case.requests <= 3 * 5 * MAX_PAGES
    return str(line)


def lines_of(outcome: Outcome) -> list[str]:
    """The error lines with which the fault may fail an hour."""
    return [line.format(max_pages=MAX_PAGES) for line in (outcome.line, outcome.in_chain) if line]


# -- each fault by itself

SINGLE = [(name, place) for name in FAULTS for place in PLACES]


@pytest.fixture(scope="module")
def cases() -> dict[tuple[str, str], Case]:
    hours = hours_from(START, START + dt.timedelta(hours=len(SINGLE)), ZONE)
    return {
        (name, place): Case(hour, [fault_of(f"{name}@{place}")])
        for hour, (name, place) in zip(hours, SINGLE, strict=True)
    }


@pytest.fixture(scope="module")
def loaded(cases: dict[tuple[str, str], Case], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_all(list(cases.values()), tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_as_the_table_says(
    name: str, place: str, cases: dict[tuple[str, str], Case], loaded: Loaded
) -> None:
    case, outcome = cases[name, place], OUTCOMES[name]
    if place in outcome.nothing_at:
        outcome = Outcome(Ends.EXACTLY)
    if outcome.ends is Ends.FAILED:
        line = assert_nothing_changed(case, loaded)
        assert line in (lines_of(outcome)[:1] if place == "first" else lines_of(outcome))
        if outcome.at_once and place == "first":
            assert case.requests == 1
        return

    assert_loaded_exactly(case, loaded, reads_as_meant=outcome.ends is not Ends.AS_SENT)
    row = loaded.loads[case.hour.start]
    # A busy machine can look like a slow server.
    retries = row["retries"] if name not in SLOW else min(row["retries"], case.pages_hit())
    if outcome.ends is Ends.RETRIED:
        assert retries == case.pages_hit()
    else:
        assert (retries > 0) == (outcome.ends in (Ends.BEGUN_ANEW, Ends.GONE_ON))
    reasons = {reason: count * case.pages_hit() for reason, count in Counter(outcome.reasons).items()}
    assert loaded.reasons.get(case.hour.start, Counter()) == reasons
    for column, usual in (("outside_window", 1), ("repeated", 0), ("rejected", 0)):
        if column == "outside_window" and outcome.ends in (Ends.BEGUN_ANEW, Ends.GONE_ON):
            # The calls of the second from which the chain continued came twice.
            continue
        assert (row[column] > usual) == (outcome.counted == column), column


def test_every_fault_has_its_outcome_and_its_line_in_the_docs() -> None:
    assert list(OUTCOMES) == list(FAULTS)
    assert {name for name, outcome in OUTCOMES.items() if outcome.ends in (Ends.RETRIED, Ends.BEGUN_ANEW)} == PASSING
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m cdr_assets_tests.ingest.outcomes"


# -- several at once

# Each mixture depends only on its number. A page is tried five times, so at most three passing faults may hit it.
MIXTURES = 40

# Pairs that make no sense together: the old version of a record would come last and be right; a UTF-8 byte order mark
# would stand before another character set; a fraction of a second would come after an offset.
CONTRADICTING = [
    ("repeated-key", "repeated-key-changed"),
    ("byte-order-mark", "charset-windows-1254"),
    ("spelled-dates", "zoned-dates"),
]


def mixture(number: int) -> list[Fault]:
    chance = random.Random(number)
    faults = []
    left_out = {chance.choice(pair) for pair in CONTRADICTING}
    for name in chance.sample([name for name in FAULTS if name not in left_out], chance.choice([2, 2, 3])):
        fault = fault_of(name, seed=number)
        # A fault of a single record must not depend on its page, because in a mixture pages begin at other calls.
        if not isinstance(fault, RecordFault):
            fault.at = chance.choice(["any", *PLACES])  # type: ignore[arg-type]
        faults.append(fault)
    return faults


def names_of(faults: Iterable[Fault]) -> list[str]:
    of_kind = {type(fault_of(name)): name for name in FAULTS}
    return [of_kind[type(fault)] for fault in faults]


def assert_mixtures_end_well(numbers: Sequence[int], folder: Path) -> None:
    hours = hours_from(START, START + dt.timedelta(hours=len(numbers)), ZONE)
    cases = [Case(hour, mixture(number)) for hour, number in zip(hours, numbers, strict=True)]
    loaded = load_all(cases, folder)
    ends = Counter[str]()
    for number, case in zip(numbers, cases, strict=True):
        outcomes = [OUTCOMES[name] for name in names_of(case.faults)]
        lines = [line for outcome in outcomes for line in lines_of(outcome)]
        has_failed = case.hour in case.fetched.failed
        ends["failed" if has_failed else "loaded"] += 1
        told = f"mixture {number}: {list(zip(names_of(case.faults), (fault.at for fault in case.faults), strict=True))}"
        assert lines or not has_failed, told
        if has_failed:
            line = assert_nothing_changed(case, loaded)
            assert line in lines, told
        else:
            as_meant = all(outcome.ends is not Ends.AS_SENT for outcome in outcomes)
            assert_loaded_exactly(case, loaded, reads_as_meant=as_meant)
    assert min(ends["failed"], ends["loaded"]) > len(numbers) // 10


def test_mixed_faults_end_in_the_right_rows_or_change_nothing(tmp_path: Path) -> None:
    assert_mixtures_end_well(range(MIXTURES), tmp_path)


@pytest.mark.campaign
def test_many_mixed_faults_end_in_the_right_rows_or_change_nothing(tmp_path: Path) -> None:
    assert_mixtures_end_well(range(MIXTURES, MIXTURES + 600), tmp_path)


# -- through Dagster


def only_in(hour: Hour, name: str) -> Fault:
    """The fault, but only for the requests of one hour."""
    fault = fault_of(name)
    is_meant = fault.is_meant
    fault.is_meant = lambda exchange: is_meant(exchange) and exchange.parameters["finishdate"] == str(hour.finish)  # type: ignore[method-assign]
    return fault


def test_a_run_lands_every_hour_but_the_one_whose_chain_has_no_end(
    make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cdr_assets.alotech.client._backoff", lambda _: 0)
    hours = hours_from(HOUR, HOUR + dt.timedelta(hours=4), ZONE)
    retried, failing, rejecting, drifting = hours
    faults = [
        *(only_in(retried, name) for name in ("503@first", "cut-json@middle", "reset@last", "expired-cursor@last")),
        only_in(failing, "same-cursor"),
        *(only_in(rejecting, name) for name in ("not-an-object", "no-key", "outside-window", "repeated-key-changed")),
        only_in(drifting, "new-fields"),
    ]
    source = ListedCalls(call for hour in hours for call in earlier_calls_of(hour))
    with Sandbox(source, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, alotech_tenant="acme")
        assert pipeline.run(HOUR, 4, selection=UP_TO_THE_CALLS).success
    before = reload({}, source.records, hours, ZONE)

    records = [call for hour in hours for call in calls_of(hour)[:-1]]
    with Sandbox(ListedCalls(records), token=TOKEN, fault=faults, page_size=12) as sandbox:
        # The same tenant at another port, so that the warehouse accepts it.
        pipeline = make_pipeline(sandbox.base_url, alotech_tenant="acme")
        result = pipeline.run(HOUR, 4)
    assert not result.success
    line = OUTCOMES["same-cursor"].line
    assert failure_of(result) == (
        f"1 hour failed in raw__cdr_pages and keeps what it held: {failing}: {line}; "
        "the other hours of this run (3) went through"
    )

    def sent(call: Record) -> Any:
        [new_fields] = [fault for fault in faults if isinstance(fault, RecordFault)]
        return new_fields.record(call) if drifting.start <= dt.datetime.fromisoformat(call["calldate"]) else call

    right = reload(before, map(sent, records), [hour for hour in hours if hour is not failing], ZONE)
    with Warehouse(pipeline.settings.warehouse_path).connect("test") as connection:
        assert stored_calls(connection) == right
        assert_loads_balance(connection)
    [(error,)] = pipeline.ask_published("SELECT error FROM cdr.loads WHERE error IS NOT NULL")
    assert error == line
    reasons = pipeline.ask_published("SELECT DISTINCT partition_hour, reason FROM cdr.rejected_records ORDER BY ALL")
    assert reasons == [(rejecting.start, "no key"), (rejecting.start, "not an object")]
    kept = pipeline.ask_published("SELECT count(*) FROM cdr.calls WHERE json_exists(extra, '$.sentiment_score')")
    assert kept == [(sum(call.call["extra"] is not None for call in right.values()),)]
    [drift] = [found for found in result.get_asset_check_evaluations() if found.check_name == "fields_are_known"]
    assert not drift.passed
    assert f"calls.sentiment_score (number, first in {drifting.start})" in (drift.description or "")
    assert not files_with_the_token(tmp_path)
