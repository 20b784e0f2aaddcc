"""A file is put in place whole, and nothing that another user planted is followed, locked or trusted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import lock, make_private, open_private, read_secret, refuse_planted, write_whole
from cdr_assets_tests.conftest import give_away

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
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "old"}
    assert path.stat().st_mode & 0o777 == 0o600


def _link(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("kept")
    victim.chmod(0o600)
    path.symlink_to(victim)


def _broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("made"))


def _foreign(path: Path) -> None:
    path.write_text("theirs")
    path.chmod(0o666)
    give_away(path)


def _foreign_link(path: Path) -> None:
    _link(path)
    give_away(path)


PLANTED = {
    "link": _link,
    "broken link": _broken_link,
    "pipe": os.mkfifo,
    "foreign": _foreign,
    "their link": _foreign_link,
}
OPENED = {
    "lock": lambda path: lock(path).acquire(),
    "open": lambda path: open_private(path).close(),
    "read": read_secret,
    "write": lambda path: write_whole(path, "ours"),
}


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_refused_and_left_as_it_is(tmp_path: Path, planted: str, opened: str) -> None:
    path = tmp_path / "file"
    PLANTED[planted](path)
    before = {each.name: each.lstat() for each in tmp_path.iterdir()}
    with pytest.raises(OperatorError) as raised:
        OPENED[opened](path)
    assert str(raised.value).startswith(f"{path} ")
    assert "\n" not in str(raised.value)
    after = {each.name: each.lstat() for each in tmp_path.iterdir()}
    assert [(name, found.st_ino, found.st_mtime_ns) for name, found in after.items()] == [
        (name, found.st_ino, found.st_mtime_ns) for name, found in before.items()
    ]


@pytest.mark.parametrize("make", [lambda path: write_whole(path, ""), lambda path: open_private(path).close()])
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path, make: Callable[[Path], None]) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "a" / "b")
        make(tmp_path / "a" / "b" / "file")
        lock(tmp_path / "a" / "b" / "lock").acquire()
    finally:
        os.umask(before)
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "file": 0o600, "lock": 0o600}


def test_a_users_own_link_to_another_disk_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    make_private(tmp_path / "data")
    give_away(tmp_path / "disk")
    with pytest.raises(OperatorError, match="belongs to user 54321"):
        refuse_planted(tmp_path / "data", is_link_allowed=True)
