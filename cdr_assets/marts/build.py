"""dbt, in this process: compiling the project once, and building the marts from what was parsed.

A dbt of its own process takes 10 s a build, most of it start-up; in process, with the parsed project kept, it takes 2.
How the models become assets is `orchestration`; when they are built is `ingest/building.py`.
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

import duckdb
from filelock import FileLock

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.lateness import FINAL_AFTER, OPEN_FOR
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.settings import Settings, SettingsError
from cdr_assets.warehouse import memory_limit
from cdr_assets.warehouse.messages import is_out_of_memory

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from cdr_assets.marts.lineage import Lineage

PROJECT_DIR = PROJECT / "dbt_project"

_LINEAGE = "lineage.json"
# The manifest as dbt reads it itself, beside manifest.json.
_MANIFEST = "partial_parse.msgpack"

# As the macros of the project read them: one rule for the schedules and the marts.
_LATENESS = {
    "CDR_FINAL_AFTER_HOURS": str(FINAL_AFTER // HOUR),
    "CDR_OPEN_FOR_HOURS": str(OPEN_FOR // HOUR),
}


class DbtError(OperatorError):
    """dbt could not parse or build; the text is its own message, in one line."""


@dataclass(frozen=True)
class NodeResult:
    """What became of a node: its dbt id, status (success, pass, warn, fail, error, skipped), failing rows, seconds."""

    unique_id: str
    status: str
    message: str
    failures: int
    seconds: float


@dataclass(frozen=True)
class Parsed:
    """The parsed project: the manifest as JSON, and what the columns of the models are made of."""

    folder: Path

    @property
    def manifest(self) -> Mapping[str, Any]:
        read: Mapping[str, Any] = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        return read

    @property
    def lineage(self) -> "Lineage":
        read: Lineage = json.loads((self.folder / _LINEAGE).read_text(encoding="utf-8"))
        return read


def parse(settings: Settings) -> Parsed:
    """The project as dbt parsed it: parsed now, in 5 s, if it was not yet or has changed since.

    It lies in the data folder under a hash of the project's files. Raises SettingsError where that cannot be written.
    """
    folder = parsed_in(settings)
    parsed = folder / _fingerprint()
    if not parsed.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Of processes that start together, one parses and the others wait.
            with FileLock(folder / "parse.lock"):
                if not parsed.exists():
                    _compile(folder, parsed)
        except OSError as error:
            raise SettingsError(
                f"CDR_DATA_DIR: cannot write to {folder}: {error.strerror}; name a folder that this user can write"
            ) from None
    return Parsed(parsed)


def parsed_in(settings: Settings) -> Path:
    """Where parsed projects are kept."""
    return settings.cdr_data_dir / "dbt" / "parsed"


def _fingerprint() -> str:
    """Changes with the project and with dbt. Not by the files' times: a wheel gives all of its files the same."""
    # What dbt itself writes where somebody runs it by hand, target/ and logs/, is no part of it.
    parts = [PROJECT_DIR / name for name in ("models", "macros", "seeds", "tests")]
    files = [*PROJECT_DIR.glob("*.yml"), *(path for part in parts for path in part.rglob("*.*") if path.is_file())]
    content = [(path.relative_to(PROJECT_DIR).as_posix(), path.read_bytes()) for path in sorted(files)]
    versions = [version(name) for name in ("dbt-core", "dbt-duckdb")]
    return hashlib.sha256(repr((versions, content)).encode()).hexdigest()[:16]


def _compile(folder: Path, parsed: Path) -> None:
    # sqlglot is needed here alone.
    from cdr_assets.marts.lineage import find_lineage

    # What other versions of the project left, and what a killed process did.
    for other in folder.iterdir():
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
    # In a folder of its own that gets its name when it is whole: half a manifest would be read for ever.
    parsing = folder / "parsing"
    args = ["compile", "--select", "resource_type:model"]
    # An empty warehouse, in memory: the SQL of a first build, which has every column.
    with _environment(CDR_WAREHOUSE=":memory:", **_LATENESS):
        _invoke([*args, "--target-path", str(parsing), "--log-path", str(parsing)], PROJECT_DIR)
    lineage = find_lineage(Parsed(parsing).manifest)
    (parsing / _LINEAGE).write_text(json.dumps(lineage), encoding="utf-8")
    parsing.replace(parsed)


def build(settings: Settings, select: Sequence[str] = (), *, full_refresh: bool = False) -> list[NodeResult]:
    """Builds and tests the selected nodes, or all. The caller holds the warehouse. Raises DbtError if dbt itself fails.

    A failing test or model raises nothing: it is in the results. If a model runs out of memory, everything is built
    again with DuckDB's default limit: all of history at once may need it, after a model was changed, say.
    """
    target = settings.cdr_data_dir / "dbt" / "target"
    args = ["build", "--exclude-resource-type", "unit_test", *written_to(target)]
    if select:
        args += ["--select", *select]
    if full_refresh:
        args.append("--full-refresh")
    parsed = (parse(settings).folder / _MANIFEST).read_bytes()
    limit, default = _memory_limits()
    results = run_dbt(settings, PROJECT_DIR, args, limit, parsed)
    if any(is_out_of_memory(result.message) for result in results):
        results = run_dbt(settings, PROJECT_DIR, args, default, parsed)
    return results


def written_to(folder: Path) -> list[str]:
    """Arguments that keep dbt's files in the folder, without its JSON and log: nobody reads them, and they take 0.4 s."""
    return ["--target-path", str(folder), "--log-path", str(folder), "--no-write-json", "--log-level-file", "none"]


def run_dbt(
    settings: Settings, project: Path, args: list[str], memory: str, parsed: bytes | None = None
) -> list[NodeResult]:
    """Runs a command of dbt on the warehouse, which the caller holds; parses the project first if it is not `parsed`.

    Raises DbtError if dbt itself fails, for instance since the project cannot be parsed.
    """
    from dbt.contracts.graph.manifest import Manifest

    with _environment(
        CDR_WAREHOUSE=str(settings.warehouse_path),
        CDR_MEMORY_LIMIT=memory,
        ALOTECH_TIMEZONE=settings.alotech_timezone,
        **_LATENESS,
    ):
        results = _invoke(args, project, Manifest.from_msgpack(parsed) if parsed else None)
    return [
        NodeResult(
            unique_id=result.node.unique_id,
            status=str(result.status),
            message=" ".join((result.message or "").split()),
            failures=result.failures or 0,
            seconds=result.execution_time,
        )
        for result in results
    ]


def _memory_limits() -> tuple[str, str]:
    """What DuckDB may hold in a run, and what it takes where it is not told."""
    with duckdb.connect() as connection:
        (default,) = connection.execute("SELECT current_setting('memory_limit')").fetchone() or ("",)
    return memory_limit(), default


def _invoke(args: list[str], project: Path, manifest: "Manifest | None" = None) -> Sequence[Any]:
    # dbt takes most of two seconds to import, which nothing but a build or a first parse needs.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    flags = [
        "--project-dir", str(project), "--profiles-dir", str(PROJECT_DIR), "--quiet", "--no-use-colors",
        "--no-send-anonymous-usage-stats", "--no-version-check",
    ]  # fmt: skip
    try:
        outcome = dbtRunner(manifest=manifest).invoke([*args, *flags])
    finally:
        # dbt keeps the database open until told otherwise: nobody else could open the warehouse.
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if outcome.exception is not None:
        raise DbtError(" ".join(str(outcome.exception).split()))
    return getattr(outcome.result, "results", ())


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """dbt's profile reads the environment; what stood there before comes back."""
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
