"""cdr_assets: the whole `cdr backfill`, from fetching to the published copy, with checks and marts.

With a fifth argument `tables`, the runs stop after the four tables, without checks, marts and publishing. With `parse`,
it only parses the dbt project: that takes seconds, once after an installation, and is therefore done before measuring.
With `build`, it only builds all marts of the calls that the warehouse has, from nothing.
"""

import datetime as dt
import os
import sys
from pathlib import Path

from benchmarks.contenders import AT_ONCE, TIME_ZONE, TOKEN, Task, task


def configure(base_url: str, start: dt.datetime, database: Path) -> None:
    """Sets the environment so that `cdr` puts all its files into the database's folder."""
    folder = database.parent
    os.environ |= {
        "ALOTECH_BASE_URL": base_url,
        "ALOTECH_APP_TOKEN": TOKEN,
        "ALOTECH_TIMEZONE": TIME_ZONE,
        "ALOTECH_MAX_CONCURRENCY": f"{AT_ONCE}",
        "ALOTECH_REQUESTS_PER_SECOND": "0",
        "CDR_START": f"{start}",
        "CDR_DATA_DIR": f"{folder}",
        "CDR_WAREHOUSE": f"{database}",
        "CDR_PUBLISHED": f"{folder / 'published' / database.name}",
        "DAGSTER_HOME": f"{folder / 'dagster'}",
    }


def backfill(start: dt.datetime, finish: dt.datetime) -> None:
    from cdr_assets.cli.commands import main as cdr

    sys.argv = ["cdr", "backfill", f"{start}", f"{finish}"]
    cdr()


def load_tables(task: Task) -> None:
    from cdr_assets.definitions import build_defs
    from cdr_assets.domain.hours import consecutive
    from cdr_assets.domain.settings import read_settings
    from cdr_assets.orchestration.keys import CDR_KEYS, PAGES_KEY
    from cdr_assets.orchestration.partitions import range_tags
    from cdr_assets.orchestration.runs import QUIET, ended_hours, open_instance

    settings = read_settings()
    job = build_defs(settings).resolve_job_def("hourly")
    with open_instance(settings) as instance:
        for hours in consecutive(ended_hours(settings, task.start, task.finish, dt.datetime.now(dt.UTC))):
            job.execute_in_process(
                run_config=QUIET, instance=instance, tags=range_tags(hours), asset_selection=[PAGES_KEY, *CDR_KEYS]
            )


def parse_project() -> None:
    from cdr_assets.domain.settings import read_settings
    from cdr_assets.marts.build import parse

    parse(read_settings())


def build_all_marts() -> None:
    from cdr_assets.domain.settings import read_settings
    from cdr_assets.marts.build import build

    broken = [result for result in build(read_settings(), full_refresh=True) if result.status == "error"]
    if broken:
        raise RuntimeError(f"{broken}")


if __name__ == "__main__":
    asked = task()
    configure(asked.base_url, asked.start, Path(asked.database))
    if "parse" in sys.argv[5:]:
        parse_project()
    elif "build" in sys.argv[5:]:
        build_all_marts()
    elif "tables" in sys.argv[5:]:
        load_tables(asked)
    else:
        backfill(asked.start, asked.finish)
