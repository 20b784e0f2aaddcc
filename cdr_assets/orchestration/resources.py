"""What steps are given beside `ingest.fetching.Alotech`: the warehouse, made from the settings and not opened yet."""

from dagster import ResourceDefinition

from cdr_assets.domain.settings import Settings
from cdr_assets.warehouse import Warehouse


def build_warehouse(settings: Settings) -> ResourceDefinition:
    """The warehouse as a run is given it: that it waits, and for whom, is told in the run's own log."""
    return ResourceDefinition(lambda context: Warehouse(settings.warehouse_path, log=context.log.warning))
