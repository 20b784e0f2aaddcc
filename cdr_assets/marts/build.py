"""dbt, in this process: compiling the project once, and building the marts from what was parsed.

A dbt of its own process takes 10 s a build, most of it start-up; in process, with the parsed project kept, it takes 2.
How the models become assets is `orchestration`; when they are built is `ingest/building.py`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from filelock import FileLock

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.lateness import FINAL_AFTER, OPEN_FOR
from cdr_assets.domain.settings import ROOT, Settings
from cdr_assets.warehouse import memory_limit
from cdr_assets.warehouse.messages import is_out_of_memory

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from cdr_assets.marts.lineage import Lineage

PROJECT_DIR = ROOT / "dbt_project"
# What was parsed is the same for every warehouse; what a build writes is not, and lies in the data folder.
_PARSED = PROJECT_DIR / "target"
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


def manifest_path() -> Path:
    """The parsed project; parsed now if it was never or has changed since. Takes 5 s then, no time otherwise.

    Beside it lies `lineage.json`, read from the same project's compiled SQL.
    """
    manifest = _PARSED / "manifest.json"
    if not _is_fresh(manifest):
        _PARSED.mkdir(parents=True, exist_ok=True)
        # Two processes that start together must not write the same files.
        with FileLock(_PARSED / "parse.lock"):
            if not _is_fresh(manifest):
                _compile(manifest)
    return manifest


def read_lineage() -> "Lineage":
    """What the columns of the models are made of."""
    lineage: Lineage = json.loads(manifest_path().with_name(_LINEAGE).read_text(encoding="utf-8"))
    return lineage


def _compile(manifest: Path) -> None:
    # sqlglot is needed here alone.
    from cdr_assets.marts.lineage import find_lineage

    # In a folder of its own, and then put in place whole, the manifest last: others read these files without a lock,
    # and half a file that a killed process left would pass for the newest for ever.
    parsing = _PARSED / "parsing"
    shutil.rmtree(parsing, ignore_errors=True)
    args = ["compile", "--select", "resource_type:model"]
    # An empty warehouse, in memory: the SQL of a first build, which has every column.
    with _environment(CDR_WAREHOUSE=":memory:", **_LATENESS):
        _invoke([*args, "--target-path", str(parsing), "--log-path", str(_PARSED / "logs")])
    lineage = find_lineage(json.loads((parsing / manifest.name).read_text(encoding="utf-8")))
    (parsing / _LINEAGE).write_text(json.dumps(lineage), encoding="utf-8")
    for name in (_LINEAGE, _MANIFEST, manifest.name):
        (parsing / name).replace(manifest.with_name(name))
    shutil.rmtree(parsing, ignore_errors=True)


def build(settings: Settings, select: Sequence[str] = (), *, full_refresh: bool = False) -> list[NodeResult]:
    """Builds and tests the selected nodes, or all. The caller holds the warehouse. Raises DbtError if dbt itself fails.

    A failing test or model raises nothing: it is in the results. What does not do with the memory of a run is built
    once more with as much as DuckDB takes by itself: all of history at once, after a model was changed, say.
    """
    target = settings.cdr_data_dir / "dbt"
    args = ["build", "--exclude-resource-type", "unit_test", "--target-path", str(target), "--log-path", str(target)]
    if select:
        args += ["--select", *select]
    if full_refresh:
        args.append("--full-refresh")
    limit, default = _memory_limits()
    results = _build(settings, args, limit)
    if any(is_out_of_memory(result.message) for result in results):
        results = _build(settings, args, default)
    return results


def _build(settings: Settings, args: list[str], memory: str) -> list[NodeResult]:
    from dbt.contracts.graph.manifest import Manifest

    manifest = Manifest.from_msgpack(manifest_path().with_name(_MANIFEST).read_bytes())
    with _environment(
        CDR_WAREHOUSE=str(settings.warehouse_path),
        CDR_MEMORY_LIMIT=memory,
        ALOTECH_TIMEZONE=settings.alotech_timezone,
        **_LATENESS,
    ):
        results = _invoke(args, manifest)
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


def _is_fresh(manifest: Path) -> bool:
    if not all(manifest.with_name(name).exists() for name in (manifest.name, _MANIFEST, _LINEAGE)):
        return False
    parsed_at = manifest.stat().st_mtime
    return all(
        path.stat().st_mtime <= parsed_at
        for path in PROJECT_DIR.rglob("*")
        if path.suffix in (".sql", ".yml", ".csv", ".md") and _PARSED not in path.parents
    )


def _invoke(args: list[str], manifest: "Manifest | None" = None) -> Sequence[Any]:
    # dbt takes most of two seconds to import, which nothing but a build or a first parse needs.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    flags = [
        "--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR), "--quiet", "--no-use-colors",
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
