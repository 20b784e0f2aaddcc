"""The configuration of `raw/cdr_pages`: the vendor's optional parameters that a run over hours may set.

The configuration of the other jobs is in `orchestration.ops`, the settings of the environment in `domain.settings`.
"""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from dagster import Config, DagsterRun
from pydantic import Field

from cdr_assets.alotech import Filters
from cdr_assets.domain.settings import SettingsError
from cdr_assets.orchestration.keys import PAGES_OP


class Sorting(Enum):
    asc = "asc"
    desc = "desc"


class PagesConfig(Config):
    """The vendor's optional parameters. By default a run fetches whole hours with all arrays.

    The first five are filters: the fetched calls are not all calls of their hours, so they are merged by key and do not
    replace the hour.
    """

    agent: str | None = Field(None, description="Only calls of the agent with this unique ID.")
    agent_username: str | None = Field(None, description="Only calls of the agent with this user name (e-mail).")
    queue: str | None = Field(None, description="Only calls of the queue with this unique ID.")
    csat_only: bool = Field(False, description="Only calls with an answer to the satisfaction survey.")
    untransferred: bool = Field(False, description="Only calls that were not transferred.")
    sorting: Sorting = Field(Sorting.asc, description="Order of the calls; asc fetches busy hours faster.")
    include_call_history: bool = Field(True, description="Fetch call history; if false, stored history stays.")
    include_csat: bool = Field(True, description="Fetch survey answers; if false, stored answers stay.")
    include_call_tags: bool = Field(True, description="Fetch call tags; if false, stored tags stay.")

    def filters(self) -> Filters:
        """The filters of the request. Raises SettingsError if one is blank."""
        try:
            return Filters(**{name: getattr(self, name) for name in Filters.__dataclass_fields__})
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def narrowed_by(self) -> str | None:
        """The filters that leave calls out, as JSON for the columns `filters`; None for whole hours."""
        return as_json(self.filters().narrowing())


def as_json(narrowed_by: Mapping[str, object]) -> str | None:
    """The filters of a fetch as JSON for the columns `filters` of raw.cdr_pages and cdr.loads; None without filters."""
    return json.dumps(dict(narrowed_by), ensure_ascii=False, sort_keys=True) if narrowed_by else None


def pages_config(run: DagsterRun) -> PagesConfig:
    """The configuration that the run was started with."""
    config: Mapping[str, Any] = run.run_config
    return PagesConfig(**config.get("ops", {}).get(PAGES_OP, {}).get("config", {}))
