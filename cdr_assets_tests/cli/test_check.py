"""What `cdr check` finds, each thing by itself."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdr_assets.cli import check
from cdr_assets.cli.check import Finding, Level, look_at
from cdr_assets.domain.settings import Settings
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, TOKEN, record, settings_for

NOW = dt.datetime(2026, 3, 2, 5, 30, tzinfo=dt.timezone(dt.timedelta(hours=3)))


def found(settings: Settings, now: dt.datetime = NOW) -> dict[str, Finding]:
    return {finding.name: finding for finding in look_at(settings, now)}


@pytest.fixture
def settings(calls: ListedCalls, tmp_path: Path) -> Iterator[Settings]:
    with Sandbox(calls, token=TOKEN) as sandbox:
        yield settings_for(sandbox.base_url, tmp_path / "data")


def test_a_new_installation_is_sound(settings: Settings, calls: ListedCalls) -> None:
    now = dt.datetime.now(dt.UTC)
    calls.add(record("now", now.astimezone(settings.zone).replace(tzinfo=None, microsecond=0)))
    findings = found(settings, now)
    assert {name for name, finding in findings.items() if finding.level is not Level.OK} == {"alerts"}, findings
    assert findings["clock"].told == "agrees with the tenant's"
    assert findings["calls"].told.startswith("the newest started at ")
    assert findings["newest hour"].told.startswith("none is published yet")
    # The first run makes the warehouse, and notes the first hour of a new installation.
    assert not settings.warehouse_path.exists()


@pytest.mark.parametrize(("minutes", "told"), [(-180, "behind"), (30, "ahead of")])
def test_a_wrong_clock_is_told(settings: Settings, minutes: int, told: str) -> None:
    clock = found(settings, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes))["clock"]
    assert clock.level is Level.WRONG
    assert f" {told} the tenant's" in clock.told


def test_a_call_of_the_future_shows_a_wrong_zone(settings: Settings, calls: ListedCalls) -> None:
    calls.add(record("a", HOUR))
    assert found(settings)["calls"].level is Level.OK
    calls.add({"key": "no date"}, f"{HOUR}")
    calls.add(record("b", HOUR + dt.timedelta(hours=3)))
    wrong = found(settings)["calls"]
    assert wrong.level is Level.WRONG
    assert wrong.told.startswith(f"the newest call started at {HOUR + dt.timedelta(hours=3)}, and in Europe/Istanbul")


def test_a_token_that_is_refused_and_a_server_that_is_away_do_not_hide_the_rest(
    settings: Settings, tmp_path: Path
) -> None:
    for wrong in (
        settings.model_copy(update={"alotech_app_token": type(settings.alotech_app_token)("another-wrong-token")}),
        settings_for("http://127.0.0.1:9/api/", tmp_path / "data"),
    ):
        levels = {name: finding.level for name, finding in found(wrong).items()}
        assert {name for name, level in levels.items() if level is Level.WRONG} == {"tenant", "clock", "calls"}
        assert {"configuration", "files", "disk", "warehouse", "newest hour"} <= set(levels)


def test_a_full_disk_and_who_holds_the_warehouse_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Warehouse(settings.warehouse_path).connect("run 12345678, cdr"):
        monkeypatch.setattr(check, "_WORKING_SPACE", 1 << 60)
        findings = found(settings)
    assert findings["disk"].level is Level.WRONG
    assert "free some disk" in findings["disk"].told
    assert findings["warehouse"].level is Level.OK
    assert "is held by run 12345678, cdr (process" in findings["warehouse"].told
