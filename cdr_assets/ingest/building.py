"""Builds the marts of the hours that have changed, and then publishes the analysts' copy.

How dbt runs is in `marts`; how the copy is written is in `publishing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.masking import mask
from cdr_assets.domain.protection import prepare_published
from cdr_assets.domain.settings import Settings
from cdr_assets.ingest.loading import retype
from cdr_assets.ingest.spelling import spell_numbers
from cdr_assets.marts.build import DbtError, NodeResult, build, made_of, parse
from cdr_assets.marts.own import build_own, drop_other_tables, own_made_of
from cdr_assets.publishing.copy import publish
from cdr_assets.publishing.secret_key import read_or_make_secret_key, replace_secret_key
from cdr_assets.publishing.shown import CLASSES, Privacy
from cdr_assets.warehouse import Warehouse, clear_stale_hours, mark_stale, rebuild_marts, transaction
from cdr_assets.warehouse.built import (
    is_built,
    is_own_built,
    is_unchanged,
    note_built,
    note_last_readings,
    note_own_built,
)
from cdr_assets.warehouse.restatements import note_figures, note_restatements
from cdr_assets.warehouse.retention import keep_frozen_figures, put_figures_back

# Failing rows that a test's message shows.
_EXAMPLES = 3


def build_stale_marts(warehouse: Warehouse, settings: Settings, select: Sequence[str] = ()) -> Sequence[NodeResult]:
    """Builds and tests the marts of the hours that have changed; with `select` only these models.

    Returns no results if nothing has changed since the last build: then it only notes when hours were last read. Views
    and seeds have results only if the project has changed.
    First it types the hours again that an older version of this code typed, and spells numbers again after a change of
    CDR_COUNTRY, so that no mart uses their errors. The caller must hold the warehouse; otherwise hours that another run
    loads meanwhile would be cleared without being built. Raises DbtError if a model could not be built. Failed tests
    are in the results.
    """
    with warehouse.opened() as connection:
        retype(connection, settings, warehouse.log)
        spell_numbers(connection, settings, warehouse.log)
        keep_frozen_figures(connection)
        if is_built(connection, made_of(settings)):
            note_last_readings(connection)
            return ()
        note_figures(connection)
        unchanged = is_unchanged(connection, made_of(settings))
    results = build(settings, select, is_unchanged=unchanged)
    broken = [result for result in results if result.status == "error"]
    if broken:
        told = "; ".join(f"{result.unique_id.split('.')[-1]}: {result.message}" for result in broken)
        raise DbtError(f"the marts could not be built and keep what they held: {told}")
    if any(result.failures for result in results):
        with warehouse.opened() as connection:
            results = [_with_examples(connection, result) for result in results]
    if not select:
        # After a failed test, the next run builds and tests again.
        built = None if any(result.status == "fail" for result in results) else made_of(settings)
        with warehouse.opened() as connection, transaction(connection):
            frozen_until = put_figures_back(connection)
            note_restatements(connection)
            clear_stale_hours(connection)
            note_built(connection, None if frozen_until else built)
            if frozen_until:
                mark_stale(connection, [frozen_until + n * HOUR for n in range(24)])
        if frozen_until:
            # The dimensions list the queues and agents of these figures too, which explain names of rings; and the
            # hours after them look back.
            build(settings, ["dim_queues", "dim_agents", "fct_rings", "agent_daily", "staffing_interval"])
            with warehouse.opened() as connection, transaction(connection):
                clear_stale_hours(connection)
                note_built(connection, built)
    return results


def _with_examples(connection: duckdb.DuckDBPyConnection, result: NodeResult) -> NodeResult:
    """A test's result with the first of its failing rows in the message: dbt says only how many there are."""
    if not (result.failures and result.query):
        return result
    rows = connection.execute(f"FROM ({result.query}) LIMIT {_EXAMPLES}").fetchall()
    examples = "; ".join(", ".join(str(value) for value in row if value is not None) for row in rows)
    return replace(result, message=mask(f"{result.message}: {examples}{' ...' if result.failures > _EXAMPLES else ''}"))


@dataclass(frozen=True)
class Published:
    """What was published: `told` says what and where; `own_failed` has a line for each own mart that failed."""

    told: str
    own_failed: Sequence[str]


def publish_copy(warehouse: Warehouse, settings: Settings, holder: str) -> Published:
    """Builds the user's own marts, if they or ours have changed, and publishes the copy.

    Raises DbtError if a mart of ours cannot be built, and WarehouseError if the copy cannot be written.
    """
    key = settings.cdr_secret_key
    secret_key = key.get_secret_value() if key else read_or_make_secret_key(settings.secret_key_path)
    privacy = Privacy(settings.cdr_callers, secret_key, {**CLASSES, **parse(settings).classes})
    with warehouse.held(holder):
        own = own_made_of(settings)
        with warehouse.opened() as connection:
            is_behind = not is_built(connection, made_of(settings))
            is_own_behind = is_behind or not is_own_built(connection, own)
        if is_behind:
            # Another run has loaded calls since the marts were built; the copy must not show them without their marts.
            build_stale_marts(warehouse, settings)
        own_failed = build_own(settings) if is_own_behind else []
        prepare_published(settings)
        with warehouse.opened() as connection:
            if not own_failed:
                # After a failure, each run builds them again and says what failed.
                note_own_built(connection, own)
            drop_other_tables(connection, settings)
            size = publish(
                connection,
                settings.published_path,
                privacy,
                log=warehouse.log,
                log_own=own_failed.append,
                mode=settings.cdr_published_readers.file_mode,
            )
    return Published(f"published {settings.published_path}, {size / 1e6:.1f} MB", own_failed)


def rebuild(warehouse: Warehouse, settings: Settings, holder: str) -> Published:
    """Builds all marts from scratch, after a change of a seed or a model, and publishes the copy.

    Figures of hours whose calls were deleted stay. Raises the errors of `publish_copy`.
    """
    with warehouse.held(holder), warehouse.opened() as connection, transaction(connection):
        rebuild_marts(connection)
    return publish_copy(warehouse, settings, holder)


def rotate_key(warehouse: Warehouse, settings: Settings, holder: str) -> Published:
    """Makes a new key of the pseudonyms and publishes the copy with it. Raises the errors of `publish_copy`.

    If publishing fails, the next one uses the new key. Raises OperatorError if CDR_SECRET_KEY sets the key.
    """
    if settings.cdr_secret_key:
        raise OperatorError(
            "CDR_SECRET_KEY sets the key of the pseudonyms: write another one there; the next run uses it"
        )
    replace_secret_key(settings.secret_key_path)
    return publish_copy(warehouse, settings, holder)
