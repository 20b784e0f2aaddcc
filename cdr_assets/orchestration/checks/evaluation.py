"""Turns a check's result into the events that Dagster stores. What a check compares is in the other modules here."""

from collections.abc import Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetsDefinition,
    Output,
)


def evaluated(
    definition: AssetsDefinition | AssetChecksDefinition, result: AssetCheckResult
) -> Iterator[Output[None] | AssetCheckEvaluation]:
    """The check's output and its evaluation, for a step to yield in place of the result.

    Dagster would make both from the result, but it then lists all partitions since CDR_START, which takes seconds for
    each check when the history is long.
    """
    key = _key(result)
    yield Output(None, output_name=definition.get_output_name_for_asset_check_key(key))
    yield evaluation(result, blocking=definition.get_spec_for_check_key(key).blocking)


def evaluation(result: AssetCheckResult, *, blocking: bool) -> AssetCheckEvaluation:
    """The result as an evaluation that any step may yield."""
    key = _key(result)
    return AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=blocking,
    )


def _key(result: AssetCheckResult) -> AssetCheckKey:
    assert result.asset_key is not None
    assert result.check_name is not None
    return AssetCheckKey(result.asset_key, result.check_name)
