"""Dagster's home, the folder where it keeps runs and events: sets it up and opens the Dagster instance in it.

The configuration that is copied there is `dagster.yaml` in the project's folder.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster
import yaml
from dagster import DagsterInstance
from sqlalchemy.exc import OperationalError

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private, write_whole
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
    """Sets DAGSTER_HOME for this process and its children unless the user has set it; copies dagster.yaml there.

    Raises SettingsError if the folder cannot be written.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    configuration = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    if dagster.__version__ not in TESTED:
        warnings.warn(
            f"Dagster {dagster.__version__} was never tested with cdr_assets (tested: {', '.join(TESTED)}): events go "
            "to Dagster's own storage, which is slower; install a tested version, or upgrade cdr_assets",
            stacklevel=2,
        )
        settings_of_instance = yaml.safe_load(configuration)
        del settings_of_instance["event_log_storage"]
        configuration = yaml.safe_dump(settings_of_instance)
    target = home / "dagster.yaml"
    try:
        make_private(home)
        if not target.exists() or target.read_text(encoding="utf-8") != configuration:
            # Other processes may be reading the file now, so replace it in one step.
            write_whole(target, configuration)
    except OSError as error:
        raise SettingsError(
            f"CDR_DATA_DIR: cannot write to {home}: {error.strerror}; name a folder that this user can write"
        ) from None
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Opens Dagster's instance for these settings. Raises OperatorError if Dagster cannot write."""
    home = use_dagster_home(settings)
    try:
        # Dagster creates its databases when it first opens them, and fails if two processes do so at the same time.
        with lock(home / ".opening.lock"):
            instance = DagsterInstance.get()
            _ = instance.schedule_storage
        with instance:
            yield instance
    except OperationalError as error:
        # If Dagster cannot write events, it cannot report this in a run either.
        raise OperatorError(
            f"Dagster cannot write to {home}: {error.orig}; what was loaded before is still there, "
            "mend this and run again"
        ) from None
