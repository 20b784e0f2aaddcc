"""How many calls an hour should bring, going by the same hour of the weeks before. Silence is judged by it.

The longest silence of a centre is no measure: an hour that nobody loaded looks just like one without a call.
"""

import datetime as dt
from collections.abc import Sequence

import duckdb

# So many calls are not missing by chance: where they come by themselves, none comes once in 500 million times.
WORTH_NOTICING = 20

# Enough for a holiday or a campaign not to count, few enough for a centre's year to change.
_WEEKS = 8

_EXPECTED = f"""
    WITH loaded AS (
        SELECT DISTINCT partition_hour AS loaded_hour FROM cdr.loads WHERE error IS NULL AND filters IS NULL
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
    """The median of the calls in the last 8 loaded hours of the same weekday and local hour, before each of the hours.

    None where no such hour was loaded: what nobody asked for says nothing. The warehouse or the published copy.
    """
    return dict(connection.execute(_EXPECTED, {"hours": list(hours)}).fetchall())
