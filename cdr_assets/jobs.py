"""The jobs: what a run by schedule, sensor or terminal makes."""

from dagster import AssetChecksDefinition, AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def build_hourly() -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        "hourly",
        selection=AssetSelection.all(),
        description="An hour (or a range of hours) from the vendor's API to the published copy, checks included.",
    )


def build_freshness(freshness: AssetChecksDefinition) -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        "freshness",
        selection=AssetSelection.checks(freshness),
        description="Judges the published copy's freshness, also when nothing else runs.",
    )
