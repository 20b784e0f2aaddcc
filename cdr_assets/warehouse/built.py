"""What the marts were last built of: if nothing of that has changed and no hour is stale, they need not be built.

Which hours are stale is in `hours`; what a build depends on otherwise is in `marts/build.py`.
"""

import duckdb

from cdr_assets.domain.schema import BUILT_MARTS
from cdr_assets.warehouse.ddl import create_statement


def is_unchanged(connection: duckdb.DuckDBPyConnection, made_of: str) -> bool:
    """True if the last build succeeded with the same `made_of`."""
    return connection.execute("SELECT 1 FROM raw.built_marts WHERE made_of = ?", [made_of]).fetchone() is not None


def is_built(connection: duckdb.DuckDBPyConnection, made_of: str) -> bool:
    """True if the last build succeeded with the same `made_of`, and no hour has become stale since."""
    stale = connection.execute("FROM cdr.stale_hours LIMIT 1").fetchone()
    return stale is None and is_unchanged(connection, made_of)


def note_built(connection: duckdb.DuckDBPyConnection, made_of: str | None) -> None:
    """Notes that the marts were built. If `made_of` is None, they are not complete, and the next run builds them."""
    # A migration may come here before the table exists.
    connection.execute(create_statement(BUILT_MARTS))
    connection.execute("DELETE FROM raw.built_marts")
    connection.execute("INSERT INTO raw.built_marts VALUES (?, NULL)", [made_of])


def is_own_built(connection: duckdb.DuckDBPyConnection, made_of: str) -> bool:
    """True if the own marts were built of these files since the marts were last built."""
    return connection.execute("SELECT 1 FROM raw.built_marts WHERE own_made_of = ?", [made_of]).fetchone() is not None


def note_own_built(connection: duckdb.DuckDBPyConnection, made_of: str) -> None:
    connection.execute("UPDATE raw.built_marts SET own_made_of = ?", [made_of])


def note_last_readings(connection: duckdb.DuckDBPyConnection) -> None:
    """Writes into marts.dim_hours when each hour was last read: the only value that a build would change if no hour is
    stale."""
    connection.execute(
        """
        UPDATE marts.dim_hours SET fetched_at = loads.fetched_at
        FROM (
            SELECT partition_hour, max(fetched_at) AS fetched_at FROM cdr.loads
            WHERE error IS NULL AND filters IS NULL GROUP BY ALL
        ) AS loads
        WHERE local_hour = partition_hour AND dim_hours.fetched_at IS DISTINCT FROM loads.fetched_at
        """
    )
