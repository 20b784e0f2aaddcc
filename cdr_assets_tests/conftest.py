"""Helpers that several test packages share: calls in the vendor's shape, a sandbox that serves them, runs of real jobs.

Helpers of one package are in its own conftest.py.
"""

import datetime as dt
import gc
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dagster import DagsterInstance, Definitions, ExecuteInProcessResult, build_schedule_context
from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster._core.storage.tags import PARTITION_NAME_TAG
from xdist.scheduler import LoadScopeScheduling

from cdr_assets.definitions import build_defs
from cdr_assets.domain.settings import Settings
from cdr_assets.marts import build
from cdr_assets.orchestration.keys import CDR_KEYS, PAGES_KEY, PAGES_OP
from cdr_assets.orchestration.ops import config_of
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between, range_tags
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.warehouse import Warehouse

# Fixtures that several packages use: the built marts would be built twice, and alerts are sent by sensors and by `cdr`.
pytest_plugins = ["cdr_assets_tests.marts.built", "cdr_assets_tests.alerts.receivers"]

_ROOT = Path(__file__).parents[1]

# Where this is set, each process that a test starts compiles our modules anew, for half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TOKEN = "s3cr3t/t0ken+of=tests"

# The hour that most tests use, in the tenant's local time (Europe/Istanbul).
HOUR = dt.datetime(2026, 3, 2, 5)

# The assets of a run that needs neither marts nor the published copy: it takes a third of a whole run's time.
UP_TO_THE_CALLS = [PAGES_KEY, *CDR_KEYS]


# The packages whose files take longest, in this order. They start first, so that no worker is left with a long file.
_LONGEST = ("processes", "orchestration", "marts")

# What several files use and a worker makes once: the built marts, which take it half a minute each, and the server that
# forks runs of `cdr`, whose imports take it six seconds. Each with what the files that use it have in them.
_SHARED = {
    "built marts": re.compile(r'\b(real_month|generated|dirty)(: Marts|")'),
    "forked runs": re.compile(r"\bMachine\("),
}


@cache
def _group(file: str) -> str:
    """The group of a test file: what it shares with others, or the file alone. A group's tests run on one worker."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    return next((shared for shared, used in _SHARED.items() if used.search(text)), file)


class _ByFile(LoadScopeScheduling):
    """Sends each group of files to one worker, so that their fixtures are made once.

    `--dist loadgroup` cannot do that: pytest-xdist 3.8 writes the groups into an attribute that pytest 9.2 ignores.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.split("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors: for a sixth of their time, tests wait for disks, locks and other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long files first. Workers take the groups in this order."""

    def place(item: pytest.Item) -> int:
        if _group(item.path.relative_to(_ROOT).as_posix()) in _SHARED:
            return 0
        package = item.path.parent.name
        return 1 + [*_LONGEST, package].index(package)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    # What is imported stays. Otherwise each full collection of garbage walks through all of it, for half a second.
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the developer's .env and environment from the tests."""
    for name in list(os.environ):
        if name.startswith(("ALOTECH_", "CDR_")) and name != "CDR_REAL_CALLS":
            monkeypatch.delenv(name)
    monkeypatch.setattr("cdr_assets.domain.settings.find_dot_env", lambda: None)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


@pytest.fixture(scope="session", autouse=True)
def _dbt_parses_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Shares one parsed dbt project between all data folders and all workers, because each parse takes 5 s."""
    parsed = of_all_workers(tmp_path_factory) / "parsed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "parsed_in", lambda _: parsed)
        yield


@pytest.fixture(scope="session", autouse=True)
def _dbt_is_quick() -> Iterator[None]:
    """See quick_dbt.py. Only a test that builds pays for dbt's imports."""
    invoke = build._invoke

    def invoke_quick(*args: Any) -> Sequence[Any]:
        from cdr_assets_tests.quick_dbt import spare_work

        spare_work()
        return invoke(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_invoke", invoke_quick)
        yield


def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of this session that its workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def give_away(path: Path) -> None:
    """Makes another user the owner of a file, folder or link. Skips the test if this user cannot."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 54321, 54321, follow_symlinks=False)


def share_parsed(data_dir: Path) -> Path:
    """Puts the parsed dbt project into a data folder that another process will use."""
    shared, own = build.parsed_in(Settings()), data_dir / "dbt" / "parsed"
    if not own.exists() and data_dir.parent.is_dir() and os.access(data_dir.parent, os.W_OK):
        build.parse(Settings())
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(shared, target_is_directory=True)
    return data_dir


def record(key: str, at: dt.datetime = HOUR, **fields: Any) -> dict[str, Any]:
    """An answered call in the vendor's shape: queued after ten seconds, answered after twenty more, a minute of
    talk."""

    def date(seconds: int) -> str:
        return f"{at + dt.timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"

    return {
        "key": key, "callid": f"{key}@example", "queued": True, "answered": True, "assigned": True, "abandon": False,
        "queuedate": date(10), "calldate": date(0), "talkdate": date(30), "hangupdate": date(90), "waitduration": 20,
        "duration": 90, "sl": True, "shortcall": False, "callerid": "905321112233", "called_num": "908501112233",
        "queue": "Satış", "inbound": True, "agent": "ayşe@example", "agentid": "A1", "hold": 0, "holdduration": 0,
        "queuekey": "Q1", "voicemail": False, "uniqueid": None, "recordingurl": None, "localrelease": False,
        "answeredby": None, "transferred": 0, "channel": "SIP/1",
        "call_history": [{"event": "enter", "date": date(10), "queue": "Satış"}, {"event": "hangup", "date": date(90)}],
        "csat_answers": [{"question": "Memnun musunuz?", "score": 5, "scale": 5}], "call_tags": ["fatura"],
    } | fields  # fmt: skip


# The first op of each job that fetches single calls and not hours.
_ASKS = {"refresh_call": "ask_for_call", "csat_sweep": "ask_for_csat", "open_calls": "ask_for_open_calls"}


class Pipeline:
    """The pipeline with one server and its own folder."""

    def __init__(self, settings: Settings, instance: DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self._built: tuple[Settings, Definitions] | None = None

    def defs(self) -> Definitions:
        """The definitions for the settings, built again only when a test has changed these: it takes 0.3 s."""
        if self._built is None or self._built[0] != self.settings:
            self._built = self.settings.model_copy(), build_defs(self.settings)
        return self._built[1]

    def run(
        self,
        start: dt.datetime,
        hours: int = 1,
        *,
        selection: Sequence[Any] | None = None,
        job: str = "hourly",
        asked: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> ExecuteInProcessResult:
        """Runs consecutive hours, the way a schedule, the UI or the terminal starts a run."""
        zone = self.settings.zone
        chosen = hours_between(
            hourly_partitions(self.settings),
            start.replace(tzinfo=zone),
            (start + dt.timedelta(hours=hours)).replace(tzinfo=zone),
            dt.datetime.now(dt.UTC),
        )
        resolved = self.defs().resolve_job_def(job)
        return resolved.execute_in_process(
            instance=self.instance,
            tags=range_tags(chosen),
            run_config=config_of(PAGES_OP, **asked) if asked else None,
            raise_on_error=False,
            asset_selection=selection,
            run_id=run_id,
        )

    def merge(self, job: str, *, is_published: bool = True, **config: Any) -> ExecuteInProcessResult:
        """Runs a job that fetches single calls and not hours; without marts and copy if not `is_published`."""
        resolved = self.defs().resolve_job_def(job)
        return resolved.execute_in_process(
            instance=self.instance,
            run_config=config_of(_ASKS[job], **config),
            raise_on_error=False,
            op_selection=None if is_published else [_ASKS[job]],
        )

    def tick(
        self, schedule: str, at: dt.datetime, *, selection: Sequence[Any] | None = None
    ) -> list[ExecuteInProcessResult]:
        """The runs that a schedule requests when it ticks at `at`, an aware time.

        With `selection`, runs over hours are of these assets, and those that fetch single calls end with the load.
        """
        defs = self.defs()
        # An earlier test may have left the storage of its deleted instance, and Dagster would use it.
        with set_defs_state_storage(self.instance.defs_state_storage):
            scheduled = defs.resolve_schedule_def(schedule)
            repository = defs.get_repository_def()
        context = build_schedule_context(instance=self.instance, scheduled_execution_time=at, repository_def=repository)
        asks = _ASKS.get(scheduled.job_name)
        results = []
        for request in scheduled.evaluate_tick(context).run_requests or ():
            tags = dict(request.tags)
            if request.partition_key:
                tags[PARTITION_NAME_TAG] = request.partition_key
            job = defs.resolve_job_def(scheduled.job_name)
            results.append(
                job.execute_in_process(
                    instance=self.instance,
                    tags=tags,
                    run_config=request.run_config,
                    raise_on_error=False,
                    asset_selection=None if asks else selection,
                    op_selection=[asks] if asks and selection else None,
                )
            )
        return results

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the warehouse."""
        with Warehouse(self.settings.warehouse_path).connect("test") as connection:
            return connection.execute(query).fetchall()

    def ask_published(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the published copy, opened the way an analyst opens it."""
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{self.settings.published_path}' AS published (READ_ONLY)")
            connection.execute("USE published")
            return connection.execute(query).fetchall()


def settings_for(base_url: str, data_dir: Path, **settings: Any) -> Settings:
    return Settings(
        **{
            "alotech_base_url": base_url,
            "alotech_app_token": TOKEN,
            "alotech_requests_per_second": 0,
            "cdr_start": "2026-03-01",
            "cdr_data_dir": data_dir,
        }
        | settings
    )


@pytest.fixture
def calls() -> ListedCalls:
    """The calls that the sandbox serves. A test may add, edit and remove them."""
    return ListedCalls()


@contextmanager
def pipelines_in(folder: Path) -> Iterator[Callable[..., Pipeline]]:
    """A function that makes a pipeline for a server, with a Dagster instance on disk."""
    home = folder / "home"
    home.mkdir()
    # As in dagster.yaml. With Dagster's own event log, storing events takes most of a test's time.
    events = {
        "module": "cdr_assets.orchestration.event_log",
        "class": "EventLog",
        "config": {"base_dir": str(home / "history")},
    }
    no_output = {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    overrides = {"event_log_storage": events, "compute_logs": no_output}
    with DagsterInstance.local_temp(str(home), overrides=overrides) as instance:

        def make(base_url: str, **settings: Any) -> Pipeline:
            return Pipeline(settings_for(base_url, folder / "data", **settings), instance)

        yield make


@pytest.fixture
def make_pipeline(tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    with pipelines_in(tmp_path) as make:
        yield make


@pytest.fixture
def pipeline(calls: ListedCalls, make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    with Sandbox(calls, token=TOKEN) as sandbox:
        yield make_pipeline(sandbox.base_url)
