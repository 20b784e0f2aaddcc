"""The keys of the assets and the names of their steps, in the order of a run, and the columns shown in the UI.

The tables and their columns are declared in `domain.schema`.
"""

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, MetadataValue, TableColumn, TableSchema

from cdr_assets.domain.schema import CALL_HISTORY, CALL_TAGS, CALLS, CDR_PAGES, CSAT_ANSWERS, Table

# What the vendor holds. Runs only read it.
SOURCE_KEY = AssetKey(["alotech", "cdr_logs"])
PAGES_KEY = AssetKey(CDR_PAGES.asset_key)
CDR_KEYS = [AssetKey(table.asset_key) for table in (CALLS, CALL_HISTORY, CSAT_ANSWERS, CALL_TAGS)]
PUBLISHED_KEY = AssetKey(["published", "cdr"])
# The check of the published copy that says whether the user's own marts were built.
OWN_MARTS_CHECK = "own_marts"

DAILY_REPORT_KEY = AssetKey(["published", "daily_report"])

# Whom to ask about an asset. A team, because Dagster shows the name and sends it nothing.
OWNERS = ["team:call-centre-data"]

# The tag of a run that says how many of its hours are published.
HOURS_TAG = "hours_published"

# The op of the first step. The configuration of a run belongs to it.
PAGES_OP = "raw__cdr_pages"

# The ops of a run over hours, in order.
STEPS = (PAGES_OP, "cdr", "marts", "published__cdr")

# One asset of each step. It reports each hour when the step is done with it, so `cdr backfill` can show progress.
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
