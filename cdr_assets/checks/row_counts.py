"""Row counts that balance for every hour, keys that are unique, tables that are as they are declared.

All block: publishing on would show analysts a number that is wrong.
"""

from collections.abc import Iterator, Sequence

import duckdb
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    HourlyPartitionsDefinition,
    Output,
    ResourceParam,
    multi_asset_check,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from cdr_assets.checks.evaluation import evaluated
from cdr_assets.partitions import Hour, hours_of_run
from cdr_assets.schema import CALLS, CHILDREN, TABLES
from cdr_assets.warehouse import Warehouse

_CALLS_KEY = AssetKey(CALLS.asset_key)

_NEWEST_LOADS = """
    SELECT * FROM cdr.loads WHERE error IS NULL
    QUALIFY row_number() OVER (PARTITION BY partition_hour ORDER BY fetched_at DESC) = 1
"""

# Each finds what is wrong: no row means that all is well. `{hours}` limits it to the hours of the run.
ROW_COUNTS = f"""
    WITH newest AS ({_NEWEST_LOADS}),
    stored AS (SELECT partition_hour, count(*) FILTER (vanished_at IS NULL) AS calls FROM cdr.calls GROUP BY ALL)
    SELECT partition_hour, served, loaded, repeated, outside_window, rejected, moved, coalesce(calls, 0) AS calls
    FROM newest LEFT JOIN stored USING (partition_hour)
    WHERE {{hours}}
      AND (served <> loaded + repeated + outside_window + rejected OR coalesce(calls, 0) <> loaded - moved)
    ORDER BY partition_hour
"""

CHILD_ROWS = """
    WITH items AS (SELECT partition_hour, count(*) AS items FROM cdr.{child} WHERE {hours} GROUP BY ALL),
    counted AS (SELECT partition_hour, sum({child}_count) AS counted FROM cdr.calls WHERE {hours} GROUP BY ALL)
    SELECT partition_hour, coalesce(items, 0) AS items, coalesce(counted, 0) AS counted
    FROM counted FULL JOIN items USING (partition_hour)
    WHERE coalesce(items, 0) <> coalesce(counted, 0) ORDER BY partition_hour
"""

REPEATED_KEYS = """
    SELECT key, count(*) AS rows FROM cdr.calls
    WHERE key IN (SELECT key FROM cdr.calls WHERE {hours}) GROUP BY key HAVING count(*) > 1
"""

OTHER_COLUMNS = """
    SELECT coalesce(declared.table_name, stored.table_name) AS table_name,
           coalesce(declared.column_name, stored.column_name) AS column_name, declared.kind, stored.kind
    FROM declared FULL JOIN (
        SELECT schema_name || '.' || table_name AS table_name, column_name,
               replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ') AS kind
        FROM duckdb_columns() WHERE database_name = current_database() AND schema_name IN ('raw', 'cdr')
          AND table_name <> 'warehouse'
    ) AS stored USING (table_name, column_name)
    WHERE declared.kind IS DISTINCT FROM stored.kind
"""


def build_row_count_checks(partitions: HourlyPartitionsDefinition) -> AssetChecksDefinition:
    @multi_asset_check(
        name="row_counts",
        specs=[
            AssetCheckSpec(
                "row_counts_balance",
                asset=_CALLS_KEY,
                blocking=True,
                description="served = loaded + repeated + outside_window + rejected; the hour holds what was loaded.",
            ),
            AssetCheckSpec("keys_are_unique", asset=_CALLS_KEY, blocking=True, description="One row per call."),
            AssetCheckSpec(
                "columns_as_declared",
                asset=_CALLS_KEY,
                blocking=True,
                description="Every table of the schemas raw and cdr has the columns and types it is declared with.",
            ),
            *(
                AssetCheckSpec(
                    "rows_equal_items",
                    asset=table.asset_key,
                    blocking=True,
                    description="As many rows as the calls' arrays have items.",
                )
                for table in CHILDREN.values()
            ),
        ],
    )
    def row_counts(
        context: AssetCheckExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[Output[None] | AssetCheckEvaluation]:
        hours = hours_of_run(partitions, context.run)
        with warehouse.connect(f"run {context.run.run_id[:8]}, row counts") as connection:
            calls, unique, columns = find_wrong(connection, hours)
            children = {name: find_wrong_children(connection, name, hours) for name in CHILDREN}
        results = [
            _result(_CALLS_KEY, "row_counts_balance", calls, "hours do not balance"),
            _result(_CALLS_KEY, "keys_are_unique", unique, "keys have more than one row"),
            _result(_CALLS_KEY, "columns_as_declared", columns, "columns differ from their declaration"),
        ]
        for name, table in CHILDREN.items():
            key = AssetKey(table.asset_key)
            results.append(_result(key, "rows_equal_items", children[name], "hours have other rows than items"))
        for result in results:
            yield from evaluated(row_counts, result)

    return row_counts


def find_wrong(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[Hour]
) -> tuple[list[dict[str, object]], list[dict[str, object]], list[dict[str, object]]]:
    """Hours that don't balance, keys with several rows, columns other than declared. No hours: all of them."""
    rows = [(table.full_name, column.name, column.kind.value) for table in TABLES for column in table.columns]
    connection.execute("CREATE OR REPLACE TEMP TABLE declared (table_name VARCHAR, column_name VARCHAR, kind VARCHAR)")
    connection.execute(
        "INSERT INTO declared SELECT unnest(?), unnest(?), unnest(?)",
        [list(column) for column in zip(*rows, strict=True)],
    )
    return (
        _rows(connection, ROW_COUNTS, hours),
        _rows(connection, REPEATED_KEYS, hours),
        _rows(connection, OTHER_COLUMNS, []),
    )


def find_wrong_children(
    connection: duckdb.DuckDBPyConnection, child: str, hours: Sequence[Hour]
) -> list[dict[str, object]]:
    """Hours in which a child table has other rows than the calls' arrays have items."""
    return _rows(connection, CHILD_ROWS.replace("{child}", child), hours)


def _rows(connection: duckdb.DuckDBPyConnection, query: str, hours: Sequence[Hour]) -> list[dict[str, object]]:
    # A literal list: DuckDB skips the row groups of other hours, which it cannot do for a parameter.
    listed = ", ".join(f"TIMESTAMP '{hour.start}'" for hour in hours)
    limited = query.replace("{hours}", f"partition_hour IN ({listed})" if hours else "true")
    return connection.execute(limited).pl().to_dicts()


def _result(key: AssetKey, name: str, wrong: list[dict[str, object]], what: str) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not wrong,
        description=f"{len(wrong)} {what}: {str(wrong[0])[:300]}" if wrong else None,
        metadata={"wrong": len(wrong)},
    )
