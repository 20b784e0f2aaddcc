"""What is asked for, where a chain of pages ends, and what each fault of the network or the server does to it."""

from __future__ import annotations

import gzip
import json
import logging
import pickle
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdr_assets.alotech import (
    AlotechClient,
    AlotechError,
    ClientClosedError,
    ConfigurationError,
    EndlessChainError,
    ExpiredCursorError,
    Filters,
    MalformedAnswerError,
    ParameterRejectedError,
    RepeatedCursorError,
    RequestRefusedError,
    ServiceUnavailableError,
    TokenRejectedError,
    UnreachableError,
    Window,
    WrongAddressError,
)
from cdr_assets_tests.alotech.server import (
    TOKEN,
    Action,
    Answer,
    ScriptedServer,
    page,
    record,
    refused,
    reset,
    trickle,
)

A, B, C = record("a"), record("b"), record("c")
Connect = Callable[..., AlotechClient]


def keys(pages: list[Any]) -> list[str]:
    return [r["key"] for p in pages for r in json.loads(p.body.decode(p.charset)).get("CallList") or []]


def cursors(server: ScriptedServer) -> list[str | None]:
    return [asked.get("cursor") for asked in server.asked]


class TestRequest:
    def test_window(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        client.fetch_window(hour)
        assert server.asked == [
            {
                "function": "reportsCDRLogs",
                # A second early: a server that excludes the start then still sends the window's first second.
                "startdate": "2026-03-02 04:59:59",
                "finishdate": "2026-03-02 06:00:00",
                "sorting": "asc",
                "include_call_history": "true",
                "include_csat": "true",
                "include_call_tags": "true",
                "app_token": TOKEN,
            }
        ]

    def test_filters(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        filters = Filters(
            agent="A&1", agent_username="ayşe@x.com", queue="q 1", csat_only=True, untransferred=True,
            include_call_history=False, include_csat=False, include_call_tags=False,
        )  # fmt: skip
        client.fetch_window(hour, filters, sorting="desc")
        [asked] = server.asked
        assert {name: asked.pop(name) for name in ("agent", "agent_username", "queue", "csat_only")} == {
            "agent": "A&1",
            "agent_username": "ayşe@x.com",
            "queue": "q 1",
            "csat_only": "true",
        }
        assert asked.pop("untransferred") == "true"
        assert asked.pop("sorting") == "desc"
        assert set(asked) == {"function", "startdate", "finishdate", "app_token"}

    @pytest.mark.parametrize("name", ["callkey", "activecallkey", "uniqueid"])
    def test_single_call(self, server: ScriptedServer, client: AlotechClient, name: str) -> None:
        server.answers(page([A]))
        [one] = client.fetch_call(filters=Filters(include_csat=False), **{name: "k/1"})
        [asked] = server.asked
        assert asked[name] == "k/1"
        assert "include_csat" not in asked
        assert asked["include_call_tags"] == "true"
        # The vendor demands dates even with a key: they must not leave any call out.
        assert asked["startdate"] < "2001"
        assert asked["finishdate"] > "2099"
        assert (one.window_start, one.window_finish, one.record_count) == (None, None, 1)

    @pytest.mark.parametrize("given", [{}, {"callkey": " "}, {"callkey": "a", "uniqueid": "b"}])
    def test_single_call_needs_one_key(self, server: ScriptedServer, client: AlotechClient, given: Any) -> None:
        with pytest.raises(ValueError, match="one of callkey"):
            client.fetch_call(**given)
        assert not server.asked

    @pytest.mark.parametrize(
        ("start", "finish"),
        [
            (datetime(2026, 3, 2, 5), datetime(2026, 3, 2, 5)),
            (datetime(2026, 3, 2, 6), datetime(2026, 3, 2, 5)),
            (datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 2, 6, tzinfo=UTC)),
            (datetime(2026, 3, 2, 5), datetime(2026, 3, 2, 6, microsecond=1)),
        ],
    )
    def test_a_window_that_the_wire_cannot_say(self, start: datetime, finish: datetime) -> None:
        with pytest.raises(ValueError, match="window"):
            Window(start, finish)

    def test_other_values_that_the_wire_cannot_say(self, client: AlotechClient, hour: Window) -> None:
        with pytest.raises(ValueError, match="sorting"):
            client.fetch_window(hour, sorting="up")
        with pytest.raises(ValueError, match="queue is blank"):
            Filters(queue=" ")

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://tenant.example/api/", "plain http"),
            ("http://10.0.0.1/api/", "plain http"),
            ("http://127.0.0.1.example/api/", "plain http"),
            ("ftp://tenant.example/", "must begin with https"),
            ("tenant", "must begin with https"),
            ("", "must begin with https"),
            ("https://", "must begin with https"),
            ("https://[::1", "not an address"),
            ("https://tenant.example:port/", "not an address"),
            ("https://a b/", "not an address"),
            ("https://user:hidden@tenant.example/", "no user"),
            ("https://tenant.example/api/?app_token=hidden", "no user, query"),
        ],
    )
    def test_addresses_that_are_not_used(self, url: str, words: str) -> None:
        with pytest.raises(ConfigurationError, match=words) as caught:
            AlotechClient(url, TOKEN)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["https://tenant.example/api/", "http://127.8.9.1:80/", "http://[::1]/api", "http://localhost"]
    )
    def test_addresses_that_are_used(self, url: str) -> None:
        AlotechClient(url, TOKEN).close()

    def test_no_token(self, server: ScriptedServer) -> None:
        with pytest.raises(ConfigurationError, match="set ALOTECH_APP_TOKEN"):
            AlotechClient(server.url, " ")


class TestChain:
    def test_pages(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.answers(page([A, B], "c1+/="), page([C]))
        before = datetime.now(UTC)
        pages = client.fetch_window(hour)
        assert keys(pages) == ["a", "b", "c"]
        assert cursors(server) == [None, "c1+/="]
        # All other parameters stay the same: a cursor belongs to its query.
        assert {k: v for k, v in server.asked[1].items() if k != "cursor"} == server.asked[0]
        for number, one in enumerate(pages):
            assert one.number == number
            assert (one.window_start, one.window_finish) == (hour.start, hour.finish)
            assert one.record_count == 2 - number
            assert one.attempts == 1
            assert before <= one.fetched_at <= datetime.now(UTC)
            assert one.fetched_at.utcoffset() == timedelta(0)
            assert one.charset == "utf-8"

    @pytest.mark.parametrize("cursor", [None, "", "  ", "none", "null", False])
    def test_ends_without_a_cursor(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, cursor: Any
    ) -> None:
        server.answers(page([A], "c1"), page([B], cursor))
        assert keys(client.fetch_window(hour)) == ["a", "b"]

    @pytest.mark.parametrize(
        ("tail", "expected"),
        [
            # The last page has a cursor too, and nothing comes after it.
            ([page([])], "a"),
            ([page([], "c1")], "a"),
            ([Answer(b'{"CallList": null}')], "a"),
            ([Answer(b'{"cursor": null}')], "a"),
            ([Answer(b'{"success": true}')], "a"),
            # One empty page with a new cursor is a stretch without calls; two of them in a row are the end.
            ([page([], "c2"), page([B])], "ab"),
            ([page([], "c2"), page([B], "c3"), page([], "c4"), page([C])], "abc"),
            ([page([], "c2"), page([], "c3")], "a"),
        ],
    )
    def test_ends_at_emptiness(
        self,
        server: ScriptedServer,
        client: AlotechClient,
        hour: Window,
        tail: list[Action],
        expected: str,
    ) -> None:
        server.answers(page([A], "c1"), *tail)
        assert "".join(keys(client.fetch_window(hour))) == expected
        assert len(server.asked) == 1 + len(tail)

    def test_an_empty_window(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.answers(page([]))
        [one] = client.fetch_window(hour)
        assert one.record_count == 0

    @pytest.mark.parametrize("pattern", [["c1", "c1"], ["c1", "c2", "c1"]])
    def test_a_cursor_that_comes_back(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, pattern: list[str]
    ) -> None:
        server.answers(*(page([record(str(n))], cursor) for n, cursor in enumerate(pattern)))
        with pytest.raises(RepeatedCursorError, match=f"^calls from .*, page {len(pattern) - 1}: ") as caught:
            client.fetch_window(hour)
        assert "c1" not in str(caught.value)
        assert len(server.asked) == len(pattern)

    def test_a_chain_that_never_ends(self, server: ScriptedServer, connect: Connect, hour: Window) -> None:
        server.script = lambda _: page([A], f"c{len(server.asked)}")
        with pytest.raises(EndlessChainError, match="after 20 pages"):
            connect(server.url, max_pages=20).fetch_window(hour)
        assert len(server.asked) == 20

    def test_a_single_call_over_pages(self, server: ScriptedServer, client: AlotechClient) -> None:
        server.answers(page([A], "c1"), page([B]))
        assert keys(client.fetch_call(uniqueid="crm-7")) == ["a", "b"]
        assert cursors(server) == [None, "c1"]


def calls(*seconds: int) -> list[dict[str, Any]]:
    return [record(f"k{second}", f"2026-03-02 05:{second // 60:02}:{second % 60:02}") for second in seconds]


NO = refused("cursor has expired")


class TestExpiredCursor:
    @pytest.mark.parametrize(
        "answer",
        [NO, refused("Invalid parameter"), refused("Page token expired"), Answer(b"", 400, {}), Answer(b"", 410, {})],
    )
    def test_the_rest_is_asked_for_from_the_second_of_the_last_call(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, answer: Answer
    ) -> None:
        first, second, rest = calls(*range(0, 60, 10)), calls(60, 70, 80), calls(80, 90)
        server.answers(page(first, "c1"), page(second, "c2"), answer, page(rest, "d1"), page(calls(95)))
        pages = client.fetch_window(hour)
        assert cursors(server) == [None, "c1", "c2", None, "d1"]
        asked = [(one["startdate"], one["finishdate"]) for one in server.asked]
        assert (
            asked
            == [("2026-03-02 04:59:59", "2026-03-02 06:00:00")] * 3
            + [("2026-03-02 05:01:19", "2026-03-02 06:00:00")] * 2
        )
        # The call at the border came twice; only the later page has it in its window.
        border = datetime(2026, 3, 2, 5, 1, 20)
        assert [(p.window_start, p.window_finish) for p in pages] == [(hour.start, border)] * 2 + [
            (border, hour.finish)
        ] * 2
        assert [p.number for p in pages] == [0, 1, 2, 3]
        assert [p.attempts for p in pages] == [1, 1, 2, 1]

    def test_it_goes_on_for_as_long_as_something_new_comes(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        def script(asked: dict[str, str]) -> Action:
            if "cursor" in asked:
                return NO
            start = datetime.fromisoformat(asked["startdate"]) - hour.start
            listed = [n for n in range(0, 3600, 10) if n >= start.total_seconds()]
            return page(calls(*listed[:20]), "c" if len(listed) > 20 else None)

        server.script = script
        pages = client.fetch_window(hour)
        assert set(keys(pages)) == {f"k{n}" for n in range(0, 3600, 10)}
        assert len(pages) == 19
        assert sum(p.attempts for p in pages) == len(server.asked) == 19 + 18

    def test_more_calls_of_one_second_than_a_page_holds(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        tied = [record(f"t{n}", "2026-03-02 05:00:30") for n in range(9)]
        server.answers(
            *(page([*calls(*range(20)), *tied[:2]], "c1"), NO),
            # The same second is asked for again; its cursor is refused too, so that it is begun anew.
            *(page(tied[:4], "d1"), NO, page(tied[:4], "e1"), page(tied[4:8], "e2"), page([*tied[8:], *calls(31)])),
        )
        pages = client.fetch_window(hour)
        assert cursors(server) == [None, "c1", None, "d1", None, "e1", "e2"]
        assert [p.record_count for p in pages] == [22, 4, 4, 2]
        assert sum(p.attempts for p in pages) == len(server.asked)

    def test_nothing_new_ends_in_an_error_of_its_own(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        tied = [record(f"t{n}", "2026-03-02 05:00:30") for n in range(9)]
        server.script = lambda asked: NO if "cursor" in asked else page([*calls(*range(20)), *tied], "c1")
        with pytest.raises(ExpiredCursorError) as caught:
            client.fetch_window(hour)
        assert str(caught.value) == (
            "calls from 2026-03-02 05:00:30 to 2026-03-02 06:00:00, page 2 (begun anew 2 times): the cursor is refused "
            'each time before anything new comes (AloTech says "cursor has expired"); run it again later; if it '
            "stays, report to AloTech that its cursors expire too soon"
        )
        assert len(server.asked) == 8

    @pytest.mark.parametrize(
        ("first", "how"),
        [
            (calls(*range(20)), {"sorting": "desc"}),
            (calls(*range(20)), {"in_slices": False}),
            # Nothing says how far the calls have come, or that they are in the order of time at all.
            ([record(f"k{n}", "soon") for n in range(20)], {}),
            ([record(f"k{n}", f"2026-03-02T05:00:{n:02}+03:00") for n in range(20)], {}),
            ([record(f"k{n}") for n in range(20)], {}),
            (calls(1, 2, 3), {}),
            (calls(*range(20), 15), {}),
            (calls(*range(20, 0, -1)), {}),
        ],
    )
    def test_the_chain_is_begun_anew_where_it_cannot_go_on(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, first: Any, how: Any
    ) -> None:
        server.answers(page(first, "c1"), page([B], "c2"), NO, page([A], "d1"), page([B], "d2"), page([C]))
        pages = client.fetch_window(hour, **how)
        assert keys(pages) == ["a", "b", "c"]
        assert cursors(server) == [None, "c1", "c2", None, "d1", "d2"]
        assert len({one["startdate"] for one in server.asked}) == 1
        assert [p.number for p in pages] == [0, 1, 2]
        # The requests for the pages that were dropped count too.
        assert [p.attempts for p in pages] == [4, 1, 1]

    def test_what_lies_outside_or_comes_again_says_nothing_of_the_order(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        ten = calls(*range(10))
        odd = [record("before", "2026-03-01 05:00:00"), *ten, record("after", "2026-03-03 05:00:00"), ten[0], 7, {}]
        server.answers(page(odd, "c1"), NO, page(calls(9, 11)))
        pages = client.fetch_window(hour)
        assert server.asked[-1]["startdate"] == "2026-03-02 05:00:08"
        assert len(pages) == 2

    def test_an_order_that_breaks_later_begins_the_window_anew(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        whole = [page(calls(*range(20)), "d1"), page(calls(50, 45, 5))]
        server.answers(page(calls(*range(20)), "c1"), NO, page(calls(19, 50, 45)), *whole)
        pages = client.fetch_window(hour)
        assert cursors(server) == [None, "c1", None, None, "d1"]
        assert {(p.window_start, p.window_finish) for p in pages} == {(hour.start, hour.finish)}
        assert sum(p.attempts for p in pages) == 5

    def test_unknown_words_are_tried_again_first_and_believed_while_something_new_comes(
        self, server: ScriptedServer, connect: Connect, hour: Window
    ) -> None:
        no = refused("olmadı")
        client = connect(server.url, max_attempts=2, max_concurrency=1)
        server.answers(
            *(page(calls(*range(20)), "c1"), no, no),
            *(page(calls(*range(19, 40)), "d1"), no, no),
            *(page(calls(*range(39, 60)), "e1"), no, no),
            *(page(calls(*range(59, 80)), "f1"), no, no),
            page(calls(79, 80)),
        )
        pages = client.fetch_window(hour)
        assert [p.attempts for p in pages] == [1, 3, 3, 3, 3]
        assert set(keys(pages)) == {f"k{n}" for n in range(81)}
        server.script = lambda asked: no if "cursor" in asked else page(calls(*range(50, 30, -1)), "c1")
        with pytest.raises(RequestRefusedError, match=r"\(begun anew 2 times\): AloTech says \"olmadı\" \(2 tries\)"):
            client.fetch_window(hour, sorting="desc")

    def test_what_is_left_may_be_refused_too(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.answers(page(calls(*range(20)), "c1"), NO, refused("invalid startdate"))
        with pytest.raises(ParameterRejectedError, match=r"^calls from 2026-03-02 05:00:19"):
            client.fetch_window(hour)

    def test_a_single_call_is_begun_anew_twice(self, server: ScriptedServer, client: AlotechClient) -> None:
        server.script = lambda asked: NO if "cursor" in asked else page([A], "c1")
        with pytest.raises(ExpiredCursorError, match=r"^call with uniqueid crm-7, page 1 \(begun anew 2 times\)"):
            client.fetch_call(uniqueid="crm-7")
        assert cursors(server) == [None, "c1"] * 3

    def test_a_token_refused_in_mid_chain_is_final(
        self, server: ScriptedServer, client: AlotechClient, hour: Window
    ) -> None:
        server.answers(page([A], "c1"), refused("invalid token"))
        with pytest.raises(TokenRejectedError, match="page 1"):
            client.fetch_window(hour)
        assert len(server.asked) == 2

    @pytest.mark.parametrize("separator", ["/", "."])
    def test_dates_of_other_spellings_tell_how_far_it_came(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, separator: str
    ) -> None:
        def spelled(*seconds: int) -> list[dict[str, str]]:
            return [call | {"calldate": call["calldate"].replace("-", separator)} for call in calls(*seconds)]

        server.answers(page(spelled(*range(20)), "c1"), NO, page(spelled(19, 20)))
        assert set(keys(client.fetch_window(hour))) == {f"k{n}" for n in range(21)}
        assert server.asked[2]["startdate"] == "2026-03-02 05:00:18"


class TestBudget:
    def test_large_pages_without_end(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        body = b'{"CallList": [{"key": "a"%s}], "cursor": "%%d"}' % (b" " * 30_000_000)
        server.script = lambda _: Answer(body % len(server.asked))
        with pytest.raises(
            EndlessChainError, match="page 8: the pages take more than 256 MB together; fetch a shorter"
        ):
            client.fetch_window(hour)
        assert len(server.asked) == 9

    def test_slices_share_it_and_what_is_dropped_is_given_back(
        self,
        server: ScriptedServer,
        connect: Connect,
        client: AlotechClient,
        hour: Window,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("cdr_assets.alotech.chain._MAX_BYTES", 3_500_000)
        large = record("a", note=" " * 1_000_000)
        server.answers(page([large], "c1"), page([large], "c2"), NO, *(page([large], f"d{n}") for n in range(4)))
        with pytest.raises(EndlessChainError, match=r"page 3 .*: the pages take more than 3 MB together"):
            connect(server.url, max_concurrency=1).fetch_window(hour)
        assert len(server.asked) == 7

        for name in ("_SLOW_PAGE", "_BUSY_PAGES", "_PAGES_PER_SLICE"):
            monkeypatch.setattr(f"cdr_assets.alotech.client.{name}", 1e-9 if name == "_SLOW_PAGE" else 1)
        # Two pages first, then slices of one page each. Each slice alone is within the budget.
        server.script = lambda _: page([large, *calls(600)], f"c{len(server.asked)}" if len(server.asked) < 3 else None)
        server.asked.clear()
        with pytest.raises(EndlessChainError, match="page 0: the pages take more than 3 MB together"):
            client.fetch_window(hour)


PASSING: dict[str, Action] = {
    "429": Answer(b"", 429, {"Retry-After": "7"}),
    "500": Answer(b"<html>", 500),
    "502": Answer(b"", 502, {}),
    "503": Answer(b"", 503, {"Retry-After": "Mon, 02 Mar 2026 05:00:00 GMT"}),
    "reset": reset,
    "cut off": Answer(page([A], "c9").body, cut=20),
    "cut off, compressed": Answer(page([A], "c9").body, gzipped=True, cut=30),
    "cut-off JSON": Answer(page([A], "c9").body[:-5]),
    "not gzip": Answer(page([A]).body, headers={"Content-Encoding": "gzip"}),
    "html": Answer(b"<html><body>maintenance</body></html>"),
    "empty": Answer(b""),
    "another shape": Answer(b'{"status": "starting"}'),
    "message": refused("please wait"),
}


class TestFaults:
    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize("fault", PASSING)
    def test_a_passing_fault_costs_a_try(
        self,
        server: ScriptedServer,
        client: AlotechClient,
        hour: Window,
        fault: str,
        position: int,
        pauses: list[float],
    ) -> None:
        answers: list[Action] = [page([A], "c1"), page([B], "c2"), page([C])]
        answers[position:position] = [PASSING[fault], PASSING[fault]]
        server.answers(*answers)
        pages = client.fetch_window(hour)
        assert keys(pages) == ["a", "b", "c"]
        assert [p.attempts for p in pages] == [3 if n == position else 1 for n in range(3)]
        assert len(pauses) == 2
        assert all(pause > 0 for pause in pauses)

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("429", ServiceUnavailableError),
            ("503", ServiceUnavailableError),
            ("reset", UnreachableError),
            ("cut off", UnreachableError),
            ("html", MalformedAnswerError),
            ("not gzip", MalformedAnswerError),
            ("message", RequestRefusedError),
        ],
    )
    def test_a_lasting_fault_ends_in_one_clear_line(
        self,
        server: ScriptedServer,
        client: AlotechClient,
        hour: Window,
        fault: str,
        kind: type[AlotechError],
        pauses: list[float],
    ) -> None:
        server.script = lambda _: PASSING[fault]
        with pytest.raises(kind) as caught:
            client.fetch_window(hour)
        assert len(server.asked) == 5
        assert len(pauses) == 4
        error = caught.value
        assert str(error).startswith("calls from 2026-03-02 05:00:00 to 2026-03-02 06:00:00, page 0: ")
        assert "(5 tries); run it again" in str(error) or "(5 tries); check the network" in str(error)
        assert "\n" not in str(error)
        assert error.retryable
        assert error.attempts == 5

    @pytest.mark.parametrize(
        ("answer", "kind", "words"),
        [
            (refused("Invalid token"), TokenRejectedError, 'AloTech says "Invalid token"; set ALOTECH_APP_TOKEN'),
            (refused("Hatalı tarih"), ParameterRejectedError, 'AloTech says "Hatalı tarih"; correct the filters'),
            (Answer(b"", 403, {}), TokenRejectedError, "HTTP 403"),
            (Answer(b"", 404, {}), WrongAddressError, "HTTP 404; check ALOTECH_TENANT"),
        ],
    )
    def test_what_a_retry_cannot_mend_is_not_retried(
        self,
        server: ScriptedServer,
        client: AlotechClient,
        hour: Window,
        answer: Answer,
        kind: type[AlotechError],
        words: str,
    ) -> None:
        server.answers(answer)
        with pytest.raises(kind) as caught:
            client.fetch_window(hour)
        assert words in str(caught.value)
        assert not caught.value.retryable
        assert len(server.asked) == 1

    def test_pauses_grow_and_are_never_shorter_than_asked_for(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, pauses: list[float]
    ) -> None:
        asks = Answer(b"", 429, {"Retry-After": "40"})
        server.answers(Answer(b"", 503, {}), Answer(b"", 503, {}), Answer(b"", 503, {}), asks, page([]))
        client.fetch_window(hour)
        # They double from half a second on, each with up to a second of jitter.
        assert [0.5 * 2**n <= pause <= 0.5 * 2**n + 1 for n, pause in enumerate(pauses[:3])] == [True] * 3
        assert pauses[3] == 40

    def test_each_retry_is_told(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.answers(page([A], "c1"), Answer(b"", 503, {}), page([]))
        with caplog.at_level(logging.WARNING, logger="cdr_assets.alotech"):
            client.fetch_window(hour)
        [told] = caplog.messages
        assert told.startswith("calls from 2026-03-02 05:00:00 to 2026-03-02 06:00:00, page 1: the answer is HTTP 503")

    def test_a_single_call_is_named_in_its_error(self, server: ScriptedServer, client: AlotechClient) -> None:
        server.answers(refused("callkey is not valid"))
        with pytest.raises(ParameterRejectedError, match=r"^call with callkey k 1, page 0: AloTech says"):
            client.fetch_call(callkey="k\n1")

    def test_errors_survive_pickling(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        server.answers(Answer(b"", 302, {"Location": "https://elsewhere.example/"}))
        with pytest.raises(WrongAddressError) as caught:
            client.fetch_window(hour)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is WrongAddressError
        assert str(copy) == str(caught.value)


class TestBodies:
    @pytest.mark.parametrize("how", [{}, {"gzipped": True}, {"chunked": True}, {"gzipped": True, "chunked": True}])
    def test_encodings(self, server: ScriptedServer, client: AlotechClient, hour: Window, how: dict[str, bool]) -> None:
        sent = page([A, B], **how)
        server.answers(sent)
        [one] = client.fetch_window(hour)
        assert one.body == sent.body

    def test_a_page_of_5_mb(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        sent = page([record(str(n), note="ğ" * 25_000) for n in range(34)], gzipped=True)
        assert len(sent.body) > 5_000_000
        server.answers(sent)
        [one] = client.fetch_window(hour)
        assert one.body == sent.body

    @pytest.mark.parametrize(
        "body",
        [
            Answer(b"x" * 2_000_000),
            Answer(b"x" * 2_000_000, chunked=True),
            # 2 KB over the network, 2 MB in memory.
            Answer(b"x" * 2_000_000, gzipped=True),
            trickle(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000),
            # http.client takes -1 for "to the end of the connection".
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 100_000),
        ],
        ids=["length", "chunks", "compressed", "no length", "chunk of a negative length"],
    )
    def test_a_body_beyond_all_measure(
        self,
        server: ScriptedServer,
        client: AlotechClient,
        hour: Window,
        body: Action,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("cdr_assets.alotech.wire._LARGEST_BODY", 1 << 20)
        server.answers(body, page([A]))
        with pytest.raises(MalformedAnswerError, match="longer than 1 MB"):
            client.fetch_window(hour)
        # The rest of that body must not be read as the answer to the next request.
        assert keys(client.fetch_window(hour)) == ["a"]

    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 1000\r\n\r\n",
            b"Content-Length: 999999999999999\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        ],
    )
    def test_a_length_that_is_not_true(
        self, server: ScriptedServer, client: AlotechClient, hour: Window, head: bytes
    ) -> None:
        def lie(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + page([A]).body)
            raise ConnectionAbortedError

        server.answers(lie, page([B]))
        assert keys(client.fetch_window(hour)) == ["b"]

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_compressed(self, server: ScriptedServer, client: AlotechClient, hour: Window, encoding: str) -> None:
        whole = page([A]).body
        in_parts = gzip.compress(whole[:9]) + gzip.compress(whole[9:])
        packed = {"gzip": in_parts, "deflate": zlib.compress(whole)}[encoding]
        server.answers(Answer(packed, headers={"Content-Encoding": encoding}))
        [one] = client.fetch_window(hour)
        assert one.body == whole

    def test_charset(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        text = '{"CallList": [{"key": "Çağrı"}]}'
        server.answers(Answer(text.encode("windows-1254"), headers={"Content-Type": "application/json"}))
        [one] = client.fetch_window(hour)
        assert one.charset == "windows-1254"
        assert one.body.decode(one.charset) == text


class TestPing:
    def test_it_answers(self, server: ScriptedServer, client: AlotechClient) -> None:
        server.answers(Answer(b'{"success": true, "message": "pong"}'))
        client.ping()
        assert server.asked == [{"function": "ping", "app_token": TOKEN}]

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused("invalid token"), TokenRejectedError),
            (Answer(b"", 503, {}), ServiceUnavailableError),
            (Answer(b"<html>"), MalformedAnswerError),
            (reset, UnreachableError),
        ],
    )
    def test_one_request_tells(
        self, server: ScriptedServer, client: AlotechClient, answer: Action, kind: type[AlotechError]
    ) -> None:
        server.answers(answer)
        with pytest.raises(kind, match=r"^ping: "):
            client.ping()
        assert len(server.asked) == 1


class TestClosing:
    def test_a_closed_client_sends_nothing(self, server: ScriptedServer, client: AlotechClient, hour: Window) -> None:
        client.close()
        with pytest.raises(ClientClosedError):
            client.fetch_window(hour)
        assert not server.asked

    def test_closing_ends_a_pause(self, server: ScriptedServer, hour: Window) -> None:
        first, second = threading.Event(), threading.Event()

        def script(_: dict[str, str]) -> Action:
            (second if first.is_set() else first).set()
            return Answer(b"", 503, {"Retry-After": "60"})

        server.script = script
        with AlotechClient(server.url, TOKEN, requests_per_second=0) as client, ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(client.fetch_window, hour)
            assert first.wait(20)
            # The client is in the pause of a minute now and sends nothing. Closing it ends the pause.
            assert not second.wait(0.05)
            client.close()
            with pytest.raises(ClientClosedError):
                fetching.result()
        assert len(server.asked) == 1
