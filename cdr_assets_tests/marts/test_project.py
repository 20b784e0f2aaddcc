"""Rules of the dbt project: everything has a description, rates have their parts, and its unit tests pass."""

import re
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from polars.testing import assert_frame_equal

from cdr_assets.domain.settings import Settings
from cdr_assets.marts.build import PROJECT_DIR, environment, parse
from cdr_assets_tests.marts.built import Marts

# Every rate and mean of the marts, with its numerator and denominator, which are columns of the same mart.
RATES = {
    "service_level": ("answered_within_threshold", "sl_known + abandoned - short_abandoned"),
    "service_level_strict": ("answered_within_threshold", "sl_known + abandoned"),
    "service_level_2t": ("answered_within_threshold", "sl_known + abandoned - abandoned_within_threshold"),
    "service_level_answered": ("answered_within_threshold", "sl_known"),
    "service_level_credit": ("answered_within_threshold + abandoned_within_threshold", "sl_known + abandoned"),
    "abandonment_rate": ("abandoned", "offered"),
    "abandonment_rate_long": ("abandoned - short_abandoned", "offered - short_abandoned"),
    "voicemail_rate": ("voicemail", "offered"),
    "wait_seconds_per_offered": ("wait_seconds_offered", "wait_known_offered"),
    "wait_seconds_per_abandoned": ("wait_seconds_abandoned", "wait_known_abandoned"),
    "asa_seconds": ("wait_seconds_answered", "wait_known_answered"),
    "aht_ex_acw_seconds": ("talk_seconds", "talk_known"),
    "hold_rate": ("held", "holds_known"),
    "hold_seconds_per_held": ("hold_seconds_held", "hold_known_held"),
    "hold_seconds_per_answered": ("hold_seconds", "hold_known"),
    "transfer_rate": ("transferred", "transfers_known"),
    "missed_rate": ("missed", "assigned"),
    "outbound_connect_rate": ("outbound_answered", "outbound"),
    "agent_hung_up_rate": ("agent_hung_up", "localrelease_known"),
    "menu_seconds_per_call": ("menu_seconds", "menu_known"),
    "mean_score": ("score_sum", "answers"),
    "top_two_share": ("top_two", "answers"),
    "nps": ("promoters - detractors", "answers"),
    "response_rate_of_answered_contacts": ("answered_contacts_with_answer", "answered_contacts_known"),
}
RATES_OF = {
    "concurrency_interval": {"erlangs": ("busy_seconds", "interval_seconds")},
    "concurrency_hourly": {"erlangs": ("busy_seconds", "hour_seconds")},
    "agent_interval": {"occupancy": ("busy_seconds", "interval_seconds")},
    "agent_hourly": {"occupancy": ("busy_seconds", "hour_seconds")},
    "patience": {"patience_seconds": ("wait_seconds_offered", "wait_known_abandoned")},
    "agent_daily": {
        "occupancy": ("all_talk_seconds", "span_seconds"),
        "missed_ring_rate": ("missed_rings", "rings_known"),
    },
    "staffing_interval": {
        "handle_seconds": ("handle_talk_seconds", "handle_talk_known"),
        "offered_erlangs": ("if(offered = 0, 0, offered * handle_seconds)", "interval_seconds"),
        "patience_seconds": ("patience_waited_seconds", "patience_abandons"),
    },
}
# Numbers with a fraction that are no rates: what a target says, bounds, scales, and sums of scores.
NO_RATES = {
    "scale", "score_sum", "score_squares_sum", "survival", "survival_standard_error",
    "target_share", "most_occupancy", "shrinkage", "after_call_seconds", "patience_seconds_low",
    "patience_seconds_high",
}  # fmt: skip
WAIT_PERCENTILES = {"wait_seconds_p50": 0.5, "wait_seconds_p90": 0.9, "wait_seconds_p95": 0.95}
PERCENTILES = {*WAIT_PERCENTILES, "talk_seconds_p50", "talk_seconds_p90"}

# Whole numbers that must not be summed, as their names say, and whole numbers that are no measure.
NOT_ADDITIVE = {
    "wait_seconds_max", "peak", "threshold_seconds", "short_threshold_seconds", "hour_seconds", "seconds",
    "hour_of_day", "weekday",
}  # fmt: skip


@pytest.fixture(scope="module")
def models() -> dict[str, dict[str, Any]]:
    nodes = parse(Settings()).manifest["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] in ("model", "seed")}


def columns_of(marts: Marts) -> list[tuple[str, str, str]]:
    """Mart, column and type of every column outside the facts, which have a row per call or contact and no rates."""
    return marts.frame(
        """SELECT table_name, column_name, data_type FROM duckdb_columns()
           WHERE schema_name = 'marts' AND table_name NOT LIKE 'fct%' ORDER BY ALL"""
    ).rows()


def test_no_rate_without_its_parts(generated: Marts) -> None:
    """Each rate is a numerator divided by a denominator in the same mart, so nobody needs to average averages.

    Every column that is not a whole number counts as a rate. A new one fails here until its parts are listed above.
    """
    rates = [
        (mart, column)
        for mart, column, kind in columns_of(generated)
        if kind in ("DOUBLE", "FLOAT") or "DECIMAL" in kind
    ]
    assert {mart for mart, _ in rates} >= {
        "queue_hourly", "queue_daily", "agent_hourly", "agent_daily", "concurrency_hourly", "tag_daily",
    }  # fmt: skip
    for mart, rate in rates:
        if rate in PERCENTILES or rate in NO_RATES:
            continue
        numerator, denominator = RATES_OF.get(mart, {}).get(rate) or RATES[rate]
        if rate.startswith("service_level"):
            # Abandoned calls alone give no service level if calls were answered but it is not known whether in time.
            numerator = f"if(answered > 0 AND sl_known = 0, NULL, {numerator})"
        if rate == "occupancy":
            # A share of more than all of the time is NULL.
            numerator = f"if({numerator} <= {denominator}, {numerator}, NULL)"
        wrong, right = generated.frame(
            f"""SELECT count(*) FILTER ({rate} IS DISTINCT FROM ({numerator}) / nullif({denominator}, 0)), count({rate})
                FROM marts.{mart}"""
        ).row(0)
        assert wrong == 0, f"{mart}.{rate} is not {numerator} / ({denominator})"
        assert right > 0, f"{mart}.{rate} is NULL throughout"


def test_no_percentile_without_the_counts_that_it_rolls_up_from(generated: Marts) -> None:
    columns = columns_of(generated)
    found = [(mart, column) for mart, column, _ in columns if column in WAIT_PERCENTILES]
    assert len(found) == 6
    for mart, percentile in found:
        edges = [column for of, column, _ in columns if of == mart and re.fullmatch(r"answered_within_\d+s", column)]
        assert len(edges) == 13
        for edge in edges:
            # The percentile of n waits lies between the two waits around position q (n - 1).
            seconds = edge.removeprefix("answered_within_").removesuffix("s")
            place = f"{WAIT_PERCENTILES[percentile]} * (wait_known_answered - 1)"
            wrong = f"""SELECT count(*) FROM marts.{mart} WHERE wait_known_answered > 0 AND CASE
                WHEN {percentile} <= {seconds} THEN {edge} < floor({place}) + 1
                ELSE {edge} > ceil({place}) END"""
            assert generated.one(wrong) == 0, (mart, percentile, edge)


def test_whole_numbers_add_up_or_say_that_they_do_not(generated: Marts) -> None:
    """The counts of `queue_daily` are the sums of those of `queue_hourly`; likewise for agents."""
    columns = columns_of(generated)
    for kind, key in (("queue", "queue_key"), ("agent", "agent_id")):
        hourly, daily = (
            {column for mart, column, of in columns if mart == f"{kind}_{grain}" and "INT" in of}
            for grain in ("hourly", "daily")
        )
        parts = sorted((hourly & daily) - NOT_ADDITIVE)
        assert len(parts) > 20
        # Only an agent's day has rings, and a span from the first talk to the last hang-up; an hour has none.
        assert daily - hourly <= {
            "all_talk_seconds", "all_talk_known", "overlap_seconds", "span_seconds", "idle_seconds",
            "longest_idle_seconds", "rings", "rings_known", "missed_rings",
        }  # fmt: skip
        sums = ", ".join(f"coalesce(sum({part}), 0)::BIGINT AS {part}" for part in parts)
        query = f"SELECT local_date, {key}, {sums} FROM marts.{kind}_{{}} GROUP BY ALL ORDER BY ALL"
        assert_frame_equal(generated.frame(query.format("hourly")), generated.frame(query.format("daily")))


def test_views_for_bi_tools_are_narrow_and_have_names(models: dict[str, dict[str, Any]]) -> None:
    views = {name: set(model["columns"]) for name, model in models.items() if model["schema"] == "bi"}
    assert len(views) >= 12
    for name, columns in views.items():
        assert 12 <= len(columns) <= 20, name
        assert not [column for column in columns if column.endswith(("queue_key", "agent_id", "scope"))], name


def test_no_model_averages() -> None:
    """Somebody may sum the rows of a model, which is wrong for means. Models count and sum, and divide only at the
    end."""
    averaging = re.compile(r"\b(avg|mean|median)\s*\(", re.IGNORECASE)
    models = list((PROJECT_DIR / "models").rglob("*.sql")) + list((PROJECT_DIR / "macros").glob("*.sql"))
    assert len(models) > 20
    assert [path.name for path in models if averaging.search(path.read_text(encoding="utf-8"))] == []


def test_a_rate_with_nothing_to_divide_by_is_null(generated: Marts) -> None:
    no_offers = "SELECT count(*) FROM marts.queue_hourly WHERE offered = 0"
    assert generated.one(no_offers) > 0
    assert generated.one(f"{no_offers} AND (service_level IS NOT NULL OR abandonment_rate IS NOT NULL)") == 0


def test_every_model_and_column_is_described_and_typed(generated: Marts, models: dict[str, dict[str, Any]]) -> None:
    for name, model in models.items():
        # A model's query says what it has: its table may have been made of what the yml states.
        query = model["compiled_code"] if model["resource_type"] == "model" else f"{model['schema']}.{name}"
        built = dict(generated.frame(f"DESCRIBE {query}").select("column_name", "column_type").rows())
        described = {column: of["data_type"] for column, of in model["columns"].items() if of["description"]}
        assert described == built, name
        beside_it = Path(model["original_file_path"]).with_suffix(".yml")
        assert model["patch_path"] == f"cdr_marts://{beside_it.as_posix()}", f"{name} is not described in {beside_it}"
        grain = re.split(r"\. ", model["description"].rstrip("."))[-1]
        assert grain.startswith("One row per "), f"the last sentence on {name} is not its grain: {grain}"


def test_descriptions_are_comments_in_the_warehouse(generated: Marts, models: dict[str, dict[str, Any]]) -> None:
    comments = generated.frame(
        """SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'marts'
           UNION ALL SELECT table_name, '', comment FROM duckdb_tables() WHERE schema_name = 'marts'
           UNION ALL SELECT view_name, '', comment FROM duckdb_views() WHERE schema_name = 'marts'"""
    )
    assert {"fct_calls", "fct_call_events"} <= set(comments["table_name"])
    for table, column, comment in comments.iter_rows():
        model = models[table]
        assert comment == (model["columns"][column]["description"] if column else model["description"])


def test_worked_figures(generated: Marts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs dbt's unit tests with the columns of a real warehouse."""
    for name, value in environment(generated.settings).items():
        monkeypatch.setenv(name, value)
    folder = generated.settings.cdr_data_dir / "dbt"
    where = ["--project-dir", PROJECT_DIR, "--profiles-dir", PROJECT_DIR, "--target-path", folder, "--log-path", folder]
    parsed = Manifest.from_msgpack((parse(Settings()).folder / "partial_parse.msgpack").read_bytes())
    try:
        with generated.warehouse.held("test"):
            outcome = dbtRunner(parsed).invoke(["test", "--select", "test_type:unit", "--quiet", *map(str, where)])
    finally:
        DuckDBConnectionManager.close_all_connections()
    assert outcome.exception is None
    outcomes = {result.node.name: str(result.status) for result in outcome.result}
    assert len(outcomes) >= 5
    assert set(outcomes.values()) == {"pass"}, outcomes
