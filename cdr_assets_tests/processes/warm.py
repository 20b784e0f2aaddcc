"""The `cdr` command as a function, for processes forked from one that has imported everything."""

import ctypes
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Modules that a run imports later.
import dbt.adapters.duckdb.connections
import dbt.cli.main  # noqa: F401
import duckdb  # noqa: F401
import polars  # noqa: F401
import pyarrow  # noqa: F401

import cdr_assets.definitions
import cdr_assets.domain.settings
import cdr_assets.orchestration.runs
from cdr_assets.cli.commands import main


def cdr(args: Sequence[str], environment: Mapping[str, str], output: Path, file_size: int | None) -> None:
    """Runs the command in a new process group, with its output in the file `output`, and ends the process.

    `file_size` is the size of the largest file it may write: a larger one fails as on a full disk.
    """
    os.setsid()
    told = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    _drop_capabilities()
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    os.environ.clear()
    os.environ.update(environment)
    cdr_assets.domain.settings.find_dot_env = lambda: None
    sys.argv = ["cdr", *args]
    main()


def _drop_capabilities() -> None:
    """Makes the modes of files and folders count for root too."""
    version_3_of_this_process = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).capset(version_3_of_this_process, (ctypes.c_uint32 * 6)()) == 0
