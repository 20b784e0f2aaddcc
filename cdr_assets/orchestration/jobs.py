"""The jobs: which assets, checks or ops a run consists of.

When jobs run is in `schedules` and `sensors`; the ops are in `ops`, the assets in `assets`.
"""

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
from cdr_assets.orchestration.ops import (
    ask_for_call,
    ask_for_csat,
    ask_for_open_calls,
    build_delete_old,
    build_publish_merged,
)
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition

_DESCRIPTIONS = {
    "hourly": "Fetches an hour or a range of hours, loads and checks it, builds the marts and publishes the copy. A "
    "run fails if one of its hours fails; its other hours are published all the same.",
    "lookback": "Fetches recent hours again, because calls end, change, vanish or get tags and answers later.",
}


def build_jobs(assets: AssetSelection) -> dict[str, UnresolvedAssetJobDefinition]:
    """The jobs over hours, by name.

    `assets` selects only our assets and their checks. If a user merges other assets with ours, they must not become
    part of a backfill, and an asset with other partitions would keep the code location from loading.
    """
    return {
        name: define_asset_job(name, selection=assets, description=description)
        for name, description in _DESCRIPTIONS.items()
    }


def build_merging_jobs(settings: Settings) -> dict[str, JobDefinition]:
    """The jobs that fetch single calls instead of whole hours, by name."""
    marts_of_merged, publish_merged = build_publish_merged(settings)

    def build(first: OpDefinition, name: str) -> JobDefinition:
        @job(name=name, description=first.description, executor_def=in_process_executor)
        def merging() -> None:
            publish_merged(marts_of_merged(first()))

        return merging

    ops = {"refresh_call": ask_for_call, "csat_sweep": ask_for_csat, "open_calls": ask_for_open_calls}
    return {name: build(first, name) for name, first in ops.items()}


def build_retention_job(settings: Settings) -> JobDefinition:
    """The job that deletes old calls and figures."""
    delete_old_hours = build_delete_old(settings)

    @job(description=delete_old_hours.description, executor_def=in_process_executor)
    def retention() -> None:
        delete_old_hours()

    return retention


def build_check_job(name: str, checks: AssetChecksDefinition, description: str) -> UnresolvedAssetJobDefinition:
    """A job that runs these checks without their assets."""
    return define_asset_job(name, selection=AssetSelection.checks(checks), description=description)


def build_daily_report_job(report: AssetsDefinition) -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        "daily_report",
        selection=AssetSelection.assets(report),
        description="Writes the reports of one or more days from the published copy.",
    )
