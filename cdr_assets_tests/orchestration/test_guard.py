"""The guard around Dagster's own web server, over real sockets: attackers try to delete a run and to read its events.

That `cdr dev` starts the web server behind the guard is shown in `processes/test_dev.py`, and with a browser in `ui`.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from dagster import DagsterInstance, job
from dagster_webserver.app import create_app_from_workspace_process_context
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cdr_assets.domain.project import PROJECT
from cdr_assets.orchestration.guard import App, Receive, Scope, Send, guard
from cdr_assets.orchestration.private import WorkspaceProcessContext

EVIL = "http://evil.example"
EVENT = "an event that only the operator may read"
SUBSCRIPTION = """subscription($run: ID!) { pipelineRunLogs(runId: $run) {
    ... on PipelineRunLogsSubscriptionSuccess { messages { ... on MessageEvent { message } } }
} }"""


@job
def nothing() -> None:
    pass


@dataclass
class Ui:
    """A web server of Dagster, on 127.0.0.1 and [::1], and a run in its instance."""

    port: int
    instance: DagsterInstance
    run_id: str

    @classmethod
    def with_a_run(cls, port: int, instance: DagsterInstance) -> "Ui":
        run = instance.create_run_for_job(nothing)
        instance.report_engine_event(EVENT, run)
        return cls(port, instance, run.run_id)

    @property
    def deletion(self) -> str:
        return f'mutation {{ deleteRun(runId: "{self.run_id}") {{ __typename }} }}'

    def has_run(self) -> bool:
        return self.instance.has_run(self.run_id)

    def send(self, request: str, *headers: str, body: str = "", name: str = "127.0.0.1") -> tuple[int, str, str]:
        """Sends the request line and headers as they are; returns status, headers and body of the answer."""
        lines = [*headers, "Connection: close", *([f"Content-Length: {len(body)}"] if body else [])]
        with socket.create_connection((name, self.port), timeout=30) as connection:
            connection.sendall("\r\n".join([request, *lines, "", body]).encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        head, _, told = answer.partition("\r\n\r\n")
        return int(head.split()[1]), head, told

    def post(self, *headers: str, host: str = "", query: str = "{ version }", name: str = "127.0.0.1") -> int:
        host = host or f"127.0.0.1:{self.port}"
        body = json.dumps({"query": query})
        request = "POST /graphql HTTP/1.1"
        return self.send(request, f"Host: {host}", "Content-Type: application/json", *headers, body=body, name=name)[0]

    @contextmanager
    def subscribe(self, host: str = "", name: str = "127.0.0.1", **options: Any) -> Iterator[ClientConnection]:
        """A WebSocket on which the server sends the run's events."""
        start = {"query": SUBSCRIPTION, "variables": {"run": self.run_id}}
        reached = socket.create_connection((name, self.port), timeout=30)
        uri = f"ws://{host or f'127.0.0.1:{self.port}'}/graphql"
        with connect(uri, sock=reached, subprotocols=["graphql-ws"], proxy=None, **options) as channel:
            channel.send(json.dumps({"id": "1", "type": "start", "payload": start}))
            yield channel


@contextmanager
def serving(app: App) -> Iterator[int]:
    """Serves the application on one port of 127.0.0.1 and, where the machine has it, of [::1]."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0)))]
        port = int(sockets[0].getsockname()[1])
        if _has_ipv6():
            sockets.append(stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6)))
        # With "on", the server does not start unless the application answers to its lifespan.
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="critical"))
        thread = threading.Thread(target=server.run, args=(sockets,))
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield port
        server.should_exit = True
        thread.join()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DagsterInstance, Any]]:
    with (
        DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance,
        WorkspaceProcessContext(instance, None) as context,
    ):
        yield instance, create_app_from_workspace_process_context(context)


@pytest.fixture(scope="module")
def ui(dagster: tuple[DagsterInstance, Any]) -> Iterator[Ui]:
    instance, app = dagster
    with serving(guard(app)) as port:
        yield Ui.with_a_run(port, instance)


@pytest.fixture
def unguarded(dagster: tuple[DagsterInstance, Any]) -> Iterator[Ui]:
    instance, app = dagster
    with serving(app) as port:
        yield Ui.with_a_run(port, instance)


def test_without_the_guard_any_page_deletes_runs_and_reads_events(unguarded: Ui) -> None:
    """If this fails, Dagster refuses by itself, and the guard may have become superfluous."""
    with unguarded.subscribe("evil.example", origin=EVIL) as channel:
        assert EVENT in str(channel.recv(timeout=30))
    told = unguarded.send(
        f"GET /graphql?query={quote(unguarded.deletion)} HTTP/1.1", "Host: evil.example", f"Origin: {EVIL}"
    )
    assert told[0] == 200
    assert not unguarded.has_run()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_the_ui_and_programs_of_this_machine_pass(ui: Ui, name: str) -> None:
    if name == "[::1]" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    ui = Ui.with_a_run(ui.port, ui.instance)
    own = f"{name}:{ui.port}"
    reached = "::1" if name == "[::1]" else "127.0.0.1"
    status, _, page = ui.send("GET / HTTP/1.1", f"Host: {own}", "Accept: text/html", name=reached)
    assert (status, "<html" in page) == (200, True)
    # The playground of GraphQL.
    assert ui.send("GET /graphql HTTP/1.1", f"Host: {own}", "Accept: text/html", name=reached)[0] == 200
    assert ui.post(f"Origin: http://{own.lower()}", host=own, name=reached) == 200
    with ui.subscribe(own, reached, origin=f"http://{own.lower()}") as channel:
        assert EVENT in str(channel.recv(timeout=30))
    with ui.subscribe(own, reached) as channel:
        assert EVENT in str(channel.recv(timeout=30))
    assert ui.post(host=own, query=ui.deletion, name=reached) == 200
    assert not ui.has_run()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}0", "localhost.:{port}",
        "127.0.0.1:{port}:{port}", "127.0.0.1:{port}/", "http://127.0.0.1:{port}", "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example", "evil@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "0.0.0.0:{port}", "127.1:{port}", "2130706433:{port}", "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "::1:{port}",
        "127.0.0.1:{port}, evil.example", "127.0.0.1:{port}\xa0", "",
    ],
)  # fmt: skip
def test_a_foreign_host_is_refused(ui: Ui, host: str) -> None:
    host = host.format(port=ui.port)
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        status, _, told = ui.send(f"{method} / HTTP/1.1", f"Host: {host}")
        assert status == 403
        if method != "HEAD":
            assert told == (
                f"the header Host is {host!r}, and the UI answers to this machine alone; "
                f"open http://127.0.0.1:{ui.port}\n"
            )
    assert ui.post(f"Origin: http://{host}", host=host, query=ui.deletion) == 403
    assert ui.has_run()


def test_several_hosts_or_none_are_refused(ui: Ui) -> None:
    own = f"Host: 127.0.0.1:{ui.port}"
    status, _, told = ui.send("GET / HTTP/1.0")
    assert (status, told.split(",")[0]) == (403, "the header Host is missing")
    for hosts in ((own, own), (own, "Host: evil.example"), ("Host: evil.example", own), ("X-Forwarded-Host: " + own,)):
        # Some servers answer 400 themselves.
        assert ui.send("GET / HTTP/1.1", *hosts)[0] in (400, 403)


def test_an_address_in_the_request_line_does_not_replace_the_host(ui: Ui) -> None:
    """The form in which browsers ask proxies."""
    for target in (f"http://127.0.0.1:{ui.port}", EVIL):
        request = f"GET {target}/graphql?query={quote(ui.deletion)} HTTP/1.1"
        assert ui.send(request, "Host: evil.example")[0] == 403
        assert ui.send(request, f"Host: 127.0.0.1:{ui.port}")[0] == 403
    assert ui.has_run()


@pytest.mark.parametrize(
    "origin",
    [
        EVIL, "null", "", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://127.0.0.1:1", "http://localhost:8888",
        "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example", "http://evil.example:{port}",
        "127.0.0.1:{port}", "file://", "chrome-extension://a", "http://127.0.0.1:{port} http://evil.example",
    ],
)  # fmt: skip
def test_a_page_of_a_foreign_origin_is_refused(ui: Ui, origin: str) -> None:
    origin = origin.format(port=ui.port)
    own = f"Host: 127.0.0.1:{ui.port}"
    status, _, told = ui.send("GET /server_info HTTP/1.1", own, f"Origin: {origin}")
    assert status == 403
    assert told == f"a page of {origin!r} sent this, and only the UI's own pages may; open http://127.0.0.1:{ui.port}\n"
    assert ui.post(f"Origin: {origin}", query=ui.deletion) == 403
    assert ui.post(f"Origin: http://127.0.0.1:{ui.port}", f"Origin: {origin}", query=ui.deletion) == 403
    # Forms and `fetch` without a question beforehand: a page chooses among three content types.
    address = f"/graphql?query={quote(ui.deletion)}"
    for kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/plain; application/json",
    ):
        body = json.dumps({"query": ui.deletion})
        headers = (own, f"Origin: {origin}", f"Content-Type: {kind}")
        assert ui.send(f"POST {address} HTTP/1.1", *headers, body=body)[0] == 403
    # The question beforehand, so that a page cannot send other content types either.
    asked = ui.send("OPTIONS /graphql HTTP/1.1", own, f"Origin: {origin}", "Access-Control-Request-Method: POST")
    assert (asked[0], "access-control" in asked[1].lower()) == (403, False)
    with pytest.raises(InvalidStatus) as refused, ui.subscribe(additional_headers={"Origin": origin}):
        pass
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == told.encode()
    assert ui.has_run()


@pytest.mark.parametrize("host", ["evil.example", "localhost.:{port}", "[::1]:1"])
def test_a_websocket_to_a_foreign_host_is_refused(ui: Ui, host: str) -> None:
    host = host.format(port=ui.port)
    for origin in (f"http://{host}", None):
        with pytest.raises(InvalidStatus) as refused, ui.subscribe(host, origin=origin):
            pass
        assert refused.value.response.status_code == 403
        assert "the header Host is" in refused.value.response.body.decode()


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_foreign_hosts_and_origins_are_refused_over_ipv6(ui: Ui) -> None:
    own = f"[::1]:{ui.port}"
    assert ui.post(host="evil.example", name="::1") == 403
    assert ui.post(f"Origin: {EVIL}", host=own, name="::1") == 403
    with pytest.raises(InvalidStatus) as refused, ui.subscribe(own, "::1", origin=EVIL):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "address",
    [
        "/graphql?query={q}", "/%67raphql?query={q}", "/graphql/?query={q}", "//graphql?query={q}", "/?query={q}",
        "/graphql?%71uery={q}", "/graphql?a=1&query={q}", "/graphql?query=%7Bversion%7D&query={q}",
        "/graphql?query={q}&query=%7Bversion%7D", "/graphql?query=", "/graphql?operationName=a&query={q}#",
    ],
)  # fmt: skip
def test_a_query_in_the_address_is_refused(ui: Ui, method: str, address: str) -> None:
    for accepted in ("*/*", "text/html", "application/json"):
        status, _, told = ui.send(
            f"{method} {address.format(q=quote(ui.deletion))} HTTP/1.1",
            f"Host: 127.0.0.1:{ui.port}",
            f"Accept: {accepted}",
        )
        assert status == 403
        if method != "HEAD":
            assert told == (
                "the address contains a query, and any page may link to an address; send the query by POST\n"
            )
    assert ui.has_run()


@pytest.fixture
def proxy(ui: Ui, tmp_path: Path) -> Iterator[Ui]:
    """The UI behind the nginx of docs/ui.md, without TLS, with a user `operator` whose password is `secret`."""
    if not (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("there is no nginx on this machine")
    [server] = re.findall(r"```nginx\n(.*?)```", (PROJECT / "docs" / "ui.md").read_text("utf-8"), flags=re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (tmp_path / "users").write_text("operator:{PLAIN}secret")
    for written, here in (
        (r"443 ssl", f"127.0.0.1:{port}"), (r"ssl_certificate.*", ""),
        (r"/etc/nginx/dagster.users", f"{tmp_path}/users"), (r"127.0.0.1:3000", f"127.0.0.1:{ui.port}"),
    ):  # fmt: skip
        server, times = re.subn(written, here, server)
        assert times
    configuration = tmp_path / "nginx.conf"
    paths = "".join(
        f"{kind}_temp_path {tmp_path}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; {paths}\n{server} }}"
    )
    process = subprocess.Popen([nginx, "-e", f"{tmp_path}/log", "-c", str(configuration)])
    try:
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Ui(port, ui.instance, ui.run_id)
    finally:
        process.terminate()
        process.wait()


def test_the_proxy_of_the_document_lets_in_who_logs_in_and_no_page_of_another_site(proxy: Ui) -> None:
    name = "dagster.example.com"
    login = {"Authorization": f"Basic {base64.b64encode(b'operator:secret').decode()}"}
    logged_in = f"Authorization: {login['Authorization']}"
    own = f"https://{name}"
    assert proxy.post(f"Origin: {own}", host=name) == 401
    assert proxy.post(f"Origin: {own}", logged_in, host=name) == 200
    with proxy.subscribe(name, origin=own, additional_headers=login) as channel:
        assert EVENT in str(channel.recv(timeout=30))
    for foreign in (EVIL, "null", f"http://127.0.0.1:{proxy.port}"):
        assert proxy.post(f"Origin: {foreign}", logged_in, host=name, query=proxy.deletion) == 403
        with pytest.raises(InvalidStatus), proxy.subscribe(name, origin=foreign, additional_headers=login):
            pass
    address = f"/graphql?query={quote(proxy.deletion)}"
    assert proxy.send(f"GET {address} HTTP/1.1", f"Host: {name}", logged_in)[0] == 403
    assert proxy.has_run()


def test_what_the_guard_refuses_is_logged_in_one_line(ui: Ui, caplog: pytest.LogCaptureFixture) -> None:
    ui.send("GET /a%0Ab HTTP/1.1", "Host: evil.example")
    with pytest.raises(InvalidStatus), ui.subscribe(origin=EVIL):
        pass
    assert [message.partition(":")[0] for message in caplog.messages] == [
        r"refused GET '/a\nb'",
        "refused a WebSocket to '/graphql'",
    ]


def test_port_80_is_not_named_by_browsers() -> None:
    reached = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        reached.append(scope["server"][1])

    async def receive() -> dict[str, Any]:
        return {}

    async def send(_message: Any) -> None:
        pass

    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    for port in (80, 81):
        asyncio.run(guard(app)(scope | {"server": ("127.0.0.1", port)}, receive, send))
    assert reached == [80]
