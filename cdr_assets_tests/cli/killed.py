"""Runs a `cdr` command that kills itself with SIGKILL when it gets to a given moment.

A moment is the name of a step of `cdr forget`, `COPY FROM` (the new file is begun) or `replace` (the
new file is whole, and not yet in place); or, with `backup.` before it, a step of `cdr backup` or `cdr restore`.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cdr_assets.cli import commands
from cdr_assets.domain.settings import read_settings
from cdr_assets.ingest import forgetting
from cdr_assets.orchestration import backup, history
from cdr_assets.warehouse import Warehouse, rewrite


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_when_there(file: Path) -> None:
    while not file.exists() or not file.stat().st_size:
        time.sleep(0.001)
    die()


def main(moment: str) -> None:
    match moment:
        case "blank_rejected_records" | "blank_pages":
            setattr(forgetting._Erasing, moment, die)
        case "publish_copy":
            forgetting.publish_copy = die  # type: ignore[assignment]
        case "forget_in_history":
            history.forget_in_history = die  # type: ignore[assignment]
        case "replace":
            rewrite.sync = lambda _: die()
        case "COPY FROM":
            new = Warehouse(read_settings().warehouse_path).rewriting_path
            threading.Thread(target=_die_when_there, args=[new], daemon=True).start()
        case _ if moment.startswith("backup."):
            setattr(backup, moment.removeprefix("backup."), die)
        case _:
            raise ValueError(moment)
    sys.argv = ["cdr", *sys.argv[2:]]
    commands.main()


if __name__ == "__main__":
    main(sys.argv[1])
