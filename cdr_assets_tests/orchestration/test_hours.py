"""Real runs over hours, from the API to the published copy: which hours are loaded, reported or failed."""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from dagster import AssetCheckKey, AssetKey, EventLogEntry, ExecuteInProcessResult
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, pipelines_in, record

NEXT = dt.timedelta(hours=1)


def failure_of(result: ExecuteInProcessResult) -> str:
    """The line that the failed step shows first."""
    [event, *_] = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None, event.step_failure_data.error
    return str(data.description)


def files_with_the_token(folder: Path) -> list[Path]:
    """All files in the data folder, Dagster's storage and logs that hold the token, plain or percent-encoded."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        path for path in files if any(form.encode() in path.read_bytes() for form in (TOKEN, quote(TOKEN, safe="")))
    ]


def test_an_hour_goes_from_the_api_to_the_published_copy(pipeline: Pipeline, calls: ListedCalls) -> None:
    for n in range(250):
        calls.add(record(f"k{n}", HOUR + dt.timedelta(seconds=14 * n)))
    calls.add(record("before", HOUR - dt.timedelta(seconds=1)))
    calls.add(record("after", HOUR + NEXT))
    assert pipeline.run(HOUR).success
    assert pipeline.ask("SELECT count(*), count(DISTINCT key), min(partition_hour) FROM cdr.calls") == [
        (250, 250, HOUR)
    ]
    assert pipeline.ask("SELECT served, outside_window, loaded, new, error FROM cdr.loads") == [
        (252, 2, 250, 250, None)
    ]
    assert pipeline.ask_published("SELECT offered, answered FROM marts.queue_hourly") == [(250, 250)]
    assert pipeline.ask_published("SELECT count(*) FROM cdr.call_tags") == [(250,)]
    assert pipeline.instance.get_materialized_partitions(AssetKey(["published", "cdr"])) == {"2026-03-02-05:00"}


def test_a_publishing_tells_the_figures_of_the_copy_once(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a", HOUR + dt.timedelta(minutes=7)))
    result = pipeline.run(HOUR, 2)
    stored = pipeline.instance.fetch_materializations(AssetKey(["published", "cdr"]), limit=5, ascending=True).records
    events = [record.asset_materialization for record in stored if record.asset_materialization]
    # The whole copy's figures are at one point of the plots, that of the newest hour.
    assert [(event.partition, bool(event.metadata)) for event in events] == [
        ("2026-03-02-05:00", False),
        ("2026-03-02-06:00", True),
    ]
    told = {name: value.value for name, value in events[1].metadata.items()}
    # Those that matter come first.
    assert list(told)[:5] == ["hours", "final_hours", "newest_call", "newest_call_minutes_ago", "rows"]
    tables = pipeline.ask_published(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'published'"
    )
    counted = [pipeline.ask_published(f'SELECT count(*) FROM {schema}."{name}"')[0][0] for schema, name in tables]
    assert (told["hours"], told["final_hours"], told["rows"]) == (2, 2, sum(counted))
    assert told["newest_call"] == (HOUR + dt.timedelta(hours=-3, minutes=7)).replace(tzinfo=dt.UTC).timestamp()
    # The event is stored a moment later, which may be in the next minute.
    assert 0 <= (stored[-1].timestamp - told["newest_call"]) / 60 - told["newest_call_minutes_ago"] < 2
    assert told["size_mb"] == round(pipeline.settings.published_path.stat().st_size / 1e6, 2)
    assert 0 < told["seconds"] < 60
    assert "| Mon 02 Mar |" not in told["last_days"], "the map is of the last days"
    run = pipeline.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["hours_published"] == "2 of 2"


def test_an_hour_without_calls_is_an_hour_too(pipeline: Pipeline) -> None:
    assert pipeline.run(HOUR).success
    assert pipeline.ask("SELECT loaded FROM cdr.loads") == [(0,)]
    assert pipeline.ask_published("SELECT count(*) FROM cdr.calls") == [(0,)]
    assert pipeline.instance.get_materialized_partitions(AssetKey(["cdr", "calls"])) == {"2026-03-02-05:00"}


def test_a_late_change_reaches_the_marts_and_nothing_else_is_rewritten(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a", HOUR))
    calls.add(record("b", HOUR + NEXT))
    assert pipeline.run(HOUR, 2).success
    before = pipeline.ask("SELECT fetched_at FROM cdr.calls WHERE key = 'b'")
    calls.edit("a", answered=False, abandon=True, talkdate=None, sl=False, agent=None, agentid=None)
    calls.remove("b")
    calls.add(record("b", HOUR + NEXT))
    assert pipeline.run(HOUR, 2).success
    assert pipeline.ask("SELECT fetched_at FROM cdr.calls WHERE key = 'b'") == before
    assert pipeline.ask_published("SELECT local_hour, answered, abandoned FROM marts.queue_hourly ORDER BY 1") == [
        (HOUR, 0, 1),
        (HOUR + NEXT, 1, 0),
    ]


def test_the_vendors_numbers_are_pseudonyms_in_the_published_copy(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a", call_history=[{"event": "dial", "number": "905321112233", "note": 905321112233}]))
    assert pipeline.run(HOUR).success
    [(caller, called, extra)] = pipeline.ask_published(
        "SELECT callerid, called_num, h.extra FROM cdr.calls JOIN cdr.call_history AS h USING (key)"
    )
    assert caller.endswith("-33")
    assert called == "908501112233"
    assert extra == '{"note":9999933,"number":"9999933"}'
    assert b"905321112233" not in pipeline.settings.published_path.read_bytes()
    # In a code location of somebody else, the umask is theirs: the folders close what is in them.
    data = pipeline.settings.cdr_data_dir
    open_folders = {path.name for path in (data, *data.iterdir()) if path.is_dir() and path.stat().st_mode & 0o077}
    assert (open_folders, (data / "secret_key").stat().st_mode & 0o777) == (set(), 0o600)


class _FailsAtFive(BaseHTTPRequestHandler):
    """Serves a page that is not JSON for the hour of the tests, and empty hours otherwise, once `others_go_on`
    returns."""

    others_go_on: Callable[[], object] = staticmethod(lambda: None)

    def do_GET(self) -> None:
        is_five = "04%3A59%3A59" in self.path
        if not is_five:
            self.others_go_on()
        body = b"<html>busy</html>" if is_five else b'{"CallList": [], "cursor": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def failing_at_five(make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    monkeypatch.setattr("cdr_assets.alotech.client._backoff", lambda _: 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FailsAtFive)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield make_pipeline(f"http://127.0.0.1:{server.server_port}/api/")
    finally:
        server.shutdown()
        server.server_close()


def test_a_failed_hour_costs_only_itself(failing_at_five: Pipeline, tmp_path: Path) -> None:
    pipeline = failing_at_five
    result = pipeline.run(HOUR - NEXT, 3)
    assert not result.success
    line = failure_of(result)
    assert line.startswith("1 hour failed in raw__cdr_pages and keeps what it held: 2026-03-02 05:00: ")
    assert "\n" not in line
    good = {"2026-03-02-04:00", "2026-03-02-06:00"}
    for key in (["raw", "cdr_pages"], ["cdr", "calls"], ["marts", "queue_hourly"], ["published", "cdr"]):
        assert pipeline.instance.get_materialized_partitions(AssetKey(key)) == good
    assert pipeline.ask_published("SELECT partition_hour FROM cdr.loads WHERE error IS NOT NULL") == [(HOUR,)]
    # Dagster's page of backfills counts all three hours as failed; these tell the truth.
    assert line.endswith("; the other hours of this run (2) went through")
    run = pipeline.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["hours_published"] == "2 of 3"
    assert not files_with_the_token(tmp_path)


def test_a_failed_hour_is_told_when_it_fails_where_it_fails(
    failing_at_five: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, run_id, failed = failing_at_five, str(uuid4()), threading.Event()

    def told() -> list[EventLogEntry]:
        entries = pipeline.instance.all_logs(run_id)
        return [entry for entry in entries if entry.level == logging.ERROR and not entry.is_dagster_event]

    def until_told() -> None:
        deadline = time.monotonic() + 15
        while not told():
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        failed.set()

    monkeypatch.setattr(_FailsAtFive, "others_go_on", staticmethod(until_told))
    pipeline.run(HOUR - NEXT, 3, selection=[AssetKey(["raw", "cdr_pages"])], run_id=run_id)
    assert failed.is_set(), "it was told only after the other hours"
    [entry] = told()
    assert entry.step_key == "raw__cdr_pages"
    assert entry.user_message.startswith("2026-03-02 05:00 failed: the answer is an HTML page")


@pytest.mark.parametrize("hours", [1, 2])
def test_freshness_is_judged_also_where_hours_of_the_run_failed(failing_at_five: Pipeline, hours: int) -> None:
    pipeline = failing_at_five
    result = pipeline.run(HOUR, hours)
    assert not result.success
    assert failure_of(result).startswith("1 hour failed in raw__cdr_pages and keeps what it held: 2026-03-02 05:00: ")
    names = ["calls_still_come", "newest_hour_is_there"]
    judged = [event for event in result.get_asset_check_evaluations() if event.check_name in names]
    assert sorted(event.check_name for event in judged) == names
    # The UI shows them too.
    for name in names:
        key = AssetCheckKey(AssetKey(["published", "cdr"]), name)
        [record] = pipeline.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.run_id == result.run_id
        assert record.status is AssetCheckExecutionRecordStatus.FAILED


def test_a_run_that_publishes_nothing_judges_no_freshness(failing_at_five: Pipeline) -> None:
    result = failing_at_five.run(HOUR, selection=[AssetKey(["raw", "cdr_pages"])])
    assert not result.success
    assert result.get_asset_check_evaluations() == []


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline that has loaded an hour, for runs that change nothing."""
    with (
        Sandbox(ListedCalls([record("a")]), token=TOKEN) as sandbox,
        pipelines_in(tmp_path_factory.mktemp("one")) as make,
    ):
        pipeline = make(sandbox.base_url)
        assert pipeline.run(HOUR).success
        pipeline.settings = pipeline.settings.model_copy(update={"alotech_tenant": None})
        yield pipeline


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"alotech_app_token": "wrong-" + TOKEN}, "set ALOTECH_APP_TOKEN"),
        ({"alotech_app_token": None}, "ALOTECH_APP_TOKEN is not set"),
        ({"alotech_base_url": "http://127.0.0.1:9/api/"}, "check the network"),
        ({"alotech_base_url": "https://no-such-tenant.invalid/api/"}, "check ALOTECH_TENANT"),
    ],
)
def test_a_server_that_cannot_be_used_fails_the_run_in_one_line(
    loaded: Pipeline, change: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr_assets.alotech.client._backoff", lambda _: 0)
    before = loaded.ask("FROM cdr.calls")
    published = loaded.settings.published_path.read_bytes()
    changed = type(loaded.settings).model_validate(loaded.settings.model_dump() | {"alotech_app_token": TOKEN} | change)
    # The warehouse accepts every address here: this tests the address, not the guard against mixing tenants.
    monkeypatch.setattr(type(changed), "source", loaded.settings.source)
    pipeline = Pipeline(changed, loaded.instance)
    result = pipeline.run(HOUR, 2)
    assert not result.success
    line = failure_of(result)
    assert told in line
    assert "\n" not in line
    assert TOKEN not in line
    assert pipeline.ask("FROM cdr.calls") == before
    assert pipeline.settings.published_path.read_bytes() == published
    assert not files_with_the_token(loaded.settings.cdr_data_dir.parent)


def test_the_token_is_in_no_file_of_a_run(loaded: Pipeline) -> None:
    assert not files_with_the_token(loaded.settings.cdr_data_dir.parent)
