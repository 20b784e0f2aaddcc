"""What the assets are given: the vendor's API and the warehouse, both made from the settings, neither opened yet."""

from dataclasses import dataclass, field

from dagster import ResourceDefinition

from cdr_assets.alotech import AlotechClient
from cdr_assets.settings import Settings
from cdr_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Alotech:
    """Makes clients. The token is read when a client is made, so that definitions load without one."""

    settings: Settings = field(repr=False)

    def client(self) -> AlotechClient:
        """A client of the configured tenant. Raises SettingsError when no tenant or token is set."""
        return AlotechClient(
            self.settings.base_url,
            self.settings.token,
            max_concurrency=self.settings.alotech_max_concurrency,
            requests_per_second=self.settings.alotech_requests_per_second,
            limits_dir=self.settings.cdr_data_dir / "limits",
        )


def build_warehouse(settings: Settings) -> ResourceDefinition:
    """The warehouse as a run is given it: that it waits, and for whom, is told in the run's own log."""
    return ResourceDefinition(lambda context: Warehouse(settings.warehouse_path, log=context.log.warning))
