"""The queries in docs/questions, which managers ask, on the published copy."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.settings import Callers
from cdr_assets.publishing.copy import publish
from cdr_assets.publishing.reading import open_published
from cdr_assets_tests.marts.built import Marts

QUESTIONS = sorted((PROJECT / "docs" / "questions").glob("*.sql"))


def published(marts: Marts, folder: Path) -> duckdb.DuckDBPyConnection:
    copy = folder / "published.duckdb"
    with marts.warehouse.connect("test") as connection:
        publish(connection, copy, marts.privacy(Callers.PSEUDONYM))
    return open_published(copy)


@pytest.fixture(scope="module")
def analyst(generated: Marts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with published(generated, tmp_path_factory.mktemp("published")) as connection:
        yield connection


@pytest.fixture(scope="module")
def analyst_of_the_real_month(
    real_month: Marts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    with published(real_month, tmp_path_factory.mktemp("published")) as connection:
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, object]]:
    (path,) = (PROJECT / "docs" / "questions").glob(f"*_{name}.sql")
    return connection.execute(path.read_text(encoding="utf-8")).pl().to_dicts()


def test_each_is_listed_by_role() -> None:
    listed = (PROJECT / "docs" / "questions" / "README.md").read_text(encoding="utf-8")
    assert len(QUESTIONS) >= 40
    assert [path.name for path in QUESTIONS if path.name not in listed] == []


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_has_a_title_and_an_answer(
    analyst: duckdb.DuckDBPyConnection, analyst_of_the_real_month: duckdb.DuckDBPyConnection, path: Path
) -> None:
    """On simulated calls; on real ones too, where the bank's calls have no surveys, callers or rings to answer with."""
    query = path.read_text(encoding="utf-8")
    title = query.splitlines()[0]
    assert title.startswith("-- ")
    assert title.endswith("?")
    assert analyst.execute(query).fetchall()
    analyst_of_the_real_month.execute(query)


@pytest.mark.parametrize("name", ["events", "call-centre 2"])
def test_events_are_a_view_in_a_copy_of_any_name(generated: Marts, tmp_path: Path, name: str) -> None:
    """A program that opens the file itself names its catalogue after it."""
    copy = tmp_path / f"{name}.duckdb"
    with generated.warehouse.connect("test") as connection:
        connection.execute("UPDATE cdr.call_history SET agent = 'ali 5321112233' WHERE event = 'enter'")
        publish(connection, copy, generated.privacy(Callers.PSEUDONYM))
        expected = connection.execute("FROM marts.fct_call_events ORDER BY ALL").fetchall()
        connection.execute("UPDATE cdr.call_history SET agent = NULL WHERE event = 'enter'")
    with duckdb.connect(copy, read_only=True) as analyst:
        events = analyst.execute("FROM marts.fct_call_events ORDER BY ALL").fetchall()
        comments = dict(analyst.execute("SELECT view_name, comment FROM duckdb_views()").fetchall())
    assert [event[:9] for event in events] == [event[:9] for event in expected]
    assert {event[9] for event in events if event[7] == "enter"} == {"ali *****33"}
    assert comments["fct_call_events"].endswith("One row per event (call_key, position).")


def test_service_levels_of_the_real_month(analyst_of_the_real_month: duckdb.DuckDBPyConnection) -> None:
    rows = ask(analyst_of_the_real_month, "service_levels_side_by_side")
    assert sum(int(str(row["answered"])) for row in rows) == 27_060


def test_longest_wait_and_peak_of_the_real_month(analyst_of_the_real_month: duckdb.DuckDBPyConnection) -> None:
    assert ask(analyst_of_the_real_month, "longest_waits")[0]["wait_seconds"] == 1_500
    assert max(int(str(row["most_talking"])) for row in ask(analyst_of_the_real_month, "peak_lines")) == 12


def test_the_week_has_all_of_its_hours(analyst_of_the_real_month: duckdb.DuckDBPyConnection) -> None:
    """In 31 days each weekday's hour comes 4 or 5 times, also if it has no call; together they have all offered
    calls."""
    rows = ask(analyst_of_the_real_month, "calls_by_weekday_and_hour")
    assert len(rows) == 7 * 24
    assert sum(int(str(row["hours"])) for row in rows) == 31 * 24
    assert sum(int(str(row["offered"])) for row in rows) == 30_161
