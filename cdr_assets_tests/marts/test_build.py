"""Running dbt: the project is parsed once and never half, and large models are built with little memory or from
disk."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdr_assets.domain.settings import Settings
from cdr_assets.marts import build as dbt
from cdr_assets.warehouse import out_of_memory

_DIE_WHILE_PARSING = """
import os, signal, sys
from pathlib import Path
from cdr_assets.domain.settings import Settings
from cdr_assets.marts import build as dbt
from cdr_assets.warehouse import out_of_memory

def write_half(args, project):
    target = Path(args[args.index("--target-path") + 1])
    target.mkdir(exist_ok=True)
    (target / "partial_parse.msgpack").write_bytes(b"half")
    (target / "manifest.json").write_text('{"nodes": ')
    os.kill(os.getpid(), signal.SIGKILL)

dbt._invoke = write_half
dbt.parse(Settings(cdr_data_dir=sys.argv[1]))
"""


def test_half_a_manifest_of_a_killed_process_is_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", _DIE_WHILE_PARSING, str(tmp_path)], check=False)
    assert killed.returncode == -9
    folder = tmp_path / "dbt" / "parsed"
    assert (folder / "parsing" / "manifest.json").exists()
    monkeypatch.setattr(dbt, "parsed_in", lambda _: folder)
    parsed = dbt.parse(Settings())
    assert parsed.manifest["nodes"]
    assert not (folder / "parsing").exists()
    parsed_at = parsed.folder.stat().st_mtime_ns
    assert dbt.parse(Settings()).folder.stat().st_mtime_ns == parsed_at


def test_a_changed_project_is_parsed_again_whatever_its_files_times_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel gives all files the same time, and an upgrade may give older ones."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / "one.sql").write_text("select 1 as one")
    monkeypatch.setattr(dbt, "PROJECT_DIR", project)
    before = dbt._fingerprint()
    changed = project / "models" / "one.sql"
    changed.write_text("select 2 as one")
    os.utime(changed, (0, 0))
    assert dbt._fingerprint() != before


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, tuple[str, str]]]:
    """Builds the given models instead of ours, each after the ones before it; returns the status and message of
    each."""
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    shutil.copy(dbt.PROJECT_DIR / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text("name: cdr_marts\nprofile: cdr_marts\nmodels: {+materialized: table}\n")
    monkeypatch.setattr(dbt, "PROJECT_DIR", folder)
    monkeypatch.setattr(dbt, "parsed_in", lambda _: tmp_path / "parsed")
    settings = Settings(cdr_data_dir=tmp_path, cdr_warehouse=tmp_path / "cdr.duckdb")

    def build(**models: str) -> dict[str, tuple[str, str]]:
        before = ""
        for name, query in models.items():
            (folder / "models" / f"{name}.sql").write_text(f"{before}\n{query}")
            before = f"-- depends_on: {{{{ ref('{name}') }}}}"
        return {result.unique_id.split(".")[-1]: (result.status, result.message) for result in dbt.build(settings)}

    return build


def test_a_model_that_needs_more_than_its_memory_goes_on_from_disk(
    project: Callable[..., dict[str, tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "memory_limit", lambda: "120MB")
    sort = "select row_number() over (order by hash(n)) as place from range(10_000_000) as _ (n)"
    assert project(first=f"select max(place) as last from ({sort})", second="select 1 as one") == {
        "first": ("success", "OK"),
        "second": ("success", "OK"),
    }


def test_a_model_that_cannot_do_with_its_memory_says_what_to_do(
    project: Callable[..., dict[str, tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "memory_limit", lambda: "60MB")
    # DuckDB can build a list only in memory.
    one_list = "select len(list(n)) as long from range(20_000_000) as _ (n)"
    assert project(first=one_list)["first"] == ("error", out_of_memory())
