"""Notes hours whose figures changed after they were built: before and after, and by how many calls.

An analyst who sees another number than yesterday finds here when and why it changed. The figures are those of
`marts.queue_hourly`, summed over all queues. Building the marts is in `ingest/building.py`.
"""

import duckdb

from cdr_assets.domain.schema import FIGURES, FIGURES_BEFORE
from cdr_assets.warehouse.ddl import create_statement

_NAMES = [figure.name for figure in FIGURES]
_SUMS = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _NAMES)
_OF_NO_CALLS = ", ".join(f"coalesce({name}, if(queue_hourly.local_hour IS NULL, 0, NULL)) AS {name}" for name in _NAMES)

_FIGURES = f"""
    SELECT dim_hours.local_hour, is_final, {_OF_NO_CALLS}
    FROM marts.dim_hours
    LEFT JOIN (SELECT local_hour, {_SUMS} FROM marts.queue_hourly GROUP BY local_hour) AS queue_hourly
        USING (local_hour)
    WHERE is_loaded
"""


def note_figures(connection: duckdb.DuckDBPyConnection, *, of_all_hours: bool = False) -> None:
    """Keeps the figures of the hours that are about to be built again; with `of_all_hours` of every hour.

    Figures that a killed build has noted already stay: they are the ones that were published. Hours that were not
    loaded before have none.
    """
    connection.execute(create_statement(FIGURES_BEFORE))
    columns = connection.execute(
        """SELECT list(column_name) FROM duckdb_columns()
           WHERE database_name = current_database() AND schema_name = 'marts'
             AND table_name IN ('dim_hours', 'queue_hourly')"""
    ).fetchone()
    # Marts of an older version may lack some.
    if not columns or not {*_NAMES, "is_loaded", "is_final"} <= {*(columns[0] or ())}:
        return
    chosen = "true" if of_all_hours else "local_hour IN (SELECT hour FROM cdr.stale_hours WHERE reason = 'touched')"
    connection.execute(
        f"""INSERT INTO raw.figures_before BY NAME
            SELECT * RENAME (is_final AS was_final) FROM ({_FIGURES}) WHERE {chosen}
                AND local_hour NOT IN (SELECT local_hour FROM raw.figures_before)"""
    )


def note_restatements(connection: duckdb.DuckDBPyConnection) -> None:
    """Adds a row to cdr.restatements for each hour whose figures have changed. The caller opens the transaction.

    Calls are counted in all loads of the hour since its last restatement, or since it was first loaded.
    """
    differs = " OR ".join(f"before.{name} IS DISTINCT FROM now.{name}" for name in _NAMES)
    pairs = ", ".join(f"before.{name} AS {name}_before, now.{name} AS {name}_after" for name in _NAMES)
    connection.execute(
        f"""INSERT INTO cdr.restatements BY NAME
            WITH known AS (
                SELECT partition_hour AS local_hour,
                    greatest(min(loaded_at) FILTER (filters IS NULL), any_value(restated_at)) AS since
                FROM cdr.loads
                LEFT JOIN (
                    SELECT local_hour AS partition_hour, max(restated_at) AS restated_at
                    FROM cdr.restatements GROUP BY ALL
                ) USING (partition_hour)
                WHERE error IS NULL AND partition_hour IN (SELECT local_hour FROM raw.figures_before)
                GROUP BY partition_hour
            ),
            loaded AS (
                SELECT local_hour, sum(new)::BIGINT AS new, sum(changed)::BIGINT AS changed,
                    sum(vanished)::BIGINT AS vanished
                FROM known JOIN cdr.loads ON partition_hour = local_hour AND loaded_at > since
                WHERE error IS NULL GROUP BY ALL
            )
            SELECT before.local_hour, get_current_timestamp() AS restated_at, was_final, coalesce(new, 0) AS new,
                coalesce(changed, 0) AS changed, coalesce(vanished, 0) AS vanished, {pairs}
            FROM raw.figures_before AS before
            JOIN ({_FIGURES}) AS now USING (local_hour)
            LEFT JOIN loaded USING (local_hour)
            WHERE {differs}
            ORDER BY before.local_hour"""
    )
    connection.execute("DELETE FROM raw.figures_before")
