"""Makes a data folder with the code of an old commit: a warehouse, a copy, keys and a Dagster home as it wrote them.

`python -m cdr_assets_tests.upgrade.old_code FOLDER [HOURS CALLS_PER_HOUR]` checks the commit out below FOLDER, installs
the package that only it needs there, and runs its `cdr backfill` against today's sandbox. It leaves FOLDER/data, and
FOLDER/records.jsonl with the calls that were served. With `--archive` it also packs both into the file that
`test_upgrade.py` reads where there is no history of git.
"""

import datetime as dt
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

from cdr_assets.domain.project import PROJECT
from cdr_assets.sandbox import GeneratedCentre, RecordsFile, Sandbox
from cdr_assets_tests.cli.command import outside
from cdr_assets_tests.conftest import TOKEN
from cdr_assets_tests.orchestration.field_calls import DAY, FIELD_CALLS

#: The version of before the rooms were layers: tables of version 4, other names of files and modules.
COMMIT = "a975551"

#: Files that the commit made, of a few hours.
ARCHIVE = Path(__file__).with_name(f"{COMMIT}.tar.xz")

_ZONE = "Europe/Istanbul"
_NEEDED = "dagster-dbt==0.29.27"

#: The tenant and its settings, for the old code and for the new.
ENVIRONMENT = {
    "ALOTECH_TENANT": "upgraded",
    "ALOTECH_APP_TOKEN": TOKEN,
    "ALOTECH_REQUESTS_PER_SECOND": "0",
    "CDR_START": f"{DAY:%Y-%m-%d}",
}


def write_records(path: Path, hours: int, calls_per_hour: int) -> None:
    """Writes generated calls of so many hours, and wrong ones as they occur in practice."""
    centre = GeneratedCentre(seed=1, calls_per_hour=calls_per_hour, time_zone=_ZONE)
    finish = DAY + dt.timedelta(hours=hours)
    span = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (DAY, finish)]
    generated = [
        call for segment in centre.segments(*span, True) for call in segment if span[0] <= call.calldate < span[1]
    ]
    # Each answer has another link, which would be another call each time.
    records = [call.record() | {"recordingurl": None} for call in generated]
    records += [
        call
        for call in FIELD_CALLS
        # With the first one the old code could build no marts at all.
        if call["key"] != "lowest wait" and span[0] <= call["calldate"] < span[1]
    ]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def make(folder: Path, hours: int, calls_per_hour: int) -> None:
    """Makes FOLDER/data and FOLDER/records.jsonl, whose last hour the old code does not load.

    Raises CalledProcessError if git, pip or the old code fails.
    """
    code, packages, records = folder / "code", folder / "packages", folder / "records.jsonl"
    code.mkdir(parents=True)
    write_records(records, hours, calls_per_hour)
    archive = subprocess.run(["git", "-C", str(PROJECT), "archive", COMMIT], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", str(packages), _NEEDED], check=True)
    finish = DAY + dt.timedelta(hours=hours - 1)
    with Sandbox(RecordsFile(records), token=TOKEN) as sandbox:
        subprocess.run(
            [sys.executable, "-m", "cdr_assets.cli", "backfill", f"{DAY}", f"{finish:%Y-%m-%d %H:%M}"],
            cwd=code,
            env=outside()
            | ENVIRONMENT
            | {
                "PYTHONPATH": os.pathsep.join((str(code), str(packages))),
                "ALOTECH_BASE_URL": sandbox.base_url,
                "CDR_DATA_DIR": str(folder / "data"),
                # Otherwise the old code would be imported and the new one's dagster.yaml read.
                "DAGSTER_HOME": str(folder / "data" / "dagster"),
            },
            check=True,
        )


def pack(folder: Path) -> None:
    """Writes the archive: without dbt's files and Dagster's logs of output, with the logs of databases applied."""
    for database in (folder / "data" / "dagster").rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        archive.add(folder / "records.jsonl", "records.jsonl")
        for name in ("warehouse", "published", "secret_key", "dagster"):
            archive.add(
                folder / "data" / name,
                f"data/{name}",
                filter=lambda each: None if "compute_logs" in each.name else each,
            )


def unpack(folder: Path) -> None:
    """The archive's `data` and `records.jsonl`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    place, *counts = [argument for argument in sys.argv[1:] if argument != "--archive"]
    make(Path(place), *map(int, counts or (12, 40)))
    if "--archive" in sys.argv:
        pack(Path(place))
