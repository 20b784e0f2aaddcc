"""Own marts: the user's models are built after ours and published, and their failures never stop ours."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from dagster import AssetKey

from cdr_assets.marts import own
from cdr_assets.orchestration.keys import OWN_MARTS_CHECK, PUBLISHED_KEY
from cdr_assets.sandbox import ListedCalls
from cdr_assets_tests.conftest import HOUR, UP_TO_THE_CALLS, Pipeline, record

OFFERED = "select queue_name, sum(offered) as offered from {{ ref('queue_daily') }} group by all"


def own_failures(run: object) -> str | None:
    """The description of the check `own_marts` in a run; None if it passed."""
    (check,) = (
        event.asset_check_evaluation_data
        for event in run.all_events  # type: ignore[attr-defined]
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
        and event.asset_check_evaluation_data.check_name == OWN_MARTS_CHECK
    )
    assert check.asset_key == PUBLISHED_KEY
    assert check.passed is (check.description is None)
    return check.description


@pytest.fixture
def folder(tmp_path: Path, pipeline: Pipeline) -> Path:
    folder = tmp_path / "own_marts"
    folder.mkdir()
    pipeline.settings.cdr_own_marts = folder
    return folder


def test_tables_and_views_are_published_and_stay_with_every_hour(
    pipeline: Pipeline, calls: ListedCalls, folder: Path
) -> None:
    (folder / "offered.sql").write_text(OFFERED)
    (folder / "busy.sql").write_text(
        "{{ config(materialized='view') }} select * from {{ ref('offered') }} where offered > 1"
    )
    for hour, offered in ((0, 1), (1, 2)):
        calls.add(record(f"c{hour}", HOUR.replace(hour=HOUR.hour + hour)))
        run = pipeline.run(HOUR.replace(hour=HOUR.hour + hour))
        assert run.success
        assert own_failures(run) is None
        assert pipeline.ask_published("SELECT offered FROM own.offered") == [(offered,)]
        assert pipeline.ask_published("SELECT offered FROM own.busy") == ([(2,)] if hour else [])
    # When a file is removed, so is its table.
    (folder / "busy.sql").unlink()
    assert pipeline.run(HOUR, selection=[PUBLISHED_KEY]).success
    assert pipeline.ask_published("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'own'") == [("offered",)]


def test_they_are_built_when_they_or_ours_have_changed_or_one_failed(
    pipeline: Pipeline, calls: ListedCalls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[object] = []
    run_dbt = own.run_dbt
    monkeypatch.setattr(own, "run_dbt", lambda *args: builds.append(args) or run_dbt(*args))

    def builds_in_a_run(selection: Sequence[AssetKey] | None = None) -> int:
        before = len(builds)
        assert pipeline.run(HOUR, selection=selection).success
        assert pipeline.ask_published("SELECT offered FROM own.offered") == [(len(calls.records),)]
        return len(builds) - before

    (folder / "offered.sql").write_text(OFFERED)
    calls.add(record("a"))
    assert [builds_in_a_run(), builds_in_a_run()] == [1, 0]
    calls.add(record("b"))
    assert builds_in_a_run() == 1
    # The last step builds them.
    assert builds_in_a_run([PUBLISHED_KEY]) == 0
    (folder / "broken.sql").write_text("select * from nowhere")
    assert [builds_in_a_run([PUBLISHED_KEY]), builds_in_a_run([PUBLISHED_KEY])] == [1, 1]


def test_nothing_in_the_users_files_stops_ours(pipeline: Pipeline, calls: ListedCalls, folder: Path) -> None:
    unread = "could not be read and keep what they held: "
    # Each with whether there is a new call: a build of our marts takes seconds.
    cases = [
        ("offered", OFFERED, None, True),
        ("broken", "select * from nowhere", "broken: ", True),
        ("half", "{{ ref( ", unread, True),
        ("nobody", "select * from {{ ref('nobody_knows') }}", unread, False),
        ("twice", "{{ config(schema='marts', alias='queue_daily') }} select 1 as one", None, False),
    ]
    for name, text, told, is_new in cases:
        if is_new:
            calls.add(record(name))
        (folder / f"{name}.sql").write_text(text)
        # The last step builds our marts, because the run leaves them out.
        run = pipeline.run(HOUR, selection=[*(UP_TO_THE_CALLS if is_new else ()), PUBLISHED_KEY])
        assert run.success
        failures = own_failures(run)
        assert failures is None if told is None else failures is not None and told in failures, name
        # Ours go on, and so does what could be built, or was built before.
        assert pipeline.ask_published("SELECT sum(offered) FROM marts.queue_daily") == [(len(calls.records),)]
        assert pipeline.ask_published("SELECT count(*) FROM own.offered") == [(1,)]
        if name == "twice":
            assert pipeline.ask_published("SELECT one FROM own.twice") == [(1,)]
        if name != "offered":
            (folder / f"{name}.sql").unlink()


def test_a_view_of_what_is_gone_is_told_and_not_published(pipeline: Pipeline, calls: ListedCalls, folder: Path) -> None:
    calls.add(record("a"))
    (folder / "offered.sql").write_text(OFFERED)
    (folder / "shown.sql").write_text("{{ config(materialized='view') }} select * from own.offered")
    assert pipeline.run(HOUR).success
    mood = folder.parent / "mood.csv"
    mood.write_text("mood\ngood\n")
    (folder / "moods.sql").write_text(f"{{{{ config(materialized='view') }}}} select * from read_csv('{mood}')")
    assert pipeline.run(HOUR, selection=[PUBLISHED_KEY]).success
    assert pipeline.ask_published("SELECT mood FROM own.moods") == [("good",)]
    (folder / "offered.sql").unlink()
    mood.unlink()
    run = pipeline.run(HOUR, selection=[PUBLISHED_KEY])
    assert run.success
    failures = own_failures(run) or ""
    assert "shown cannot be published" in failures
    assert "moods cannot be published" in failures
    assert pipeline.ask_published("SELECT sum(offered) FROM marts.queue_daily") == [(1,)]


def test_numbers_in_own_marts_are_shown_as_the_copy_shows_them(
    pipeline: Pipeline, calls: ListedCalls, folder: Path
) -> None:
    calls.add(record("a", callerid="905321112233"))
    (folder / "callers.sql").write_text(
        "select callerid, 'call ' || callerid as told, [callerid] as many, {'of': callerid, 'n': 1} as one, started_at "
        "from {{ ref('fct_calls') }}"
    )
    assert pipeline.run(HOUR).success
    ((callerid, told, many, one, started_at),) = pipeline.ask_published("FROM own.callers")
    assert callerid.endswith("-33")
    assert callerid == pipeline.ask_published("SELECT callerid FROM marts.fct_calls")[0][0]
    assert told == "call +*****33"
    assert (many, one) == ('["+9999933"]', '{"of":"+9999933","n":1}')
    assert started_at == HOUR
