"""How a check's result reaches Dagster."""

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
    """The result as an evaluation of the check, and the end of the check's output.

    Dagster would do the same with the result itself, but looks up all partitions since CDR_START to do so: seconds for
    each check of a long history.
    """
    key = _key(result)
    yield Output(None, output_name=definition.get_output_name_for_asset_check_key(key))
    yield evaluation(result, blocking=definition.get_spec_for_check_key(key).blocking)


def evaluation(result: AssetCheckResult, *, blocking: bool) -> AssetCheckEvaluation:
    """The result as an evaluation, from whichever step."""
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
