"""An analyst's program: queries the published copy in a loop until its input ends, then prints its counts.

It opens one connection again for every query, and keeps another one open all the time.
"""

import json
import sys
import threading
from pathlib import Path

import duckdb

from cdr_assets.publishing.reading import open_published

# Calls whose typed row, tags or history differ from the marts, and hours whose counts differ. If there are none, the
# copy is consistent.
MIXED = """
    WITH typed AS (
        SELECT key AS call_key, partition_hour, holdduration FROM cdr.calls WHERE vanished_at IS NULL
    ),
    in_marts AS (SELECT call_key, partition_hour, hold_seconds FROM marts.fct_calls WHERE NOT is_vanished),
    loaded AS (
        SELECT partition_hour, loaded FROM cdr.loads WHERE error IS NULL
        QUALIFY row_number() OVER (PARTITION BY partition_hour ORDER BY fetched_at DESC) = 1
    ),
    counted AS (SELECT partition_hour, count(*) AS calls FROM typed GROUP BY ALL)
    SELECT 'call ' || call_key FROM typed FULL JOIN in_marts USING (call_key)
    WHERE (typed.partition_hour, holdduration) IS DISTINCT FROM (in_marts.partition_hour, hold_seconds)
    UNION ALL
    SELECT 'tag of ' || call_key FROM (SELECT key AS call_key, tag FROM cdr.call_tags) AS typed
    FULL JOIN marts.fct_call_tags AS in_marts USING (call_key) WHERE typed.tag IS DISTINCT FROM in_marts.tag
    UNION ALL
    SELECT 'hour ' || partition_hour FROM loaded FULL JOIN counted USING (partition_hour)
    WHERE coalesce(loaded, 0) <> coalesce(calls, 0)
    UNION ALL
    SELECT 'offered of ' || coalesce(typed.partition_hour, local_hour)
    FROM (SELECT partition_hour, count(*) AS calls FROM typed GROUP BY ALL) AS typed
    FULL JOIN (SELECT local_hour, sum(offered) AS offered FROM marts.queue_hourly GROUP BY ALL) AS hourly
        ON typed.partition_hour = hourly.local_hour
    WHERE coalesce(calls, 0) <> coalesce(offered, 0)
"""


def ask(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [what for (what,) in connection.execute(MIXED).fetchall()]


def main() -> None:
    published, pause = Path(sys.argv[1]), float(sys.argv[2])
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not published.exists():
        if ended.wait(0.02):
            return
    reads, failed, torn = 0, [], []
    with open_published(published) as kept:
        while True:
            try:
                torn += ask(kept)
                with open_published(published) as newest:
                    torn += ask(newest)
            except duckdb.Error as error:
                failed.append(str(error))
            reads += 2
            # Pause, because on a small machine the readers would slow down the runs.
            if ended.wait(pause):
                break
    print(json.dumps({"reads": reads, "failed": failed, "torn": torn}))


if __name__ == "__main__":
    main()
