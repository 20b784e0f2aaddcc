"""The command line as a user meets it: a process of its own, its exit code and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, record


def cdr(data_dir: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdr_assets.cli", *args],
        env={**os.environ, "CDR_DATA_DIR": str(data_dir), "ALOTECH_REQUESTS_PER_SECOND": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"ALOTECH_TIMEZONE": "Europa/Istanbul"},
            "ALOTECH_TIMEZONE: 'Europa/Istanbul' is not a time zone; write a name",
        ),
        ({"CDR_START": "2999-01-01"}, "CDR_START: 2999-01-01 00:00 lies in the future; write a past date"),
        ({"ALOTECH_BASE_URL": "http://example.com/api/"}, "ALOTECH_BASE_URL: plain http would show the token"),
        ({"ALOTECH_APP_TOKEN": ""}, "ALOTECH_APP_TOKEN is not set: write the application token in .env"),
        ({"ALOTECH_BASE_URL": "", "ALOTECH_TENANT": ""}, "ALOTECH_TENANT is not set: write the tenant's name"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_1(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    base = {"ALOTECH_BASE_URL": "http://127.0.0.1:9/api/", "ALOTECH_APP_TOKEN": TOKEN}
    done = cdr(tmp_path, "backfill", "2026-03-02", "2026-03-03", **base | environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cdr: {told}")
    assert done.stderr.count("\n") == 1
    assert TOKEN not in done.stdout + done.stderr


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    base = {"ALOTECH_BASE_URL": "http://127.0.0.1:9/api/", "ALOTECH_APP_TOKEN": TOKEN}
    done = cdr(tmp_path / "file" / "data", "backfill", "2026-03-02", "2026-03-03", **base)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("cdr: CDR_DATA_DIR: cannot write to ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("backfill", "yesterday", "today"),
        ("backfill", "2026-03-02", "2026-03-02"),
        ("sandbox", "--fault", "nonsense"),
        ("sandbox", "--records", "no-such-file.jsonl"),
        ("no-such-command",),
    ],
)
def test_wrong_use_is_exit_code_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = cdr(tmp_path, *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_backfill_ends_when_the_published_copy_holds_its_hours(tmp_path: Path) -> None:
    with Sandbox(ListedCalls([record("a", HOUR)]), token=TOKEN) as sandbox:
        base = {"ALOTECH_BASE_URL": sandbox.base_url, "ALOTECH_APP_TOKEN": TOKEN, "CDR_START": "2026-03-01"}
        done = cdr(tmp_path, "backfill", "2026-03-02 05:00", "2026-03-02 07:00", **base)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("2 hours published in ")
        refused = cdr(
            tmp_path, "backfill", "2026-03-02 05:00", "2026-03-02 07:00", **base | {"ALOTECH_APP_TOKEN": "wrong-token"}
        )
        checked = cdr(tmp_path, "check", **base)
    assert refused.returncode == 1
    assert "2 hours failed in raw__cdr_pages and keep what they held" in refused.stderr
    assert "set ALOTECH_APP_TOKEN" in refused.stderr
    assert "wrong-token" not in refused.stderr
    assert (checked.returncode, checked.stdout.count("ok ")) == (0, 3)
    asked = cdr(tmp_path, "query", "SELECT key, queue FROM cdr.calls")
    assert asked.returncode == 0
    assert "Satış" in asked.stdout
    wrong = cdr(tmp_path, "query", "SELECT * FROM no_such_table")
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
            assert b"wrong-token" not in path.read_bytes(), path


def test_a_query_without_a_copy_says_what_to_do(tmp_path: Path) -> None:
    done = cdr(tmp_path, "query", "SELECT 1")
    assert done.returncode == 1
    assert "run `cdr backfill` or `make demo` first" in done.stderr
