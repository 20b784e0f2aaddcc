"""Rules that `lint-imports` cannot check: private imports are in one module, and Dagster's version was tested."""

import re
from importlib.metadata import version
from pathlib import Path

import cdr_assets
from cdr_assets.orchestration import private

PACKAGE = Path(cdr_assets.__file__).parent
LIBRARIES = "dagster|dbt|duckdb|polars|requests|urllib3|sqlalchemy"
PRIVATE = re.compile(rf"^\s*(?:from|import) (?:{LIBRARIES})\S*\._", re.MULTILINE)


def test_private_modules_of_libraries_are_imported_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if PRIVATE.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"orchestration/private.py"}


def test_the_installed_dagster_was_tested() -> None:
    assert version("dagster") in private.TESTED
