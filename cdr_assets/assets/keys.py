"""The assets' keys in the order of a call's way, and what Dagster is told of each table's columns."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, MetadataValue, TableColumn, TableSchema

from cdr_assets.schema import CALL_HISTORY, CALL_TAGS, CALLS, CDR_PAGES, CSAT_ANSWERS, Table

PAGES_KEY = AssetKey(CDR_PAGES.asset_key)
CDR_KEYS = [AssetKey(table.asset_key) for table in (CALLS, CALL_HISTORY, CSAT_ANSWERS, CALL_TAGS)]
PUBLISHED_KEY = AssetKey(["published", "cdr"])
DAILY_REPORT_KEY = AssetKey(["published", "daily_report"])

# The first part of every asset's key, in the order in which a run goes through them.
STAGES = ("raw", "cdr", "staging", "intermediate", "marts", "published")

# One asset of each stage that reports hours, for whoever follows a run's progress.
STAGE_ENDS = (PAGES_KEY, CDR_KEYS[0], AssetKey(["marts", "fct_calls"]), PUBLISHED_KEY)


def table_metadata(table: Table) -> Mapping[str, Any]:
    return {
        "dagster/column_schema": MetadataValue.table_schema(
            TableSchema(
                [
                    TableColumn(column.name, column.kind.value, description=column.description)
                    for column in table.columns
                ]
            )
        ),
        "dagster/table_name": table.full_name,
    }
