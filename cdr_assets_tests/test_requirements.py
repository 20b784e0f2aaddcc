"""The lock in requirements/: every package that pyproject.toml leads to is pinned and hashed, and no address is named.

pip compares the hashes when it installs. It would install a package without a hash only if the lock had none.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cdr_assets.domain.project import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
RUN = PYPROJECT["project"]["dependencies"]
BUILD = PYPROJECT["dependency-groups"]["build"]
TEST = PYPROJECT["project"]["optional-dependencies"]["test"]


def locked(name: str) -> dict[str, str]:
    """The version of each package in a lock. Each line is a pinned package, or one of its hashes."""
    text = (PROJECT / "requirements" / name).read_text(encoding="utf-8")
    packages = {}
    for entry in text.replace("\\\n", " ").splitlines():
        found = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; [^\\]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)", entry)
        assert found, entry
        packages[found[1]] = found[2]
    return packages


def needed(given: list[str]) -> set[str]:
    """The names of the given packages and of all that they need here, as their installed metadata says."""
    names: set[str] = set()
    pending = [(Requirement(text), "") for text in given]
    seen = set()
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for part in ("", *requirement.extras):
            if (name, part) in seen:
                continue
            seen.add((name, part))
            names.add(name)
            try:
                pending += [(Requirement(text), part) for text in requires(name) or ()]
            except PackageNotFoundError:
                # The build backend and what only it needs: not every installation has them.
                assert given is BUILD, name
    return names


@pytest.mark.parametrize(
    ("name", "given"),
    [("run.txt", RUN), ("run.txt", BUILD), ("test.txt", RUN), ("test.txt", BUILD), ("test.txt", TEST)],
)
def test_a_lock_holds_all_that_is_needed(name: str, given: list[str]) -> None:
    lock = locked(name)
    assert needed(given) <= lock.keys()
    for requirement in map(Requirement, given):
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)])


def test_both_locks_have_the_same_versions() -> None:
    assert locked("run.txt").items() <= locked("test.txt").items()


def test_what_builds_the_project_is_locked() -> None:
    assert {Requirement(text).name for text in PYPROJECT["build-system"]["requires"]} <= {*BUILD}
