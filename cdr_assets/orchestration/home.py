"""Dagster's home: the folder where it keeps runs and events, its configuration there, and the instance made of it."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster
import yaml
from dagster import DagsterInstance
from filelock import FileLock
from sqlalchemy.exc import OperationalError

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import write_whole
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.settings import Settings, SettingsError, read_settings
from cdr_assets.orchestration.private import TESTED


def dagster_home(settings: Settings | None = None) -> Path:
    """The folder that DAGSTER_HOME names, by default <data>/dagster; absolute, since Dagster refuses a relative one.

    Raises SettingsError if neither is known and the environment is wrong.
    """
    home = os.environ.get("DAGSTER_HOME") or (settings or read_settings()).cdr_data_dir / "dagster"
    return Path(home).absolute()


def use_dagster_home(settings: Settings) -> Path:
    """Sets DAGSTER_HOME for this process and its children, unless the user has; puts dagster.yaml there.

    Raises SettingsError where the folder cannot be written.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    configuration = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    if dagster.__version__ not in TESTED:
        warnings.warn(
            f"Dagster {dagster.__version__} was never tested with cdr_assets (tested: {', '.join(TESTED)}): runs keep "
            "their events in Dagster's own storage, which is slower; install a tested version, or upgrade cdr_assets",
            stacklevel=2,
        )
        settings_of_instance = yaml.safe_load(configuration)
        del settings_of_instance["event_log_storage"]
        configuration = yaml.safe_dump(settings_of_instance)
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != configuration:
            # Other processes that start at this moment read it.
            write_whole(target, configuration)
    except OSError as error:
        raise SettingsError(
            f"CDR_DATA_DIR: cannot write to {home}: {error.strerror}; name a folder that this user can write"
        ) from None
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Dagster's instance of these settings. Raises OperatorError where Dagster cannot write."""
    home = use_dagster_home(settings)
    try:
        # Dagster makes its databases when they are first opened, and fails where two processes do so at once.
        with FileLock(home / ".opening.lock"):
            instance = DagsterInstance.get()
            _ = instance.schedule_storage
        with instance:
            yield instance
    except OperationalError as error:
        # Dagster writes every event of a run: where it cannot, there is no run to tell it in.
        raise OperatorError(
            f"Dagster cannot write to {home}: {error.orig}; what was loaded before is still there, "
            "mend this and run again"
        ) from None
