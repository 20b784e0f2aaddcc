"""The staffing formulas, in Python and in the models, equal published figures, theory and the package pyworkforce."""

import csv
import random
import shutil
from pathlib import Path

import duckdb
import jinja2
import pytest

from cdr_assets.ingest.building import build_stale_marts
from cdr_assets.marts import build
from cdr_assets.marts.build import PROJECT_DIR
from cdr_assets.warehouse import rebuild_marts
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.marts.erlang import Target, agents_erlang_a, agents_erlang_c, erlang_a, erlang_c
from cdr_assets_tests.marts.queueing import Queue, theory


def test_published_figures() -> None:
    """100 calls in 30 minutes of 180 s with 14 agents; a centre of 12 agents, with and without patience."""
    found = erlang_c(load=10, handle_seconds=180, agents=14, seconds=20)
    assert found.service_level == pytest.approx(0.8883500, abs=1e-7)
    assert found.occupancy == pytest.approx(0.7142857, abs=1e-7)
    assert erlang_c(8.4, 120, 12, 20).service_level == pytest.approx(0.8991, abs=1e-4)
    assert erlang_a(8.4, 120, 60, 12, 20).service_level == pytest.approx(0.945, abs=5e-4)


def inputs(seed: int) -> tuple[float, float, float, Target]:
    """A load, handle time, patience and target such as queues have."""
    chance = random.Random(seed)
    load = 10 ** chance.uniform(-1, 2)
    handle, patience = chance.uniform(30, 900), chance.uniform(20, 900)
    return load, handle, patience, Target(chance.uniform(0.5, 0.95), chance.choice([0, 10, 20, 60]), 1)


def pyworkforce() -> list[tuple[float, float, Target, dict[str, float]]]:
    """200 random inputs, and what `ErlangC.required_positions` of pyworkforce 0.5.1 says of them.

    The package itself is not installed with the tests: it needs OR-Tools and pandas.
    """
    with Path(__file__).with_name("pyworkforce.csv").open(encoding="utf-8") as file:
        rows = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 200
    return [
        (
            row["calls"] * row["handle_seconds"] / 900,
            row["handle_seconds"],
            Target(row["share"], row["seconds"], row["most_occupancy"]),
            row,
        )
        for row in rows
    ]


def test_erlang_c_is_pyworkforce() -> None:
    for load, handle, target, row in pyworkforce():
        agents = agents_erlang_c(load, handle, target)
        assert agents == row["positions"], row
        reached = erlang_c(load, handle, agents, target.seconds)
        assert reached.service_level == pytest.approx(row["service_level"], abs=1e-8)
        assert reached.occupancy == pytest.approx(row["occupancy"], abs=1e-8)


@pytest.mark.parametrize("seed", range(60))
def test_erlang_a_is_the_integral_of_theory(seed: int) -> None:
    load, handle, patience, target = inputs(seed)
    load = min(load, 40)
    agents = agents_erlang_a(load, handle, patience, target)
    for number in {agents, max(agents - 1, 1)}:
        queue = Queue("Q", load / handle, number, handle, patience)
        steady = theory(queue, target.seconds, longest=40 * (handle + patience))
        found = erlang_a(load, handle, patience, number, target.seconds)
        assert found.service_level == pytest.approx(steady.service_level_strict, abs=1e-6)
        assert found.occupancy == pytest.approx(steady.occupancy, abs=1e-6)
    reached = [erlang_a(load, handle, patience, n, target.seconds).service_level for n in (agents, agents - 1) if n]
    assert reached[0] >= target.share
    assert all(level < target.share for level in reached[1:])


def test_endless_patience_needs_what_erlang_c_says() -> None:
    for seed in range(40):
        load, handle, _, target = inputs(seed)
        assert agents_erlang_a(load, handle, 1e7, target) == agents_erlang_c(load, handle, target)


def test_the_most_that_agents_may_be_busy() -> None:
    assert agents_erlang_c(50, 180, Target(0.8, 20, 1)) == 56
    assert agents_erlang_c(50, 180, Target(0.8, 20, 0.8)) == 63
    target = Target(0.8, 20, 0.8)
    agents = agents_erlang_a(50, 180, 120, target)
    assert erlang_a(50, 180, 120, agents, 20).occupancy <= 0.8 < erlang_a(50, 180, 120, agents - 1, 20).occupancy


def test_extreme_inputs_end() -> None:
    assert agents_erlang_c(0, 180, Target(0.8, 20, 1)) == agents_erlang_a(0, 180, 60, Target(0.8, 20, 1)) == 0
    assert agents_erlang_c(1e-9, 180, Target(0.8, 20, 1)) == agents_erlang_a(1e-9, 180, 60, Target(0.8, 20, 1)) == 1
    # Almost all, at once: with callers who hang up at once, and with callers who would wait for days.
    for patience in (0.01, 1e6):
        assert agents_erlang_a(2000, 300, patience, Target(0.999999, 0, 1)) > 2000
        assert agents_erlang_a(2000, 300, patience, Target(0.01, 0, 1)) > 0


def needed(inputs: list[tuple[float, float, float | None, Target]]) -> list[tuple[int | None, int | None]]:
    """What the macro `agents_needed` says: positions by Erlang C and by Erlang A for each load, handle time, patience
    and target."""
    macros = (PROJECT_DIR / "macros" / "erlang.sql").read_text(encoding="utf-8")
    query = jinja2.Environment().from_string(macros + "{{ agents_needed('loads') }}").render()
    connection = duckdb.connect()
    connection.execute(
        """CREATE TABLE loads (
               interval_start BIGINT, queue_key VARCHAR, offered_erlangs DOUBLE, handle_seconds DOUBLE,
               patience_seconds DOUBLE, target_share DOUBLE, target_seconds INTEGER, most_occupancy DOUBLE
           )"""
    )
    connection.executemany(
        "INSERT INTO loads VALUES (?, 'Q', ?, ?, ?, ?, ?, ?)",
        [
            [number, load, handle, patience, target.share, target.seconds, target.most_occupancy]
            for number, (load, handle, patience, target) in enumerate(inputs)
        ],
    )
    found = connection.execute(f"SELECT interval_start, positions_erlang_c, positions_erlang_a FROM {query}").fetchall()
    rows = {number: (c, a) for number, c, a in found}
    return [rows.get(number, (None, None)) for number in range(len(inputs))]


def test_the_models_need_what_pyworkforce_says() -> None:
    found = needed([(load, handle, None, target) for load, handle, target, _ in pyworkforce()])
    assert found == [(row["positions"], None) for *_, row in pyworkforce()]


def test_callers_without_any_patience_are_not_known_to_have_one() -> None:
    """The only abandoned call of a queue waited 0 seconds."""
    assert needed([(10, 180, 0, Target(0.8, 20, 1))]) == [(14, None)]


def test_the_models_need_what_the_formulas_say() -> None:
    cases = [inputs(seed) for seed in range(300)]
    bounded = [(*rest, Target(target.share, target.seconds, 0.8)) for *rest, target in cases]
    extreme = [
        (1e-9, 180, 60, Target(0.8, 20, 1)),
        (400, 300, 0.01, Target(0.999, 0, 1)),
        (400, 300, 1e5, Target(0.01, 0, 1)),
        (50, 30, 1e6, Target(0.95, 20, 1)),
        # Nobody who hangs up is still there at the target's time.
        (10, 180, 0.001, Target(0.8, 20, 1)),
    ]
    every = [*cases, *bounded, *extreme]  # type: ignore[list-item]
    expected = [
        (agents_erlang_c(load, handle, target), agents_erlang_a(load, handle, patience, target))
        for load, handle, patience, target in every
    ]
    assert needed(every) == expected  # type: ignore[arg-type]


SEED = "queue_key,valid_from,share,seconds,most_occupancy,shrinkage,after_call_seconds"


def test_lines_of_targets_with_a_fault_count_nowhere_and_are_named(
    generated: Marts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "Q1,2026-10-01,0.9,30,0.85,0.3,60",
        "Q2,2026-10-01,80,20,85,30,",
        "Q3,2026-10-01,0.8,20,,1,",
        "Q4,01.10.2026,0.8,20,,,",
        "Q5,2026-10-01,0.8,20,,,",
        "Q5,2026-10-01,0.9,20,,,",
        "Q6,2026-10-01,0.8,20,,,",
    ]
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT_DIR, project)
    (project / "seeds" / "targets.csv").write_text("\n".join([SEED, *lines]) + "\n", encoding="utf-8")
    monkeypatch.setattr(build, "PROJECT_DIR", project)
    marts = Marts(tmp_path, generated.settings.alotech_timezone)
    shutil.copy(generated.settings.warehouse_path, marts.settings.warehouse_path)
    with marts.warehouse.held("test"), marts.warehouse.opened() as connection:
        rebuild_marts(connection)
    with marts.warehouse.held("test"):
        results = {each.unique_id.split(".")[2]: each for each in build_stale_marts(marts.warehouse, marts.settings)}
    told = results["targets_in_force"]
    assert (told.status, told.failures) == ("warn", 6)
    assert told.message.count("; ") == 2
    faults = marts.frame(f"SELECT queue_key, failure FROM ({told.query}) ORDER BY ALL").rows()
    assert faults == [
        ("Q2", "share is not between 0 and 1"),
        ("Q3", "shrinkage is not from 0 to below 1"),
        ("Q4", "valid_from is no date like 2026-03-02"),
        ("Q5", "two lines of one queue and day"),
        ("Q5", "two lines of one queue and day"),
        ("Q6", "no call has this queue"),
    ]
    aimed = marts.frame(
        """SELECT DISTINCT queue_key, target_share, target_seconds, most_occupancy, shrinkage, after_call_seconds
           FROM marts.staffing_interval WHERE queue_key IN ('Q1', 'Q2') ORDER BY queue_key"""
    )
    assert aimed.rows() == [("Q1", 0.9, 30, 0.85, 0.3, 60.0), ("Q2", 0.8, 20, 1.0, 0.0, 0.0)]
    wrong = marts.one(
        """SELECT count(*) FROM marts.staffing_interval
           WHERE agents_erlang_c <> CASE queue_key WHEN 'Q1' THEN (positions_erlang_c * 10 + 6) // 7
                                                   ELSE positions_erlang_c END"""
    )
    assert wrong == 0


def test_the_bounds_of_patience_are_those_of_the_chi_squared_distribution() -> None:
    """39 s and one hang-up; tables of the distribution give 0.05064, 11.1433 (2 and 4 degrees) and 24.4330, 59.3417."""
    macros = (PROJECT_DIR / "macros" / "measures.sql").read_text(encoding="utf-8")
    bounds = "{{ mean_at_least('total', 'events') }}, {{ mean_at_most('total', 'events') }}"
    query = jinja2.Environment(extensions=["jinja2.ext.do"]).from_string(macros + "SELECT " + bounds).render()
    query += " FROM (VALUES (39, 1), (1000, 20), (5, 0)) AS given (total, events)"
    one, twenty, none = duckdb.sql(query).fetchall()
    assert one == pytest.approx((78 / 11.1433, 78 / 0.0506356), rel=2e-3)
    assert twenty == pytest.approx((2000 / 61.7768, 2000 / 24.4330), rel=2e-3)
    assert none == (None, None)
