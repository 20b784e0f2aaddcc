"""Runs dbt in this process: compiles the project once, and builds the marts from the parsed project.

A build takes 10 s in a process of its own, mostly to start dbt, and 2 s in this process with the parsed project kept.
How models become assets is in `orchestration`; when they are built is in `ingest/building.py`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.lateness import FIGURES_FROZEN, FINAL_AFTER, OPEN_FOR
from cdr_assets.domain.masking import mask
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.schema import Class
from cdr_assets.domain.settings import Settings, SettingsError
from cdr_assets.warehouse import Warehouse, memory_limit, out_of_memory
from cdr_assets.warehouse.messages import is_out_of_memory

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from cdr_assets.marts.lineage import Lineage

PROJECT_DIR = PROJECT / "dbt_project"

# Calls whose hours are built at once (dbt_project/macros/portions.sql). For so many, our memory limit is enough.
_PORTION_CALLS = 200_000

_LINEAGE = "lineage.json"
_CLASSES = "classes.json"
# The manifest in the format that dbt itself reads.
_MANIFEST = "partial_parse.msgpack"


class DbtError(OperatorError):
    """dbt could not parse or build. The text is dbt's own message in one line."""


@dataclass(frozen=True)
class NodeResult:
    """Result of a model or test: dbt id, status (success, pass, warn, fail, error, skipped), failing rows, seconds.

    `query` is the SQL of a test, which selects its failing rows; empty for a model.
    """

    unique_id: str
    status: str
    message: str
    failures: int
    seconds: float
    query: str = ""


@dataclass(frozen=True)
class Parsed:
    """The parsed project in `folder`: its manifest as JSON, the lineage of its columns, and their classes."""

    folder: Path

    @property
    def manifest(self) -> Mapping[str, Any]:
        read: Mapping[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        return read

    @property
    def lineage(self) -> "Lineage":
        read: Lineage = json.loads((self.folder / _LINEAGE).read_text(encoding="utf-8"))
        return read

    @property
    def classes(self) -> Mapping[str, Mapping[str, Class]]:
        """Table ("marts.fct_calls") to column to its class, for the columns whose yml states one."""
        read = json.loads((self.folder / _CLASSES).read_text(encoding="utf-8"))
        return {table: {name: Class(holds) for name, holds in columns.items()} for table, columns in read.items()}


def parse(settings: Settings) -> Parsed:
    """The parsed project. Parses it first, which takes 5 s, if it is new or has changed.

    It is kept in the data folder under a hash of the project's files. Raises SettingsError if that cannot be written.
    """
    folder = parsed_in(settings)
    parsed = folder / _fingerprint()
    if not parsed.exists():
        try:
            make_private(folder)
            # If several processes start together, one parses and the others wait.
            with lock(folder / "parse.lock"):
                if not parsed.exists():
                    _compile(settings, folder, parsed)
        except OSError as error:
            raise SettingsError(
                f"CDR_DATA_DIR: cannot write to {folder}: {error.strerror}; name a folder that this user can write"
            ) from None
    return Parsed(parsed)


def parsed_in(settings: Settings) -> Path:
    """The folder of the parsed projects."""
    return settings.cdr_data_dir / "dbt" / "parsed"


def _fingerprint() -> str:
    """A hash of the project's files and dbt's version. It ignores the files' times, which are all equal in a wheel."""
    # Only these folders: target/ and logs/ are written by dbt itself when somebody runs it by hand.
    parts = [PROJECT_DIR / name for name in ("models", "macros", "seeds", "tests")]
    files = [*PROJECT_DIR.glob("*.yml"), *(path for part in parts for path in part.rglob("*.*") if path.is_file())]
    content = [(path.relative_to(PROJECT_DIR).as_posix(), path.read_bytes()) for path in sorted(files)]
    versions = [version(name) for name in ("dbt-core", "dbt-duckdb")]
    return hashlib.sha256(repr((versions, content)).encode()).hexdigest()[:16]


def _compile(settings: Settings, folder: Path, parsed: Path) -> None:
    # sqlglot is imported only when it is needed.
    from cdr_assets.marts.lineage import find_lineage

    # Delete the folders of older versions and of killed processes.
    for other in folder.iterdir():
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
    # Parse in another folder, and rename it when it is complete: half a manifest would be used for ever.
    parsing = folder / "parsing"
    args = ["compile", "--select", "resource_type:model"]
    # With an empty warehouse in memory, dbt compiles the SQL of a first build, which has every column.
    with _environment(_variables(Warehouse(Path(":memory:")), settings)):
        _invoke([*args, "--target-path", str(parsing), "--log-path", str(parsing)], PROJECT_DIR)
    manifest = Parsed(parsing).manifest
    (parsing / _LINEAGE).write_text(json.dumps(find_lineage(manifest)), encoding="utf-8")
    (parsing / _CLASSES).write_text(json.dumps(_classes(manifest)), encoding="utf-8")
    parsing.replace(parsed)


def _classes(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    # Read here and kept: reading the whole manifest takes longer than a small copy.
    return {
        f"{node['schema']}.{node['name']}": {
            name: column["config"]["meta"]["class"]
            for name, column in node["columns"].items()
            if "class" in column["config"]["meta"]
        }
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
    }


# What dbt builds of an unchanged project: views and seeds would be made again as they are.
_TABLES_AND_TESTS = ("config.materialized:incremental", "config.materialized:table", "resource_type:test")


def build(
    settings: Settings, select: Sequence[str] = (), *, full_refresh: bool = False, is_unchanged: bool = False
) -> list[NodeResult]:
    """Builds and tests the selected models, or all. The caller must hold the warehouse. Raises DbtError if dbt fails.

    `is_unchanged` says that the last build was of the same project and settings: views and seeds stay as they are. A
    model or test that fails does not raise: see its status in the results.
    """
    target = settings.cdr_data_dir / "dbt" / "target"
    make_private(target)
    args = ["build", "--exclude-resource-type", "unit_test", *written_to(target)]
    select = select or (_TABLES_AND_TESTS if is_unchanged else ())
    if select:
        args += ["--select", *select]
    if full_refresh:
        args.append("--full-refresh")
    parsed = (parse(settings).folder / _MANIFEST).read_bytes()
    return run_dbt(settings, PROJECT_DIR, args, parsed)


def written_to(folder: Path) -> list[str]:
    """Arguments that keep dbt's files in the folder, without its JSON and log: nobody reads them (0.4 s)."""
    return ["--target-path", str(folder), "--log-path", str(folder), "--no-write-json", "--log-level-file", "none"]


def run_dbt(settings: Settings, project: Path, args: list[str], parsed: bytes | None = None) -> list[NodeResult]:
    """Runs a dbt command on the warehouse, which the caller must hold. Without `parsed`, dbt parses the project first.

    Raises DbtError if dbt fails, for example because it cannot parse the project.
    """
    from dbt.contracts.graph.manifest import Manifest

    with _environment(environment(settings)):
        results = _invoke(args, project, Manifest.from_msgpack(parsed) if parsed else None)
    return [
        NodeResult(
            unique_id=result.node.unique_id,
            status=str(result.status),
            message=_told(result.message or ""),
            failures=result.failures or 0,
            seconds=result.execution_time,
            query=result.node.compiled_code or "" if result.node.resource_type == "test" else "",
        )
        for result in results
    ]


def made_of(settings: Settings) -> str:
    """A hash that changes when a build of the same calls would give other marts: of the models and their settings."""
    return hashlib.sha256(repr((_fingerprint(), _settings_read(settings))).encode()).hexdigest()


def _told(message: str) -> str:
    """A message of dbt's in one line."""
    if is_out_of_memory(message):
        return out_of_memory()
    # DuckDB quotes values in its messages.
    return mask(" ".join(message.split()))


def environment(settings: Settings) -> dict[str, str]:
    """The variables that the project and its profile read, for the warehouse of these settings."""
    return _variables(Warehouse(settings.warehouse_path), settings)


def _variables(warehouse: Warehouse, settings: Settings) -> dict[str, str]:
    return {
        **warehouse.environment,
        "CDR_MEMORY_LIMIT": memory_limit(),
        "CDR_PORTION_CALLS": str(_PORTION_CALLS),
        **_settings_read(settings),
    }


def _settings_read(settings: Settings) -> dict[str, str]:
    """The variables that the models read."""
    return {
        "ALOTECH_TIMEZONE": settings.alotech_timezone,
        # One rule for the schedules and the marts.
        "CDR_FINAL_AFTER_HOURS": str(FINAL_AFTER // HOUR),
        "CDR_OPEN_FOR_HOURS": str(OPEN_FOR // HOUR),
        "CDR_FIGURES_FROZEN_HOURS": str(FIGURES_FROZEN // HOUR),
    }


def _invoke(args: list[str], project: Path, manifest: "Manifest | None" = None) -> Sequence[Any]:
    # Importing dbt takes almost two seconds, which only a build or a first parse should spend.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.artifacts.schemas.results import NodeStatus
    from dbt.cli.main import dbtRunner
    from dbt.task.build import BuildTask

    # After a failed test, dbt would skip the models and tests that depend on the tested model. Their stale hours would
    # be forgotten, and their checks would not be seen. dbt has no option for it.
    BuildTask.MARK_DEPENDENT_ERRORS_STATUSES = [
        status for status in BuildTask.MARK_DEPENDENT_ERRORS_STATUSES if status != NodeStatus.Fail
    ]

    # No log: dbt prints errors as DuckDB says them, with values in them. `run_dbt` returns them masked.
    flags = [
        "--project-dir", str(project), "--profiles-dir", str(PROJECT_DIR), "--quiet", "--log-level", "none",
        "--no-send-anonymous-usage-stats", "--no-version-check",
    ]  # fmt: skip
    try:
        outcome = dbtRunner(manifest=manifest).invoke([*args, *flags])
    finally:
        # dbt would keep the database open, and nobody else could open the warehouse.
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if outcome.exception is not None:
        raise DbtError(mask(" ".join(str(outcome.exception).split())))
    return getattr(outcome.result, "results", ())


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, which dbt's profile reads, and restores the old ones at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
