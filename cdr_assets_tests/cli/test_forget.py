"""`cdr forget` and `cdr export` as commands: what they ask, say and leave, also after a kill."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.person import number_of
from cdr_assets.orchestration.home import open_instance
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.cli.command import cdr
from cdr_assets_tests.cli.test_cli import Filled
from cdr_assets_tests.conftest import HOUR, TOKEN, record
from cdr_assets_tests.ingest.test_forgetting import OTHER, traces

HOURS = ("2026-03-02 05:00", "2026-03-02 06:00")


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    calls = ListedCalls(
        [
            record("theirs", callerid="05329876543", uniqueid="0532 987 65 43", call_tags=["fatura", OTHER]),
            record("other", HOUR.replace(minute=10), callerid=OTHER, call_tags=["0532 987 65 43 aradı"]),
        ]
    )
    with Sandbox(calls, token=TOKEN) as sandbox:
        base = {"ALOTECH_BASE_URL": sandbox.base_url, "ALOTECH_APP_TOKEN": TOKEN, "CDR_START": "2026-03-01"}
        done = cdr(tmp_path / "data", "backfill", *HOURS, **base)
        assert done.returncode == 0, done.stderr
        yield Filled(tmp_path / "data", calls, base, done)


def test_export_then_forget(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    # A run of a single call, whose configuration in Dagster's history has the number.
    assert filled.cdr("refresh", "--unique-id", "0532 987 65 43").returncode == 0
    file = filled.folder.parent / "export.json"
    exported = filled.cdr("export", "+90 532 987 65 43", "--to", str(file))
    assert (exported.returncode, exported.stdout, exported.stderr) == (0, "", "1 calls of this number\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = json.loads(file.read_text())
    assert [(call["key"], call["callerid"], len(call["call_history"])) for call in found["calls"]] == [
        ("theirs", "05329876543", 2)
    ]
    assert [each["key"] for each in found["records"]] == ["theirs"]
    assert {"table": "cdr.call_tags", "column": "tag", "key": "other"}.items() <= {
        **next(each for each in found["mentioned_in"] if each["table"] == "cdr.call_tags")
    }.items()
    assert "other@example" not in file.read_text()

    refused = filled.cdr("forget", "0532 987 65 43")
    assert refused.returncode == 1
    assert "this cannot be undone: add --yes to do it" in refused.stderr
    assert any("dagster" in name for name in traces(filled.folder))

    done = filled.cdr("forget", "--yes", "0532 987 65 43")
    assert done.returncode == 0, done.stderr
    assert "5329876543" not in done.stdout.replace(" ", "")
    assert traces(filled.folder / "dagster") == {}
    assert filled.cdr("export", "05329876543").stderr == "0 calls of this number\n"
    again = filled.cdr("forget", "--yes", "0532 987 65 43")
    assert (again.returncode, "nothing held this number" in again.stderr) == (0, True)
    # Dagster's history can still be read: the backfill and the refresh.
    monkeypatch.setenv("DAGSTER_HOME", str(filled.folder / "dagster"))
    with open_instance(Settings(cdr_data_dir=filled.folder)) as instance:
        runs = instance.get_runs()
        assert [run.job_name for run in runs] == ["refresh_call", "hourly"]
        assert runs[0].run_config["ops"] == {"ask_for_call": {"config": {"uniqueid": "0*****"}}}
        assert all(instance.all_logs(run.run_id) for run in runs)


@pytest.mark.parametrize("wrong", ["12345", "abonelik", "", "0532 CALL"])
def test_what_is_no_phone_number_is_refused_in_one_line(wrong: str) -> None:
    with pytest.raises(OperatorError, match="this is no phone number") as refused:
        number_of(wrong, Settings())
    assert "\n" not in str(refused.value)


@pytest.mark.campaign
def test_killed_anywhere_it_finishes_when_it_is_run_again(filled: Filled) -> None:
    """Killed in the middle of each step, the rewriting of the file among them."""
    moments = ["blank_rejected_records", "blank_pages", "publish_copy", "COPY FROM", "replace", "forget_in_history"]
    for moment in moments:
        killed = subprocess.run(
            [sys.executable, "-m", "cdr_assets_tests.cli.killed", moment, "forget", "--yes", "05329876543"],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("ALOTECH_", "CDR_"))},
                "CDR_DATA_DIR": str(filled.folder),
                **filled.environment,
            },
            check=False,
            capture_output=True,
            text=True,
        )
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stdout, killed.stderr)
        # The warehouse is whole after each kill.
        assert "ok    warehouse: " in filled.cdr("check").stdout
    done = filled.cdr("forget", "--yes", "05329876543")
    assert done.returncode == 0, done.stderr
    assert not list((filled.folder / "warehouse").glob("*.rewriting*"))
    shown = filled.cdr("query", "SELECT concat_ws('/', count(*), count(callerid)) AS callers FROM cdr.calls")
    assert "2/1" in shown.stdout
    # One erasure, although it was begun six times, and another that found nothing left but Dagster's history.
    with Warehouse(filled.folder / "warehouse" / "warehouse.duckdb").connect("test") as connection:
        erasures = connection.execute(
            "SELECT calls, items, pages, finished_at IS NOT NULL FROM cdr.erasures ORDER BY began_at"
        ).fetchall()
        items = connection.execute(
            "SELECT sum(call_history_count + csat_answers_count + call_tags_count)::INT FROM cdr.calls"
        ).fetchone()
    assert items
    # Both calls hold the number, and all items are theirs.
    assert erasures == [(2, items[0], 1, True), (0, 0, 0, True)]
    assert filled.cdr("audit", *HOURS).returncode == 0
