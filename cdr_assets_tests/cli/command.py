"""The `cdr` command: in this process, or in one of its own where the process itself is tested.

A process takes one to three seconds to start, mostly for imports.
"""

import io
import logging
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from cdr_assets.cli.commands import main
from cdr_assets_tests.conftest import share_parsed


def cdr(data_dir: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in this process. An unforeseen error, which a process would print, is raised."""
    told, wrong = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: object = 0
    # The worst one: whatever does not set its own mode could be read and written by all. `main` changes it.
    umask = os.umask(0)
    with (
        patch.dict(os.environ, environment_for(data_dir, **environment), clear=True),
        patch.object(sys, "argv", ["cdr", *args]),
        # `main` sets it.
        patch.object(logging, "lastResort"),
        patch("cdr_assets.domain.settings.find_dot_env", lambda: None),
        redirect_stdout(told),
        redirect_stderr(wrong),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        finally:
            os.umask(umask)
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(args, code, *(stream.buffer.getvalue().decode() for stream in (told, wrong)))


def cdr_process(data_dir: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cdr_assets.cli.commands", *args],
        env=environment_for(data_dir, **environment),
        capture_output=True,
        text=True,
        check=False,
        umask=0,
    )


def environment_for(data_dir: Path, **environment: str) -> dict[str, str]:
    share_parsed(data_dir)
    return outside() | {"CDR_DATA_DIR": str(data_dir), "ALOTECH_REQUESTS_PER_SECOND": "0"} | environment


def outside() -> dict[str, str]:
    """This machine's environment without our variables. Fixtures of a whole module run before the one that clears
    them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ALOTECH_", "CDR_"))}
