"""The guard before the UI, in a real browser: the UI works behind it, and pages of other sites can do nothing.

What the guard refuses, request by request, is in `orchestration/test_guard.py`.
"""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from cdr_assets_tests.ui.conftest import CALLS_AN_HOUR, Dev, open_dialog

pytestmark = pytest.mark.campaign

_LAUNCH = """mutation { launchRun(executionParams: {selector: {
    repositoryLocationName: "cdr_assets", repositoryName: "__repository__", jobName: "freshness"
}}) { __typename } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"

# Everything that a page may do to another site: pictures, scripts, frames, forms, fetch and WebSockets.
_ATTACKS = """
async ([ui, mutation]) => {
    const told = {};
    const inAddress = `${ui}/graphql?query=${encodeURIComponent(mutation)}`;
    const element = (name, attributes) => new Promise(done => {
        const made = Object.assign(document.createElement(name), attributes);
        made.onload = made.onerror = () => done();
        document.body.append(made);
        setTimeout(done, 5000);
    });
    await element("img", {src: inAddress});
    await element("script", {src: inAddress});
    const form = Object.assign(document.createElement("form"), {method: "POST", action: inAddress, target: "frame"});
    const frame = element("iframe", {name: "frame"});
    document.body.append(form);
    form.submit();
    await frame;
    for (const type of ["text/plain; application/json", "application/x-www-form-urlencoded"]) {
        await fetch(inAddress, {
            method: "POST", mode: "no-cors", headers: {"Content-Type": type}, body: JSON.stringify({query: mutation}),
        }).catch(() => null);
    }
    told.fetch = await fetch(`${ui}/graphql`, {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({query: mutation}),
    }).then(answer => answer.status).catch(() => "blocked");
    told.socket = await new Promise(done => {
        const socket = new WebSocket(ui.replace("http", "ws") + "/graphql", "graphql-ws");
        socket.onopen = () => done("open");
        socket.onclose = () => done("closed");
    });
    return told;
}
"""


@contextmanager
def _other_site() -> Iterator[int]:
    """Another web server of this machine, with an empty page; the browser also knows it as evil.example."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body></body>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _runs(dev: Dev) -> dict[str, str]:
    return {run["runId"]: run["status"] for run in dev.ask(_RUNS)["runsOrError"]["results"]}


def test_a_run_is_launched_in_the_browser_and_its_events_arrive_as_they_happen(page: Any, dev: Dev) -> None:
    refused, frames = [], []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)
    page.on("websocket", lambda channel: channel.on("framereceived", lambda payload: frames.append(str(payload))))
    dev.refused.mended = True
    dev.refused.holds_all = True
    try:
        dialog = open_dialog(page, dev)
        box = dialog.locator("input[type=text]").first
        box.fill(dev.keys[0])
        box.press("Enter")
        dialog.get_by_role("button", name="Launch 1 run").click()
        dev.wait_for(lambda: "STARTED" in _runs(dev).values(), "the run to start")
        [run_id] = _runs(dev)
        page.goto(f"{dev.address}/runs/{run_id}")
        page.get_by_text("STEP_START", exact=True).first.wait_for()
        assert not page.get_by_text("RUN_SUCCESS", exact=True).count()
    finally:
        dev.refused.holds_all = False
    # The page is not loaded again.
    page.get_by_text("RUN_SUCCESS", exact=True).first.wait_for()
    assert any("RunSuccessEvent" in frame for frame in frames)
    assert dev.published() == {dev.hours[0]: CALLS_AN_HOUR}
    for path in ("", "/assets", "/runs", "/automation", "/deployment/locations", "/graphql", "/asset-groups"):
        page.goto(f"{dev.address}{path}")
        page.wait_for_load_state("networkidle")
    assert refused == []


@pytest.mark.parametrize("name", ["evil.example", "localhost", "127.0.0.1"])
def test_a_page_of_another_site_launches_nothing_and_reads_nothing(page: Any, dev: Dev, name: str) -> None:
    before = _runs(dev)
    with _other_site() as port:
        page.goto(f"http://{name}:{port}/")
        told = page.evaluate(_ATTACKS, [dev.address, _LAUNCH])
        assert _runs(dev) == before
        assert told == {"fetch": "blocked", "socket": "closed"}
        # It cannot show the UI in a frame either, where the operator could click what he does not see.
        page.set_content(f'<iframe src="{dev.address}/runs"></iframe>')
        page.wait_for_timeout(2000)
        assert "Dagster" not in page.frames[-1].content()


def test_a_name_that_is_pointed_at_this_machine_opens_nothing(page: Any, dev: Dev) -> None:
    before = _runs(dev)
    told = page.goto(dev.address.replace("127.0.0.1", "evil.example"))
    assert told.status == 403
    assert f"open {dev.address}" in page.content()
    attack = """async ([query]) => (await fetch("/graphql", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({query}),
    })).status"""
    assert page.evaluate(attack, [_LAUNCH]) == 403
    assert _runs(dev) == before


def test_a_link_launches_nothing(page: Any, dev: Dev) -> None:
    before = _runs(dev)
    assert page.goto(f"{dev.address}/graphql?query={quote(_LAUNCH)}").status == 403
    assert _runs(dev) == before
