"""The front door: everything Dagster is told. Loads without network and secrets.

`build_defs` is a factory, so that tests and commands get fresh definitions for settings of their own; `defs` is what
`workspace.yaml` names, made when Dagster asks for it and not at import.
"""

import warnings

from dagster import BetaWarning, Definitions, definitions, in_process_executor

from cdr_assets.assets.cdr import build_cdr
from cdr_assets.assets.marts import build_marts
from cdr_assets.assets.published import build_published
from cdr_assets.assets.raw import build_cdr_pages
from cdr_assets.checks import build_freshness_checks, build_row_count_checks
from cdr_assets.jobs import build_freshness, build_hourly
from cdr_assets.partitions import hourly_partitions
from cdr_assets.resources import Alotech
from cdr_assets.schedules import build_freshness_schedule, build_hourly_schedule
from cdr_assets.sensors import build_gap_sensor
from cdr_assets.settings import Settings, read_settings
from cdr_assets.warehouse import Warehouse

# Backfill policies are what makes a ranged run one run; the version of Dagster is pinned.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy.*")


def build_defs(settings: Settings | None = None) -> Definitions:
    """Assets, checks, jobs, schedules and sensors for the given settings, by default the environment's.

    Raises SettingsError when the environment is wrong.
    """
    settings = settings or read_settings()
    partitions = hourly_partitions(settings)
    marts = build_marts(partitions, settings)
    freshness = build_freshness_checks(partitions, settings)
    hourly = build_hourly()
    freshness_job = build_freshness(freshness)
    return Definitions(
        assets=[
            build_cdr_pages(partitions),
            build_cdr(partitions, settings.alotech_timezone),
            marts,
            build_published(partitions, settings, [key for key in marts.keys if key.path[0] == "marts"]),
        ],
        asset_checks=[build_row_count_checks(partitions), freshness],
        jobs=[hourly, freshness_job],
        schedules=[
            build_hourly_schedule(hourly, partitions, settings),
            build_freshness_schedule(freshness_job, settings),
        ],
        sensors=[build_gap_sensor(hourly, partitions, settings)],
        resources={"alotech": Alotech(settings), "warehouse": Warehouse(settings.warehouse_path)},
        # A process for each step would pay the imports every time: 299 s against 88 s for the same backfill.
        executor=in_process_executor,
    )


@definitions
def defs() -> Definitions:
    return build_defs()
