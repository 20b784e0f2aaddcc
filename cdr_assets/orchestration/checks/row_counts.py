"""The checks of the tables in cdr, made after each load.

Row counts, unique keys and declared columns block: if one fails, nothing is published, because analysts would see a
wrong number. The others only warn: of rejected records, impossible values, missing calls and new fields. The queries
are in `ingest.balance`.
"""

import datetime as dt
from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    HourlyPartitionsDefinition,
    Output,
    ResourceParam,
    multi_asset_check,
)

from cdr_assets.domain.schema import CALLS, CHILDREN
from cdr_assets.ingest import balance
from cdr_assets.orchestration.checks.evaluation import evaluated
from cdr_assets.orchestration.partitions import hours_of_run
from cdr_assets.orchestration.steps import in_operators_words
from cdr_assets.warehouse import Warehouse

_CALLS_KEY = AssetKey(CALLS.asset_key)

# Warn of a new field for this long only: nobody reads a warning that never ends.
_NEWS = dt.timedelta(days=7)


def build_row_count_checks(partitions: HourlyPartitionsDefinition) -> AssetChecksDefinition:
    @multi_asset_check(
        name="row_counts",
        specs=[
            AssetCheckSpec(
                "row_counts_balance",
                asset=_CALLS_KEY,
                blocking=True,
                description=(
                    "Per hour: served = loaded + repeated + outside_window + rejected, and cdr.calls has `loaded` rows."
                ),
            ),
            AssetCheckSpec("keys_are_unique", asset=_CALLS_KEY, blocking=True, description="One row per call."),
            AssetCheckSpec(
                "columns_as_declared",
                asset=_CALLS_KEY,
                blocking=True,
                description="Every table of the schemas raw and cdr has the declared columns and types.",
            ),
            AssetCheckSpec(
                "values_are_plausible",
                asset=_CALLS_KEY,
                description=(
                    "Every value can be read and is possible: dates are near the call's date, durations are at most a "
                    "day. A value that is not becomes NULL; it is kept in extra, named in set_aside and in no measure."
                ),
            ),
            AssetCheckSpec(
                "flags_are_known",
                asset=_CALLS_KEY,
                description="The vendor sent every flag that the marts need, for some calls of each hour.",
            ),
            AssetCheckSpec(
                "fields_are_known",
                asset=_CALLS_KEY,
                description="In the last week, the vendor sent no new field that no column is read from.",
            ),
            AssetCheckSpec(
                "records_become_calls",
                asset=_CALLS_KEY,
                description="Every record of the run's hours has a key and a readable date.",
            ),
            AssetCheckSpec(
                "records_are_of_their_hours",
                asset=_CALLS_KEY,
                description="Every fetched record belongs to the hour that was asked for, or to the second before it.",
            ),
            AssetCheckSpec(
                "calls_came",
                asset=_CALLS_KEY,
                description="The run brought calls. It may bring none only if its hours had none in earlier weeks.",
            ),
            *(
                AssetCheckSpec(
                    "rows_equal_items",
                    asset=table.asset_key,
                    blocking=True,
                    description="The table has as many rows as the calls' arrays have items.",
                )
                for table in CHILDREN.values()
            ),
        ],
    )
    @in_operators_words
    def row_counts(
        context: AssetCheckExecutionContext, warehouse: ResourceParam[Warehouse]
    ) -> Iterator[Output[None] | AssetCheckEvaluation]:
        # A check that is run without partitions looks at all hours.
        hours = [hour.start for hour in hours_of_run(partitions, context.run)] or None
        with warehouse.connect(f"run {context.run.run_id[:8]}, row counts") as connection:
            calls, unique, columns = balance.find_wrong(connection, hours)
            aside = balance.find_set_aside(connection, hours)
            unsent = balance.find_unsent_flags(connection, hours)
            old_rules = balance.find_hours_typed_by_older_rules(connection)
            unknown = balance.find_unknown_fields(connection, dt.datetime.now(dt.UTC) - _NEWS)
            children = {name: balance.find_wrong_children(connection, name, hours) for name in CHILDREN}
            rejected = balance.find_rejected(connection, hours)
            of_other_hours = balance.find_of_other_hours(connection, hours, partitions.timezone)
            silence = balance.find_silence(connection, context.run.run_id)
        results = [
            _result(_CALLS_KEY, "row_counts_balance", calls, "hours do not balance"),
            _result(_CALLS_KEY, "keys_are_unique", unique, "keys have more than one row"),
            _result(_CALLS_KEY, "columns_as_declared", columns, "columns differ from their declaration"),
        ]
        for name, table in CHILDREN.items():
            key = AssetKey(table.asset_key)
            results.append(_result(key, "rows_equal_items", children[name], "hours have more or fewer rows than items"))
        results += [
            _warning(
                "values_are_plausible",
                balance.set_aside_told(aside),
                {"set aside": sum(found["calls"] for found in aside), "hours typed by older rules": old_rules},
            ),
            _warning("flags_are_known", unsent),
            _warning(
                "fields_are_known",
                balance.news_told(unknown),
                {"new": sum(bool(field["is_news"]) for field in unknown), "unknown": len(unknown)},
            ),
            _warning("records_become_calls", rejected),
            _warning("records_are_of_their_hours", of_other_hours),
            _warning("calls_came", silence),
        ]
        for result in results:
            yield from evaluated(row_counts, result)

    return row_counts


def _result(key: AssetKey, name: str, wrong: list[dict[str, object]], what: str) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not wrong,
        description=f"{len(wrong)} {what}: {str(wrong[0])[:300]}" if wrong else None,
        metadata={"wrong": len(wrong)},
    )


def _warning(name: str, told: str | None, metadata: dict[str, int] | None = None) -> AssetCheckResult:
    """A warning with the text `told`; passed if there is none."""
    return AssetCheckResult(
        asset_key=_CALLS_KEY,
        check_name=name,
        passed=told is None,
        severity=AssetCheckSeverity.WARN,
        description=told,
        metadata=metadata,
    )
