"""How many calls an hour should bring, judging by the same weekday and hour in earlier weeks.

The checks in `ingest/balance.py` and `orchestration/checks` and the alerts use it to decide whether silence is
suspicious. The longest silence so far would not do: an hour that was never loaded looks like an hour without calls.

Special days (holidays, days with a campaign) say nothing of other days, and other days nothing of them. They are read
from the seed's file and not from the warehouse: the checks run before the marts are built, and a day that was added a
minute ago must count.
"""

import csv
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import duckdb

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.project import PROJECT

# This many calls are not missing by chance: if 20 independent calls are expected, none comes once in 500 million cases.
WORTH_NOTICING = 20

_SPECIAL_DAYS = PROJECT / "dbt_project" / "seeds" / "special_days.csv"

# Enough weeks that one holiday or campaign that nobody noted does not matter, and few enough to follow the seasons.
_WEEKS = 8

_EXPECTED = f"""
    WITH loaded AS (
        -- Hours before the first stored call may have had calls that were deleted (CDR_CALLS_DAYS).
        SELECT DISTINCT partition_hour AS loaded_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL
            AND partition_hour >= (SELECT min(partition_hour) FROM cdr.calls)
            AND NOT list_contains($special_days::DATE[], partition_hour::DATE)
    ),
    asked AS (SELECT DISTINCT unnest($hours::TIMESTAMP[]) AS asked_hour),
    like_it AS (
        SELECT asked_hour, loaded_hour FROM asked JOIN loaded ON loaded_hour < asked_hour
            AND NOT list_contains($special_days::DATE[], asked_hour::DATE)
            AND isodow(loaded_hour) = isodow(asked_hour) AND hour(loaded_hour) = hour(asked_hour)
        QUALIFY row_number() OVER (PARTITION BY asked_hour ORDER BY loaded_hour DESC) <= {_WEEKS}
    ),
    counted AS (
        SELECT partition_hour AS loaded_hour, count(*) AS calls FROM cdr.calls
        WHERE vanished_at IS NULL AND partition_hour IN (SELECT loaded_hour FROM like_it) GROUP BY ALL
    )
    SELECT asked_hour, median(CASE WHEN loaded_hour IS NOT NULL THEN coalesce(calls, 0) END)
    FROM asked LEFT JOIN like_it USING (asked_hour) LEFT JOIN counted USING (loaded_hour) GROUP BY ALL
"""


def expected_calls(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[dt.datetime]
) -> dict[dt.datetime, float | None]:
    """The median number of calls in the last 8 loaded hours of the same weekday and local hour before each hour.

    None if no such hour was loaded, and for the hours of special days, which are none of the 8 either. Hours are naive,
    in the tenant's wall clock. `connection` may have the warehouse or the published copy in use. Raises OperatorError
    if the file of special days cannot be read.
    """
    asked = {"hours": list(hours), "special_days": _special_days(_SPECIAL_DAYS)}
    return dict(connection.execute(_EXPECTED, asked).fetchall())


def _special_days(path: Path) -> list[dt.date]:
    days = []
    # Excel writes a byte order mark.
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        for line in lines:
            text = (line.get("local_date") or "").strip()
            try:
                days.append(dt.date.fromisoformat(text))
            except ValueError:
                raise OperatorError(
                    f"{path}, line {lines.line_num}: {text!r} is no date; the first line must be local_date,name and "
                    "each other line like 2026-01-01,New Year"
                ) from None
    return days
