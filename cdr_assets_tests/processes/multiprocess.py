"""Runs the hourly job with a process for each step, in an instance without dagster.yaml, as a user may configure it.

python -m cdr_assets_tests.processes.multiprocess START HOURS [STAGE ...]
"""

import datetime as dt
import sys

from dagster import (
    DagsterInstance,
    Definitions,
    JobDefinition,
    execute_job,
    multiprocess_executor,
    reconstructable,
)

from cdr_assets.definitions import build_defs
from cdr_assets.domain.settings import read_settings
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between, range_tags


def hourly() -> JobDefinition:
    defs = build_defs()
    return Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        resources=defs.resources,
        executor=multiprocess_executor,
    ).resolve_job_def("hourly")


def main() -> None:
    settings = read_settings()
    start = dt.datetime.fromisoformat(sys.argv[1]).replace(tzinfo=settings.zone)
    finish = start + dt.timedelta(hours=int(sys.argv[2]))
    hours = hours_between(hourly_partitions(settings), start, finish, dt.datetime.now(dt.UTC))
    stages = sys.argv[3:] or ("raw", "cdr", "staging", "intermediate", "marts", "published")
    keys = [key for key in hourly().asset_layer.executable_asset_keys if key.path[0] in stages]
    # The caller reads the output only at the end. A full pipe would block this process forever.
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with DagsterInstance.get() as instance:
        done = execute_job(
            reconstructable(hourly),
            instance=instance,
            run_config=quiet,
            tags=range_tags(hours),
            asset_selection=keys,
        )
    sys.exit(not done.success)


if __name__ == "__main__":
    main()
