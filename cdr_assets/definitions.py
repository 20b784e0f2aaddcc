"""Dagster's entry point: puts all assets, checks, jobs, schedules and sensors together.

Loading it needs no network and no secrets. `workspace.yaml` names `defs`, which builds the definitions only when
Dagster calls it. Tests and commands call `build_defs` with their own settings. The assets, checks and jobs themselves
are built in `orchestration`.
"""

import warnings

from dagster import AssetSelection, BetaWarning, Definitions, JobDefinition, definitions, in_process_executor

from cdr_assets.domain.files import keep_private
from cdr_assets.domain.protection import protect
from cdr_assets.domain.settings import Settings, read_settings
from cdr_assets.ingest.fetching import Alotech
from cdr_assets.orchestration.alerting import build_alert_sensors
from cdr_assets.orchestration.assets.cdr import build_cdr
from cdr_assets.orchestration.assets.daily_report import build_daily_report
from cdr_assets.orchestration.assets.marts import build_marts
from cdr_assets.orchestration.assets.published import build_published
from cdr_assets.orchestration.assets.raw import SOURCE, build_cdr_pages
from cdr_assets.orchestration.checks import build_audit_check, build_freshness_checks, build_row_count_checks
from cdr_assets.orchestration.jobs import (
    build_check_job,
    build_daily_report_job,
    build_jobs,
    build_merging_jobs,
    build_retention_job,
)
from cdr_assets.orchestration.partitions import daily_partitions, hourly_partitions
from cdr_assets.orchestration.private import UnresolvedAssetJobDefinition
from cdr_assets.orchestration.resources import build_warehouse
from cdr_assets.orchestration.schedules import build_schedules
from cdr_assets.orchestration.sensors import build_gap_sensor
from cdr_assets.publishing.old_names import take_over_old_names

# The backfill policy makes a backfill of many hours one run. It is in beta, but Dagster's version is pinned.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy.*")


def build_defs(settings: Settings | None = None) -> Definitions:
    """All definitions for the given settings; without them, for the settings of the environment.

    Raises SettingsError if a setting is wrong, OperatorError if other users own or can change the data folder.
    """
    settings = settings or read_settings()
    protect(settings)
    take_over_old_names(settings)
    partitions = hourly_partitions(settings)
    marts = build_marts(partitions, settings)
    hourly_assets = [
        build_cdr_pages(partitions),
        build_cdr(partitions, settings),
        marts,
        build_published(partitions, settings, [key for key in marts.keys if key.path[0] in ("marts", "bi")]),
    ]
    freshness = build_freshness_checks(partitions, settings)
    audit = build_audit_check(partitions)
    report = build_daily_report(daily_partitions(settings), settings)
    asset_jobs = build_jobs(AssetSelection.assets(*hourly_assets)) | {
        "freshness": build_check_job(
            "freshness", freshness, "Checks whether the published copy is up to date, even when nothing else runs."
        ),
        "daily_report": build_daily_report_job(report),
        "audit": build_check_job("audit", audit, "Fetches a sample of old hours again and compares them."),
    }
    jobs: dict[str, JobDefinition | UnresolvedAssetJobDefinition] = {
        **asset_jobs,
        **build_merging_jobs(settings),
        "retention": build_retention_job(settings),
    }
    return Definitions(
        assets=[SOURCE, *hourly_assets, report],
        asset_checks=[build_row_count_checks(partitions), freshness, audit],
        jobs=jobs.values(),
        schedules=build_schedules(jobs, partitions, settings),
        sensors=[
            build_gap_sensor(asset_jobs["hourly"], partitions, settings),
            *build_alert_sensors(partitions, settings),
        ],
        resources={"alotech": Alotech(settings), "warehouse": build_warehouse(settings)},
        # With a process for each step, every step imports everything again: the same backfill takes 299 s, not 88 s.
        executor=in_process_executor,
    )


@definitions
def defs() -> Definitions:
    # Dagster's processes load this for us alone. `build_defs` may be part of somebody else's code location, whose files
    # the umask would close as well; there, our folders close what is in them.
    keep_private()
    return build_defs()
