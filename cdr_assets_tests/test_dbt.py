"""Parsing the dbt project: once, and never half."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cdr_assets import dbt
from cdr_assets.warehouse.warehouse import _ROW_GROUP_SIZE

_DIE_WHILE_PARSING = """
import os, signal, sys
from pathlib import Path
from cdr_assets import dbt

def write_half(args):
    target = Path(args[args.index("--target-path") + 1])
    target.mkdir(exist_ok=True)
    (target / "partial_parse.msgpack").write_bytes(b"half")
    (target / "manifest.json").write_text('{"nodes": ')
    os.kill(os.getpid(), signal.SIGKILL)

dbt._PARSED = Path(sys.argv[1])
dbt._invoke = write_half
dbt.manifest_path()
"""


def test_half_a_manifest_of_a_killed_process_is_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", _DIE_WHILE_PARSING, str(tmp_path)], check=False)
    assert killed.returncode == -9
    monkeypatch.setattr(dbt, "_PARSED", tmp_path)
    parsed = dbt.manifest_path()
    assert json.loads(parsed.read_text(encoding="utf-8"))["nodes"]
    assert not (tmp_path / "parsing").exists()
    parsed_at = parsed.stat().st_mtime_ns
    assert dbt.manifest_path().stat().st_mtime_ns == parsed_at


def test_dbt_writes_row_groups_as_the_loads_do() -> None:
    profiles = yaml.safe_load((dbt.PROJECT_DIR / "profiles.yml").read_text(encoding="utf-8"))
    (warehouse,) = profiles["cdr_marts"]["outputs"]["warehouse"]["attach"]
    assert warehouse["options"] == {"row_group_size": _ROW_GROUP_SIZE}
