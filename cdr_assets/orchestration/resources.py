"""The Dagster resource `warehouse`, which steps use to open the warehouse.

The other resource, `alotech`, is `ingest.fetching.Alotech`.
"""

from dagster import ResourceDefinition

from cdr_assets.domain.settings import Settings
from cdr_assets.warehouse import Warehouse


def build_warehouse(settings: Settings) -> ResourceDefinition:
    """The warehouse, not opened yet. If a step must wait for another's lock, the run's log says so and names it."""
    return ResourceDefinition(lambda context: Warehouse(settings.warehouse_path, log=context.log.warning))
