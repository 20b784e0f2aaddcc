"""The key of the pseudonyms: made once, and refused if another user could have planted or read it."""

from pathlib import Path

import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.publishing.secret_key import read_or_make_secret_key
from cdr_assets.warehouse import WarehouseError
from cdr_assets_tests.conftest import give_away

WHOLE = "k" * 64


def test_the_key_of_the_pseudonyms_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret_key"
    key = read_or_make_secret_key(path)
    assert len(key) == 64
    assert read_or_make_secret_key(path) == key
    assert [each.stat().st_mode & 0o777 for each in (path.parent, path)] == [0o700, 0o600]


@pytest.mark.parametrize("text", ["", "\n", "short", "k" * 31])
def test_a_key_that_is_not_whole_is_refused_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret_key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(WarehouseError, match=r"no whole key .*: copy it from a backup; or delete it for a new key"):
        read_or_make_secret_key(path)
    assert path.read_text() == text


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret_key"
    path.write_text(WHOLE)
    path.chmod(mode)
    with pytest.raises(OperatorError, match=r"^other users of this machine can open "):
        read_or_make_secret_key(path)


def test_a_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    known, path = tmp_path / "known", tmp_path / "secret_key"
    path.symlink_to(known)
    for _ in range(2):
        with pytest.raises(OperatorError, match=f"^{path} is a link"):
            read_or_make_secret_key(path)
        known.write_text(WHOLE)
        known.chmod(0o600)
    assert known.read_text() == WHOLE


def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.write_text(WHOLE)
    path.chmod(0o600)
    give_away(path)
    with pytest.raises(OperatorError, match=f"^{path} belongs to user 54321 and this process runs as "):
        read_or_make_secret_key(path)


def test_a_key_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WarehouseError, match=r"cannot write a key .* of the pseudonyms, set CDR_SECRET_KEY"):
        read_or_make_secret_key(tmp_path / "file" / "secret_key")
