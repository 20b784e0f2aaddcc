"""A file is put in place whole: a crash at any moment leaves the old one or the new one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdr_assets.domain.files import write_whole

DIES = """
import os, signal, sys
from pathlib import Path
from cdr_assets.domain.files import write_whole

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]), "new " * 100_000)
"""


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    assert subprocess.run([sys.executable, "-c", DIES, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_an_error_leaves_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_whole(path, "old", mode=0o600)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "old"}
    assert path.stat().st_mode & 0o777 == 0o600
