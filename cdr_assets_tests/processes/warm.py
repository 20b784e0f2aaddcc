"""The `cdr` command as a function, for processes that are forked from one in which all of it has been imported."""

import ctypes
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a run imports on its way.
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
    """Runs the command in a process group of its own, what it prints going to `output`; ends the process.

    `file_size` is how large a file it may write: a larger one fails as on a full disk.
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
    """Has root obey the modes of files and folders, as others do."""
    version_3_of_this_process = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).capset(version_3_of_this_process, (ctypes.c_uint32 * 6)()) == 0
