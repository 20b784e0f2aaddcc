"""The audit as an asset check: fetches a sample of old hours again and compares them with the warehouse.

The comparison itself is in `ingest.audit`, which `cdr audit` calls too.
"""

import datetime as dt
import random
from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    HourlyPartitionsDefinition,
    Output,
    ResourceParam,
    multi_asset_check,
)

from cdr_assets.domain.lateness import LOOK_BACK_OVER
from cdr_assets.ingest.audit import audit
from cdr_assets.ingest.fetching import Alotech
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.keys import CDR_KEYS, SOURCE_KEY
from cdr_assets.orchestration.partitions import hours_between
from cdr_assets.orchestration.steps import in_operators_words
from cdr_assets.transforms import rejected_told
from cdr_assets.warehouse import Warehouse

# 24 hours cost as many requests as one day. Sampled from 90 days, they show a loading error within days.
_HOURS = 24
_SAMPLED_FROM = dt.timedelta(days=90)


def build_audit_check(partitions: HourlyPartitionsDefinition) -> AssetChecksDefinition:
    @multi_asset_check(
        name="audit_checks",
        specs=[
            AssetCheckSpec(
                "warehouse_equals_api",
                # A run that materializes an asset runs all of its checks, whatever its job leaves out: on `cdr/calls`,
                # each run that is started in the UI would fetch these hours too.
                asset=SOURCE_KEY,
                additional_deps=CDR_KEYS,
                description=(
                    f"{_HOURS} random hours of the last {_SAMPLED_FROM.days} days, fetched again from the API, hold "
                    "the same calls as the warehouse, field by field. The job audit runs this check."
                ),
            )
        ],
    )
    @in_operators_words
    def warehouse_equals_api(
        context: AssetCheckExecutionContext, alotech: ResourceParam[Alotech], warehouse: ResourceParam[Warehouse]
    ) -> Iterator[Output[None] | AssetCheckEvaluation]:
        now = dt.datetime.now(dt.UTC)
        hours = hours_between(partitions, now - _SAMPLED_FROM, now - LOOK_BACK_OVER, now)
        # The run's ID is the seed, so that a repeated step compares the same hours.
        sample = sorted(
            random.Random(context.run.run_id).sample(hours, min(_HOURS, len(hours))), key=lambda hour: hour.ends_at
        )
        found = audit(sample, alotech, warehouse, now)
        due = found.due
        example = f"; for instance {due.row(0)}" if due.height else ""
        unread = (
            f"; {len(found.failed)} hours could not be read: {next(iter(found.failed.values()))}"
            if found.failed
            else ""
        )
        lost = f"; {rejected_told(found.rejected)}" if found.rejected.height else ""
        if found.elsewhere:
            lost += f"; the API returned {found.elsewhere} records of hours that were not asked for"
        result = AssetCheckResult(
            asset_key=SOURCE_KEY,
            check_name="warehouse_equals_api",
            passed=not due.height and not found.failed and not lost,
            severity=AssetCheckSeverity.WARN,
            description=f"{found}{example}{lost}{unread}",
            metadata={
                "calls": found.calls,
                "hours": found.hours,
                "different": due.height,
                "rejected": found.rejected.height,
            },
        )
        yield from evaluated(warehouse_equals_api, result)

    return warehouse_equals_api
