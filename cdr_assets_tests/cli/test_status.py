"""`cdr status`: what it shows of a real copy, to whom, and what it does without."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdr_assets.cli.status import print_json, print_status
from cdr_assets.domain.hours import HOUR as ONE_HOUR
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.status.hours import State
from cdr_assets.status.overview import read_overview
from cdr_assets.warehouse import Warehouse, add_failed_fetches
from cdr_assets_tests.cli.command import cdr, environment_for
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, give_away, pipelines_in, record

# Half an hour after the loaded hour ended: nothing is late yet. (The hour was read months later, so it is final.)
SOON = dt.datetime(2026, 3, 2, 6, 30, tzinfo=dt.timezone(dt.timedelta(hours=3)))
MODULES = """
import sys
from cdr_assets.cli.commands import main
sys.argv = ["cdr", "status"]
try:
    main()
finally:
    print(sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with (
        Sandbox(ListedCalls([record("a")]), token=TOKEN) as sandbox,
        pipelines_in(tmp_path_factory.mktemp("status")) as make,
    ):
        pipeline = make(sandbox.base_url)
        assert pipeline.run(HOUR).success
        yield pipeline


def shown(capsys: pytest.CaptureFixture[str], pipeline: Pipeline, now: dt.datetime = SOON) -> str:
    capsys.readouterr()
    print_status(read_overview(pipeline.settings, now))
    return capsys.readouterr().out


def test_the_map_and_the_facts_of_a_good_day(loaded: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third, newest, published, *facts = shown(capsys, loaded).splitlines()
    assert first == "           00    03    06    09    12    15    18    21"
    assert second == "Mon 02 Mar           #"
    assert third == "#    1 final: will not change any more"
    assert newest == "newest hour: 2026-03-02 05:00, ended 30 min ago"
    assert published.startswith("copy: published 20")
    assert facts[:2] == ["rejected records: 0", "warehouse: no run holds it"]
    assert facts[2].startswith("disk: ")
    assert facts[-1].startswith("next, if the daemon runs: freshness 06:45, open_calls 06:50, hourly 07:10, ")
    assert not read_overview(loaded.settings, SOON).is_wrong


def test_a_late_hour_is_wrong(loaded: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, loaded, SOON + 3 * ONE_HOUR)
    assert "Mon 02 Mar           # !\n" in told
    assert "late 2026-03-02 06:00: no run has asked for it: does Dagster's daemon run (`cdr dev`)?" in told
    assert read_overview(loaded.settings, SOON + 3 * ONE_HOUR).is_wrong


def test_json_has_the_same_facts(loaded: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    overview = read_overview(loaded.settings, SOON)
    capsys.readouterr()
    print_json(overview)
    facts = json.loads(capsys.readouterr().out)
    [hour] = overview.hours
    assert hour.loaded_at is not None
    assert facts["hours"] == [
        {
            "hour": "2026-03-02T05:00",
            "state": "final",
            "calls": 1,
            "loaded_at": hour.loaded_at.isoformat(timespec="seconds"),
            "error": None,
        }
    ]
    assert facts["counts"] == {"final": 1}
    assert (facts["newest_hour"], facts["behind_minutes"], facts["is_wrong"]) == ("2026-03-02T05:00", 30, False)
    assert facts["next_ticks"]["hourly"] == "2026-03-02T07:10+03:00"
    assert list(facts["free_bytes"]) == [str(loaded.settings.cdr_data_dir)]


def test_a_failure_that_no_run_could_publish_is_told_and_masked(
    loaded: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = Warehouse(loaded.settings.warehouse_path)
    errors = {HOUR + n * ONE_HOUR: "HTTP 503 for 05321112233; try again later" for n in (1, 2)}
    with warehouse.connect("test") as connection:
        add_failed_fetches(connection, errors, "run", None)
    try:
        told = shown(capsys, loaded)
        assert "Mon 02 Mar           # x x\n" in told
        assert "failed 2026-03-02 06:00 to 07:00 (2 hours): HTTP 503 for *****33; try again later" in told
        # While a run holds the warehouse, the status waits for nobody and says what it does not see.
        with warehouse.held("run 1a2b3c4d, cdr"):
            told = shown(capsys, loaded)
        assert "warehouse: held by run 1a2b3c4d, cdr (process " in told
        assert "failures since the copy was published are not shown" in told
        assert "Mon 02 Mar           #\n" in told
    finally:
        with warehouse.connect("test") as connection:
            connection.execute("DELETE FROM cdr.loads WHERE run_id = 'run'")


def test_an_analyst_without_rights_on_the_warehouse_gets_what_the_copy_tells(loaded: Pipeline) -> None:
    folder = loaded.settings.warehouse_path.parent
    before = folder.stat()
    give_away(folder)
    try:
        overview = read_overview(loaded.settings, SOON)
    finally:
        folder.chmod(before.st_mode)
        os.chown(folder, before.st_uid, before.st_gid)
    assert [hour.state for hour in overview.hours] == [State.FINAL]
    assert overview.unseen is not None
    assert "belongs to " in overview.unseen


def test_without_a_copy_it_says_what_to_do(tmp_path: Path) -> None:
    done = cdr(tmp_path / "data", "status")
    assert (done.returncode, done.stdout) == (1, "")
    published = tmp_path / "data" / "published" / "callcentre.duckdb"
    assert done.stderr.startswith(f"cdr: there is no {published} yet: no run has published one; `cdr backfill` does")
    assert not (tmp_path / "data" / "warehouse").exists()


def test_it_ends_with_1_when_hours_are_late_and_imports_nothing_that_is_slow(loaded: Pipeline) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES],
        env=environment_for(loaded.settings.cdr_data_dir),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    # The hour of the test is long ago.
    assert "late: should be there by now" in done.stdout
    imported = set(eval(done.stderr.splitlines()[-1]))
    assert "duckdb" in imported
    # Each of them takes a third of a second or more.
    assert not imported & {"dagster", "polars", "dbt", "pyarrow", "requests", "altair", "jinja2"}


def test_a_backfill_of_the_future_does_not_move_the_first_hour(tmp_path: Path) -> None:
    base = {"ALOTECH_BASE_URL": "http://127.0.0.1:9/api/", "ALOTECH_APP_TOKEN": TOKEN}
    done = cdr(tmp_path / "data", "backfill", "2999-03-02", "2999-03-03", **base)
    assert done.returncode == 1
    assert "no hour has ended between 2999-03-02" in done.stderr
    assert not (tmp_path / "data" / "first_hour").exists()
    assert cdr(tmp_path / "data", "backfill", "2026-03-02", "2026-03-02 01:00", **base).returncode == 1
    assert (tmp_path / "data" / "first_hour").read_text() == "2026-03-02 00:00\n"
