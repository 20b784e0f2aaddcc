"""The generated centre: deterministic, plausible, and consistent with the meaning of the vendor's fields."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_assets.sandbox import GeneratedCentre, Sandbox
from cdr_assets.sandbox.profile import QUEUES, agent_names
from cdr_assets_tests.sandbox.conftest import Ask

MONDAY = dt.date(2026, 3, 2)
SUNDAY = dt.date(2026, 3, 8)
ISTANBUL = ZoneInfo("Europe/Istanbul")
FINISHED = dt.datetime(2026, 6, 1, tzinfo=ISTANBUL)
ARRAYS = dict.fromkeys(("include_call_history", "include_csat", "include_call_tags"), "true")
# The fields in the vendor's documentation, and the one whose name it leaves out.
VENDORS_FIELDS = {
    *("key", "callid", "queued", "answered", "assigned", "abandon", "queuedate", "calldate", "talkdate", "hangupdate"),
    *("waitduration", "duration", "sl", "shortcall", "callerid", "called_num", "queue", "inbound", "agent", "agentid"),
    *("hold", "holdduration", "queuekey", "voicemail", "uniqueid", "recordingurl", "localrelease", "answeredby"),
    *("transferred", "channel", "call_history", "csat_answers", "call_tags"),
}

Record = dict[str, Any]


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def seconds(start: str, end: str) -> float:
    return (moment(end) - moment(start)).total_seconds()


@pytest.fixture(scope="module")
def week() -> list[Record]:
    return list(GeneratedCentre(seed=7, calls_per_hour=60).records(MONDAY, SUNDAY))


def hour_window(hour: dt.datetime) -> dict[str, str]:
    return {"startdate": f"{hour:%Y-%m-%d %H:00:00}", "finishdate": f"{hour:%Y-%m-%d %H:59:59}"}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**40), day=st.dates(dt.date(2010, 1, 1), dt.date(2040, 1, 1)))
def test_a_day_comes_from_seed_and_date_alone(seed: int, day: dt.date) -> None:
    def made() -> GeneratedCentre:
        return GeneratedCentre(seed=seed, calls_per_hour=10)

    alone = list(made().records(day, day))
    after_others = list(made().records(day - dt.timedelta(2), day))
    assert alone == after_others[-len(alone) :]
    assert len({record["key"] for record in after_others}) == len(after_others)
    assert {record["calldate"][:10] for record in alone} == {str(day)}
    assert alone != list(GeneratedCentre(seed=seed + 1, calls_per_hour=10).records(day, day))


@pytest.mark.parametrize("calls_per_hour", [5, 60])
def test_calls_per_hour_is_the_mean_of_a_week(calls_per_hour: float) -> None:
    days = 70 if calls_per_hour < 50 else 14
    centre = GeneratedCentre(calls_per_hour=calls_per_hour)
    calls = sum(1 for _ in centre.records(MONDAY, MONDAY + dt.timedelta(days - 1)))
    assert calls / days / 24 == pytest.approx(calls_per_hour, rel=0.1)


def test_calls_come_by_day_and_by_night(week: list[Record]) -> None:
    by_hour = Counter(int(record["calldate"][11:13]) for record in week)
    assert set(by_hour) == set(range(24))
    assert by_hour[11] > 10 * by_hour[3]


def test_records_have_the_vendors_fields_and_no_others(week: list[Record]) -> None:
    assert all(set(record) == VENDORS_FIELDS | {"activecallkey"} for record in week)


def test_records_satisfy_the_identities(week: list[Record]) -> None:
    for r in week:
        assert r["duration"] == seconds(r["calldate"], r["hangupdate"]) >= 0
        dates = [r[name] for name in ("calldate", "queuedate", "talkdate", "hangupdate") if r[name] is not None]
        assert dates == sorted(dates)
        assert r["answered"] == (r["talkdate"] is not None)
        assert r["answered"] != r["abandon"]
        assert r["answered"] or not r["sl"]
        assert r["abandon"] or not r["shortcall"]
        assert r["queued"] == (r["queuedate"] is not None) == (r["queue"] is not None) == (r["queuekey"] is not None)
        if r["queued"]:
            assert r["inbound"]
            left = r["talkdate"] if r["answered"] else r["hangupdate"]
            assert r["voicemail"] or r["waitduration"] == seconds(r["queuedate"], left)
            assert r["sl"] == (r["answered"] and r["waitduration"] <= 20)
            assert r["shortcall"] == (not r["answered"] and r["waitduration"] <= 5)
        assert r["answered"] or r["hold"] == r["holdduration"] == r["transferred"] == 0
        assert not r["answered"] or r["holdduration"] <= seconds(r["talkdate"], r["hangupdate"])
        assert (r["agent"] is None) == (r["agentid"] is None)
        assert r["agent"] is not None or not (r["answered"] or r["assigned"])


def test_the_history_tells_the_same_story(week: list[Record]) -> None:
    for r in week:
        history = r["call_history"]
        dates = [item["date"] for item in history]
        assert dates == sorted(dates)
        assert dates[0] == r["calldate"]
        assert history[-1] == {"event": "hangup", "date": r["hangupdate"]}
        at = {item["event"]: item["date"] for item in history}
        assert at.get("queue_enter") == r["queuedate"]
        assert at.get("agent_answer", at.get("answer")) == r["talkdate"]
        assert r["assigned"] == ("agent_ring" in at)
        events = Counter(item["event"] for item in history)
        assert events["hold"] == events["unhold"] == r["hold"]
        assert events["transfer"] == r["transferred"]
        assert events["voicemail"] == r["voicemail"]


def test_agents_have_one_call_at_a_time(week: list[Record]) -> None:
    calls = defaultdict(list)
    for r in week:
        if r["answered"]:
            calls[r["agentid"]].append((r["talkdate"], r["hangupdate"]))
    assert len(calls) > 20
    for talks in calls.values():
        talks.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(talks))


def test_nobody_works_two_days_in_a_row(week: list[Record]) -> None:
    # Each day is simulated alone, so an agent who still talks at midnight must not be on duty after it.
    on_duty = defaultdict(set)
    for r in week:
        on_duty[moment(r["calldate"]).date()].add(r["agentid"])
    for day, agents in on_duty.items():
        assert not (agents & on_duty.get(day + dt.timedelta(1), set())) - {None}


def test_queues_keep_their_hours(week: list[Record]) -> None:
    hours = {queue.key: queue.hours for queue in QUEUES}
    for r in week:
        if r["queued"]:
            # A caller from before the closing time may come through the menu and be queued up to half a minute after
            # it.
            called = moment(r["calldate"])
            opens, closes = hours[r["queuekey"]][called.weekday()]
            assert opens <= called.hour < closes


def test_all_kinds_of_calls_come_about(week: list[Record]) -> None:
    inbound = [r for r in week if r["inbound"]]
    offered = [r for r in inbound if r["queued"]]
    answered = [r for r in offered if r["answered"]]

    def share(part: Iterator[bool], whole: list[Record]) -> float:
        return sum(part) / len(whole)

    assert 0.80 < share((r["answered"] for r in offered), offered) < 0.97
    assert 0.60 < share((r["sl"] for r in answered), answered) < 0.97
    assert 0.005 < share((r["shortcall"] for r in offered), offered) < 0.05
    assert 0.001 < share((r["voicemail"] for r in offered), offered) < 0.03
    assert 0.02 < share((not r["queued"] for r in inbound), inbound) < 0.12
    assert 0.05 < share((not r["inbound"] for r in week), week) < 0.15
    assert 0.01 < share((r["transferred"] > 0 for r in answered), answered) < 0.08
    assert 0.05 < share((r["hold"] > 0 for r in answered), answered) < 0.25
    assert 0.10 < share((bool(r["csat_answers"]) for r in answered), answered) < 0.30
    assert 0.40 < share((bool(r["call_tags"]) for r in answered), answered) < 0.80
    assert any(r["assigned"] and not r["answered"] for r in offered)
    assert any(r["callerid"] is None for r in inbound)
    assert {answer["scale"] for r in answered for answer in r["csat_answers"]} == {5, 10}
    assert all(0 <= answer["score"] <= answer["scale"] for r in answered for answer in r["csat_answers"])


def test_legs_of_a_transferred_call_share_their_callid(week: list[Record]) -> None:
    legs = defaultdict(list)
    for r in week:
        legs[r["callid"]].append(r)
    chains = [chain for chain in legs.values() if len(chain) > 1]
    assert len(chains) == sum(1 for chain in legs.values() if any(r["transferred"] for r in chain))
    assert len(chains) > 20
    for chain in chains:
        assert len({r["callerid"] for r in chain}) == 1
        for leg, following in pairwise(chain):
            assert leg["transferred"] == 1
            assert leg["hangupdate"] == following["calldate"] == following["queuedate"]
            assert leg["queuekey"] != following["queuekey"]


def test_callers_and_crm_actions_come_again(week: list[Record]) -> None:
    callers = Counter(r["callerid"] for r in week if r["inbound"] and r["callerid"] is not None)
    assert sum(1 for count in callers.values() if count > 1) > 100
    actions = Counter(r["uniqueid"] for r in week if r["uniqueid"] is not None)
    assert max(actions.values()) > 1
    assert all(not r["inbound"] for r in week if r["uniqueid"] is not None)


def test_names_are_turkish_and_no_two_agents_alike(week: list[Record]) -> None:
    names = "".join(queue.name for queue in QUEUES) + "".join(agent_names(n)[0] for n in range(1200))
    assert set("İışŞğçÇöÖüÜ") <= set(names)
    assert len({agent_names(n) for n in range(3000)}) == len({agent_names(n)[1] for n in range(3000)}) == 3000
    usernames = {r["agentid"]: r["agent"] for r in week if r["agentid"]}
    assert len(set(usernames.values())) == len(usernames)
    assert all(username.isascii() for username in usernames.values())


def test_what_is_served_is_the_record(chain: Ask, week: list[Record]) -> None:
    centre = GeneratedCentre(seed=7, calls_per_hour=60, now=lambda: FINISHED)
    window = {"startdate": "2026-03-02 00:00:00", "finishdate": "2026-03-03 23:59:59"}

    def plain(record: Record) -> Record:
        return {name: value for name, value in record.items() if name not in ("recordingurl", "activecallkey")}

    with Sandbox(centre) as sandbox:
        pages = chain(sandbox, **window, **ARRAYS, sorting="asc")
        newest_first = chain(sandbox, **window, **ARRAYS)
    expected = [plain(r) for r in week if r["calldate"] < "2026-03-04"]
    assert [plain(r) for page in pages for r in page] == expected
    assert [plain(r) for page in newest_first for r in page] == expected[::-1]


def test_single_calls_are_found(ask: Ask, week: list[Record]) -> None:
    action, times = Counter(r["uniqueid"] for r in week if r["uniqueid"] is not None).most_common(1)[0]
    call = week[1234]
    with Sandbox(GeneratedCentre(seed=7, calls_per_hour=60, now=lambda: FINISHED)) as sandbox:
        for asked in ({"callkey": call["key"]}, {"activecallkey": call["activecallkey"]}):
            (found,) = ask(sandbox, **asked)["CallList"]
            assert found["key"] == call["key"]
            assert "activecallkey" not in found
        assert [r["uniqueid"] for r in ask(sandbox, uniqueid=action)["CallList"]] == [action] * times
        for unknown in (
            "c20260302999999",
            "c20269999000001",
            "c29990101000001",
            "c00010101000001",
            "x",
            "c\u0662\u0660260302000001",
        ):
            assert ask(sandbox, callkey=unknown)["CallList"] == []


def test_links_are_signed_anew_at_each_serving(ask: Ask) -> None:
    window = hour_window(dt.datetime(2026, 3, 2, 11))
    with Sandbox(GeneratedCentre(now=lambda: FINISHED)) as sandbox:
        first, second = (ask(sandbox, **window)["CallList"] for _ in range(2))
    links = [(a.pop("recordingurl"), b.pop("recordingurl")) for a, b in zip(first, second, strict=True)]
    assert first == second
    signed = [(a, b) for a, b in links if a is not None]
    assert signed
    assert all(a != b and a.split("?")[0] == b.split("?")[0] for a, b in signed)
    assert not any("@" in link for pair in signed for link in pair)


def test_the_future_holds_no_calls(ask: Ask, chain: Ask) -> None:
    now = dt.datetime(2026, 3, 2, 11, 30, tzinfo=ISTANBUL)
    with Sandbox(GeneratedCentre(calls_per_hour=200, now=lambda: now)) as sandbox:
        pages = chain(sandbox, startdate="2026-03-02 11:00:00", finishdate="2030-01-01 00:00:00", sorting="asc")
        assert ask(sandbox, **hour_window(now + dt.timedelta(hours=1)))["CallList"] == []
        assert ask(sandbox, **hour_window(now + dt.timedelta(days=400)))["CallList"] == []
    dates = [r["calldate"] for page in pages for r in page]
    assert "2026-03-02 11:29:00" < dates[-1] <= "2026-03-02 11:30:00"


def test_a_call_grows_into_its_final_form(chain: Ask, week: list[Record]) -> None:
    clock = [dt.datetime(2026, 3, 2, 11, 0, tzinfo=ISTANBUL)]
    window = hour_window(dt.datetime(2026, 3, 2, 11)) | ARRAYS | {"sorting": "asc"}
    stages: Counter[str] = Counter()
    with Sandbox(GeneratedCentre(seed=7, calls_per_hour=60, now=lambda: clock[0])) as sandbox:
        for minutes in [*range(3, 75, 2), 60 * 60]:
            clock[0] = dt.datetime(2026, 3, 2, 11, 0, tzinfo=ISTANBUL) + dt.timedelta(minutes=minutes)
            now = f"{clock[0]:%Y-%m-%d %H:%M:%S}"
            final = {r["key"]: r for r in week if "2026-03-02 11" <= r["calldate"] <= min(now, "2026-03-02 11:59:59")}
            seen = {r["key"]: r for page in chain(sandbox, **window) for r in page}
            assert seen.keys() == final.keys()
            for key, r in seen.items():
                end = final[key]
                assert all(r[name] is None or r[name] <= now for name in ("queuedate", "talkdate", "hangupdate"))
                assert r["call_history"] == [item for item in end["call_history"] if item["date"] <= now]
                assert r["csat_answers"] == [item for item in end["csat_answers"] if item["date"] <= now]
                assert r["answered"] == (r["talkdate"] is not None)
                if end["hangupdate"] > now:
                    stages["talking" if r["answered"] else "waiting" if r["queued"] else "calling"] += 1
                    assert r["hangupdate"] is r["duration"] is None
                    assert not r["abandon"]
                    assert not r["call_tags"]
                else:
                    changed = {n for n in r if r[n] != end[n]} - {"recordingurl"}
                    assert changed <= {"csat_answers", "call_tags"}
                    # Agents tag a call some time after it has ended.
                    untagged = bool(end["call_tags"]) and seconds(end["hangupdate"], now) < 90
                    assert r["call_tags"] == ([] if untagged else end["call_tags"])
                    stages["untagged"] += untagged
                    stages["late answers" if "csat_answers" in changed else "ended"] += 1
    assert (+stages).keys() == {"talking", "waiting", "calling", "ended", "untagged", "late answers"}
    assert [r["call_tags"] for r in seen.values()] == [r["call_tags"] for r in final.values()]
    assert [r["csat_answers"] for r in seen.values()] == [r["csat_answers"] for r in final.values()]


@pytest.mark.parametrize(
    ("day", "skipped", "hours"), [(dt.date(2026, 3, 29), {"02"}, 23), (dt.date(2026, 10, 25), set(), 25)]
)
def test_days_on_which_the_clock_changes(day: dt.date, skipped: set[str], hours: int) -> None:
    records = list(GeneratedCentre(calls_per_hour=1000, time_zone="Europe/Berlin").records(day, day))
    counts = Counter(r["calldate"][11:13] for r in records)
    assert {f"{hour:02}" for hour in range(24)} - counts.keys() == skipped
    assert {r["calldate"][:10] for r in records} == {str(day)}
    if hours == 25:
        # The repeated hour has the calls of two hours: more than its neighbours, although the night gets quieter.
        assert counts["02"] > 1.4 * counts["03"]
    keys = [r["key"] for r in records]
    assert len(set(keys)) == len(keys)
    for r in records:
        # A call over the clock change has its true duration, which its local times do not show.
        if r["calldate"][11:13] > "04":
            assert r["duration"] == seconds(r["calldate"], r["hangupdate"])


def test_answers_of_a_month_are_found_by_csat_only(chain: Ask) -> None:
    centre = GeneratedCentre(calls_per_hour=8, now=lambda: FINISHED)
    window = {"startdate": "2026-03-01 00:00:00", "finishdate": "2026-03-30 23:59:59"}
    with Sandbox(centre) as sandbox:
        pages = chain(sandbox, **window, csat_only="true", include_csat="true", sorting="asc")
    found = [r["key"] for page in pages for r in page]
    days = GeneratedCentre(calls_per_hour=8).records(dt.date(2026, 3, 1), dt.date(2026, 3, 30))
    assert found == [r["key"] for r in days if r["csat_answers"]]
    assert len(found) > 500


def test_a_centre_has_calls_from_its_opening_on(ask: Ask) -> None:
    with Sandbox(GeneratedCentre(now=lambda: FINISHED)) as sandbox:
        page = ask(sandbox, startdate="0001-01-01 00:00:00", finishdate="2010-01-01 23:59:59", sorting="asc")
    assert page["CallList"][0]["calldate"].startswith("2010-01-01")


@pytest.mark.parametrize("calls_per_hour", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_refused(calls_per_hour: float) -> None:
    with pytest.raises(ValueError, match="calls_per_hour"):
        GeneratedCentre(calls_per_hour=calls_per_hour)
