"""The demo keeps its files apart from those of a configured tenant."""

from pathlib import Path

import pytest

from cdr_assets.cli.demo import apart_from
from cdr_assets.domain.settings import read_settings


def test_the_demo_writes_nowhere_near_a_tenant_configured_in_dot_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_env = tmp_path / ".env"
    dot_env.write_text(
        f"ALOTECH_TENANT=acme\nCDR_WAREHOUSE={tmp_path}/real/cdr.duckdb\nCDR_PUBLISHED={tmp_path}/shown/cdr.duckdb\n"
    )
    monkeypatch.setattr("cdr_assets.domain.settings.find_dot_env", lambda: dot_env)
    tenant = read_settings()
    assert tenant.warehouse_path == tmp_path / "real" / "cdr.duckdb"
    for name, value in apart_from(tenant).items():
        monkeypatch.setenv(name, value)
    demo = read_settings()
    folder = tenant.cdr_data_dir / "demo"
    assert {demo.cdr_data_dir, demo.warehouse_path.parents[1], demo.published_path.parents[1]} == {folder}
