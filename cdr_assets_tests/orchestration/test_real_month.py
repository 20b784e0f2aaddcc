"""The real month from the sandbox through Dagster to the published copy gives the published figures in any order."""

import datetime as dt
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.sandbox import RecordsFile, Sandbox
from cdr_assets_tests.conftest import TOKEN, Pipeline

START = dt.datetime(1999, 1, 1)

FIGURES = """
    WITH total AS (
        SELECT sum(offered) AS o, sum(answered) AS a, sum(abandoned) AS ab, sum(short_abandoned) AS sab,
               sum(answered_within_threshold) AS a_t, sum(abandoned_within_threshold) AS ab_t,
               sum(wait_seconds_answered) AS wait_a, sum(wait_seconds_offered) AS wait_o, sum(talk_seconds) AS talk
        FROM marts.queue_hourly
    )
    SELECT o, a, ab, sab, a_t, ab_t,
           round(100 * ab / o, 3), round(100 * (ab - sab) / (o - sab), 3),
           round(100 * a_t / (a + ab), 3), round(100 * a_t / (a + ab - sab), 3), round(100 * a_t / (a + ab - ab_t), 3),
           round(100 * a_t / a, 3), round(100 * (a_t + ab_t) / (a + ab), 3),
           round(wait_a / a, 4), round(wait_o / o, 4), round((wait_o - wait_a) / ab, 3), talk, round(talk / a, 4)
    FROM total
"""
PUBLISHED = (
    30161, 27060, 3101, 195, 16402, 1006, 10.281, 9.698, 54.381, 54.735, 56.258, 60.613, 57.717, 35.0280, 37.6699,
    60.724, 4964204, 183.4517,
)  # fmt: skip

# Times at which a call was loaded or an hour was fetched. They differ from load to load.
_OF_THE_LOAD = {"calls": "EXCLUDE (fetched_at)", "dim_hours": "EXCLUDE (fetched_at)"}


def rows_of(pipeline: Pipeline) -> dict[str, Any]:
    """A hash over each table's ordered rows."""
    tables = pipeline.ask_published(
        """SELECT schema_name, table_name FROM duckdb_tables() WHERE table_name <> 'loads'
           AND database_name = current_database() ORDER BY ALL"""
    )
    hashes = {}
    for schema, table in tables:
        columns = _OF_THE_LOAD.get(table, "")
        hashes[f"{schema}.{table}"] = pipeline.ask_published(
            f"SELECT count(*), md5(string_agg(line, '' ORDER BY line)) "
            f"FROM (SELECT rows::VARCHAR AS line FROM (SELECT * {columns} FROM {schema}.{table}) AS rows)"
        )
    return hashes


@pytest.mark.campaign
def test_the_real_month_gives_its_published_figures_in_any_order(make_pipeline: Callable[..., Pipeline]) -> None:
    beside = Path(__file__).parents[3] / "shared" / "data" / "anonymous-bank-1999-01.jsonl.gz"
    path = Path(os.environ.get("CDR_REAL_CALLS", beside))
    if not path.exists():
        pytest.skip(f"the real calls are not there: {path}; set CDR_REAL_CALLS")
    settings = {"alotech_timezone": "Asia/Jerusalem", "cdr_start": "1999-01-01"}
    with Sandbox(RecordsFile(path), token=TOKEN, time_zone="Asia/Jerusalem") as sandbox:
        pipeline = make_pipeline(sandbox.base_url, **settings)
        month = [(START + dt.timedelta(hours=n), 93) for n in range(0, 31 * 24, 93)]
        for start, hours in month:
            assert pipeline.run(start, hours).success
        assert pipeline.ask_published("SELECT count(*) FROM cdr.calls") == [(31359,)]
        assert pipeline.ask_published(FIGURES) == [PUBLISHED]
        waits = "quantile_cont(wait_seconds, [0.5, 0.9, 0.95]), max(wait_seconds)"
        assert pipeline.ask_published(f"SELECT {waits} FROM marts.fct_calls WHERE is_answered") == [
            ([3, 111, 157], 1500)
        ]
        assert pipeline.ask_published(
            "SELECT max(peak) FROM marts.concurrency_hourly WHERE scope = '(all)' AND kind = 'talking'"
        ) == [(12,)]
        rows = rows_of(pipeline)
        order = random.Random(1999)
        # Load again, in random order and with overlaps, so that some hours come twice.
        for start, hours in order.sample(month, len(month)):
            before = min(order.randrange(9), (start - START) // dt.timedelta(hours=1))
            assert pipeline.run(start - before * dt.timedelta(hours=1), hours + before).success
        assert rows_of(pipeline) == rows
        # Load into an empty warehouse, in another order.
        pipeline.settings.warehouse_path.unlink()
        for start, hours in order.sample(month, len(month)):
            assert pipeline.run(start, hours).success
        assert rows_of(pipeline) == rows
