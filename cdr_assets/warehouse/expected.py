"""How many calls an hour should bring, judging by the same weekday and hour in earlier weeks.

The checks in `ingest/balance.py` and `orchestration/checks` use it to decide whether silence is suspicious. The longest
silence so far would not do: an hour that was never loaded looks like an hour without calls.
"""

import datetime as dt
from collections.abc import Sequence

import duckdb

# This many calls are not missing by chance: if 20 independent calls are expected, none comes once in 500 million cases.
WORTH_NOTICING = 20

# Enough weeks that one holiday or campaign does not matter, and few enough to follow the seasons.
_WEEKS = 8

_EXPECTED = f"""
    WITH loaded AS (
        -- Hours before the first stored call may have had calls that were deleted (CDR_CALLS_DAYS).
        SELECT DISTINCT partition_hour AS loaded_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL
            AND partition_hour >= (SELECT min(partition_hour) FROM cdr.calls)
    ),
    asked AS (SELECT DISTINCT unnest($hours::TIMESTAMP[]) AS asked_hour),
    like_it AS (
        SELECT asked_hour, loaded_hour FROM asked JOIN loaded ON loaded_hour < asked_hour
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

    None if no such hour was loaded. Hours are naive, in the tenant's wall clock. `connection` may have the warehouse or
    the published copy in use.
    """
    return dict(connection.execute(_EXPECTED, {"hours": list(hours)}).fetchall())
