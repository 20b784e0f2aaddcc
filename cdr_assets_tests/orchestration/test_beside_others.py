"""Our definitions merged with a user's: the user's assets are not in our runs, and the code location loads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import (
    AssetCheckResult,
    AssetKey,
    DailyPartitionsDefinition,
    Definitions,
    asset,
    asset_check,
    define_asset_job,
)

from cdr_assets.definitions import build_defs
from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record, settings_for


# Dagster maps days to our hours only in the same time zone.
@asset(
    deps=[PUBLISHED_KEY],
    partitions_def=DailyPartitionsDefinition(start_date="2026-03-01", timezone="Europe/Istanbul"),
)
def forecast() -> None:
    """A user's own daily asset downstream of ours."""


@asset(partitions_def=DailyPartitionsDefinition(start_date="2026-03-01"))
def weather() -> None:
    """A user's daily asset that has nothing to do with ours."""


@asset(key_prefix="marts")
def mood() -> None:
    """A user's asset without partitions, with a name like ours."""


@pytest.fixture
def merged(tmp_path: Path) -> Iterator[Definitions]:
    with Sandbox(ListedCalls([record("a")]), token=TOKEN) as sandbox:
        ours = build_defs(settings_for(sandbox.base_url, tmp_path / "data"))
        yield Definitions.merge(
            ours, Definitions(assets=[forecast, weather, mood], jobs=[define_asset_job("foreign", [forecast])])
        )


def test_the_location_loads_and_our_jobs_hold_our_assets_alone(merged: Definitions) -> None:
    Definitions.validate_loadable(merged)
    for name in ("hourly", "lookback"):
        keys = merged.resolve_job_def(name).asset_layer.executable_asset_keys
        assert PUBLISHED_KEY in keys
        assert not {forecast.key, weather.key, mood.key} & keys


@pytest.mark.parametrize(
    ("blocking", "raises", "succeeds", "is_published"),
    [(False, False, True, True), (False, True, False, True), (True, False, False, False)],
    ids=["fails", "raises", "blocks"],
)
def test_an_hour_runs_beside_others_and_only_a_blocking_check_on_a_mart_stops_it(
    merged: Definitions, pipeline: Pipeline, blocking: bool, raises: bool, succeeds: bool, is_published: bool
) -> None:
    @asset_check(asset=AssetKey(["marts", "queue_daily"]), blocking=blocking)
    def is_right() -> AssetCheckResult:
        if raises:
            raise ValueError("the user's own mistake")
        return AssetCheckResult(passed=False)

    run = (
        Definitions.merge(merged, Definitions(asset_checks=[is_right]))
        .resolve_job_def("hourly")
        .execute_in_process(
            instance=pipeline.instance, partition_key=HOUR.strftime("%Y-%m-%d-%H:%M"), raise_on_error=False
        )
    )
    assert run.success is succeeds
    assert forecast.op.name not in {event.step_key for event in run.all_events}
    assert pipeline.settings.published_path.exists() is is_published
