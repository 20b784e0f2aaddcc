"""Backfills through the web server and the daemon: with GraphQL, and with clicks in a real browser."""

from pathlib import Path
from typing import Any

import pytest

from cdr_assets_tests.ui.conftest import CALLS_AN_HOUR, Dev, open_dialog

pytestmark = pytest.mark.campaign

_LAUNCH = """mutation($backfill: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $backfill) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
    }
}"""
_LAUNCH_FAILED = """mutation($of: String!) {
    reexecutePartitionBackfill(reexecutionParams: {parentRunId: $of, strategy: FROM_FAILURE}) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
    }
}"""
_CANCEL = "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }"
_PARTITIONS_OF = """query($id: String!) {
    partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { partitionNames } }
}"""
_RUNS_UNDER_WAY = "{ runsOrError(filter: {statuses: [STARTED, CANCELING]}) { ... on Runs { results { runId } } } }"
_RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
_KEYS = "{ assetNodes { assetKey { path } } }"


def ended_backfill(dev: Dev, index: int = 0) -> str:
    """Waits until a backfill has ended, by default the newest, and returns its status."""
    ended = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")

    def status() -> str:
        return str(dev.ask(_BACKFILLS)["partitionBackfillsOrError"]["results"][index]["status"])

    dev.wait_for(lambda: status() in ended, "the backfill to end")
    return status()


def test_schedules_and_sensor_are_on_by_default(dev: Dev) -> None:
    assert dev.automation["hourly"] == "RUNNING"
    assert dev.automation["gaps"] == "RUNNING"
    assert set(dev.automation.values()) == {"RUNNING"}


def launch(dev: Dev, keys: list[str]) -> str:
    """Launches a backfill of the hourly assets' partitions; returns its id."""
    paths = [node["assetKey"]["path"] for node in dev.ask(_KEYS)["assetNodes"]]
    backfill = {
        "assetSelection": [{"path": path} for path in paths if path != ["published", "daily_report"]],
        "partitionNames": keys,
        "title": "by GraphQL",
    }
    launched = dev.ask(_LAUNCH, backfill=backfill)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def test_a_backfill_by_graphql_reaches_the_published_copy(dev: Dev) -> None:
    hours = dev.hours[-2:]
    launch(dev, dev.keys[-2:])
    assert ended_backfill(dev) == "COMPLETED_SUCCESS"
    published = dev.published()
    assert {hour: published.get(hour) for hour in hours} == dict.fromkeys(hours, CALLS_AN_HOUR)


def test_failed_hours_are_launched_again_by_graphql(dev: Dev) -> None:
    dev.refused.refuse(dev.hours[7])
    failed = launch(dev, dev.keys[6:8])
    assert ended_backfill(dev) == "COMPLETED_FAILED"
    assert set(dev.hours[6:8]) - set(dev.published()) == {dev.hours[7]}
    dev.refused.mended = True
    again = dev.ask(_LAUNCH_FAILED, of=failed)["reexecutePartitionBackfill"]
    assert again["__typename"] == "LaunchBackfillSuccess", again
    assert ended_backfill(dev) == "COMPLETED_SUCCESS"
    dev.refused.refuse(dev.hours[2])
    assert dev.published()[dev.hours[7]] == CALLS_AN_HOUR
    # The good hours were not run again.
    launched = dev.ask(_PARTITIONS_OF, id=again["backfillId"])["partitionBackfillOrError"]["partitionNames"]
    assert launched == [dev.keys[7]]


def test_a_cancelled_backfill_ends_soon_and_leaves_nothing_behind(dev: Dev) -> None:
    # The daemon takes up to half a minute to notice a cancelled backfill.
    dev.refused.seconds = 50
    cancelled = launch(dev, dev.keys[8:10])
    dev.wait_for(lambda: dev.ask(_RUNS_UNDER_WAY)["runsOrError"]["results"] != [], "the run to start")
    told = dev.ask(_CANCEL, id=cancelled)["cancelPartitionBackfill"]
    assert told["__typename"] == "CancelBackfillSuccess", told
    assert ended_backfill(dev) == "CANCELED"
    dev.wait_for(lambda: dev.ask(_RUNS_UNDER_WAY)["runsOrError"]["results"] == [], "the run to end")
    assert not set(dev.hours[8:10]) & set(dev.published())
    # The lock and the pool's slots are free again.
    dev.refused.seconds = 0
    launch(dev, dev.keys[8:10])
    assert ended_backfill(dev) == "COMPLETED_SUCCESS"
    assert set(dev.hours[8:10]) <= set(dev.published())


def test_a_backfill_in_the_browser_and_its_failed_hour_again(page: Any, dev: Dev, tmp_path: Path) -> None:
    first, last, refused = dev.keys[0], dev.keys[5], dev.keys[2]

    dialog = open_dialog(page, dev)
    box = dialog.locator("input[type=text]").first
    box.fill(f"[{first}...{last}]")
    box.press("Enter")
    dialog.get_by_text("6 partitions", exact=True).wait_for()
    page.screenshot(path=tmp_path / "backfill.png")
    dialog.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()
    assert ended_backfill(dev) == "COMPLETED_FAILED"

    # Only the failed hour is missing, and the UI shows it.
    good = [hour for hour in dev.hours[:6] if hour != dev.hours[2]]
    published = dev.published()
    assert {hour: published.get(hour) for hour in dev.hours[:6]} == {
        hour: CALLS_AN_HOUR if hour in good else None for hour in dev.hours[:6]
    }
    for asset in ("raw/cdr_pages", "cdr/calls", "published/cdr"):
        page.goto(f"{dev.address}/assets/{asset}?view=partitions")
        page.get_by_text("Failed (1)").wait_for()
    page.screenshot(path=tmp_path / "partitions.png")

    dev.refused.mended = True
    dialog = open_dialog(page, dev)
    dialog.get_by_text("Failed", exact=True).click()
    dialog.get_by_text("1 partition", exact=True).wait_for()
    assert dialog.locator("input[type=text]").first.input_value() == refused
    dialog.get_by_role("button", name="Launch 1 run").click()
    dev.wait_for(lambda: dev.hours[2] in dev.published(), "the failed hour to be published")
    assert dev.published()[dev.hours[2]] == CALLS_AN_HOUR
    page.goto(f"{dev.address}/assets/cdr/calls?view=partitions")
    page.get_by_text("Failed (0)").wait_for()


def test_the_page_of_a_run_under_way_shows_what_happens(page: Any, dev: Dev, tmp_path: Path) -> None:
    refused = dev.hours[9]
    dev.refused.refuse(refused)
    dev.refused.holds_all = dev.refused.holds_others = True
    try:
        launch(dev, dev.keys[8:10])
        dev.wait_for(lambda: dev.ask(_RUNS_UNDER_WAY)["runsOrError"]["results"] != [], "the run to start")
        [run] = dev.ask(_RUNS_UNDER_WAY)["runsOrError"]["results"]
        page.goto(f"{dev.address}/runs/{run['runId']}")
        page.get_by_text("STEP_START", exact=True).first.wait_for()
        failed = page.get_by_text(f"{refused:%Y-%m-%d %H:%M} failed:")
        assert not failed.count()
        # Now one hour fails while the others are still waiting.
        dev.refused.holds_all = False
        failed.first.wait_for()
        page.screenshot(path=tmp_path / "run.png")
        assert dev.ask(_RUN, id=run["runId"])["runOrError"]["status"] == "STARTED"
    finally:
        dev.refused.holds_all = dev.refused.holds_others = False
    assert ended_backfill(dev) == "COMPLETED_FAILED"
    page.get_by_text("RUN_FAILURE", exact=True).first.wait_for()
    dev.refused.refuse(dev.hours[2])
