"""The jobs: what a run by schedule, sensor or terminal makes."""

from dagster import (
    AssetChecksDefinition,
    AssetsDefinition,
    AssetSelection,
    JobDefinition,
    OpDefinition,
    define_asset_job,
    in_process_executor,
    job,
)

from cdr_assets.domain.settings import Settings
from cdr_assets.orchestration.ops import ask_for_call, ask_for_csat, ask_for_open_calls, build_publish_merged
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition

_WAY_OF_A_CALL = {
    "hourly": "An hour (or a range of hours) from the vendor's API to the published copy, checks included.",
    "lookback": "Recent hours again: calls end, change, vanish and get tags and answers after they were first read.",
}


def build_jobs(assets: AssetSelection) -> dict[str, UnresolvedAssetJobDefinition]:
    """The jobs over the way of a call, by name.

    `assets` names ours, with their checks: of assets that a user merges with ours, none may become part of a backfill,
    and one with other partitions would keep the whole location from loading.
    """
    return {
        name: define_asset_job(name, selection=assets, description=description)
        for name, description in _WAY_OF_A_CALL.items()
    }


def build_merging_jobs(settings: Settings) -> dict[str, JobDefinition]:
    """The jobs that ask for calls and not for hours, by name."""
    marts_of_merged, publish_merged = build_publish_merged(settings)

    def build(first: OpDefinition, name: str) -> JobDefinition:
        @job(name=name, description=first.description, executor_def=in_process_executor)
        def merging() -> None:
            publish_merged(marts_of_merged(first()))

        return merging

    ops = {"refresh_call": ask_for_call, "csat_sweep": ask_for_csat, "open_calls": ask_for_open_calls}
    return {name: build(first, name) for name, first in ops.items()}


def build_check_job(name: str, checks: AssetChecksDefinition, description: str) -> UnresolvedAssetJobDefinition:
    """A job of checks that run by themselves."""
    return define_asset_job(name, selection=AssetSelection.checks(checks), description=description)


def build_daily_report_job(report: AssetsDefinition) -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        "daily_report",
        selection=AssetSelection.assets(report),
        description="The pages of some days, from the published copy.",
    )
