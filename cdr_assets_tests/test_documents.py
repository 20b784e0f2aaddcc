"""docs/when-something-is-wrong.md has everything that an operator may see."""

import re
from pathlib import Path

from cdr_assets.alerts.faults import Kind
from cdr_assets.alerts.message import CURES, HELP
from cdr_assets.definitions import build_defs
from cdr_assets.domain.project import PROJECT
from cdr_assets_tests.conftest import settings_for

PAGE = (PROJECT / HELP).read_text(encoding="utf-8")


def test_every_kind_of_fault_has_a_cure_and_a_section() -> None:
    assert set(CURES) == set(Kind)
    assert set(re.findall("^### (.*)$", PAGE, flags=re.MULTILINE)) >= {kind.value for kind in Kind}


def test_every_check_is_explained(tmp_path: Path) -> None:
    graph = build_defs(settings_for("http://127.0.0.1:1", tmp_path / "data")).resolve_asset_graph()
    names = {key.name for key in graph.asset_check_keys}
    explained = re.findall(r"^\| ([^|]*`[^|]*)\|", PAGE.split("## Checks")[1].split("\n## ")[0], flags=re.MULTILINE)
    assert {name for cell in explained for name in re.findall("`([a-z_]+)`", cell)} == names
