"""The configuration of `raw/cdr_pages`: the vendor's optional parameters, as a run over hours may set them."""

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
    """The vendor's optional parameters; by default whole hours with everything.

    The first five leave calls out: those that come are merged by key, for they are not all of their hours.
    """

    agent: str | None = Field(None, description="Only calls of the agent with this unique ID.")
    agent_username: str | None = Field(None, description="Only calls of the agent with this user name (e-mail).")
    queue: str | None = Field(None, description="Only calls of the queue with this unique ID.")
    csat_only: bool = Field(False, description="Only calls with answers of the satisfaction survey.")
    untransferred: bool = Field(False, description="Only calls that were not transferred.")
    sorting: Sorting = Field(Sorting.asc, description="Order of the calls; busy hours are read faster with asc.")
    include_call_history: bool = Field(True, description="With call history; without, what is stored of it stays.")
    include_csat: bool = Field(True, description="With survey answers; without, what is stored of them stays.")
    include_call_tags: bool = Field(True, description="With call tags; without, what is stored of them stays.")

    def filters(self) -> Filters:
        """Raises SettingsError for a filter that is blank."""
        try:
            return Filters(**{name: getattr(self, name) for name in Filters.__dataclass_fields__})
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def narrowed_by(self) -> str | None:
        """What leaves calls out, as the columns `filters` tell it; None for whole hours."""
        return as_json(self.filters().narrowing())


def as_json(narrowed_by: Mapping[str, object]) -> str | None:
    """As the columns `filters` of raw.cdr_pages and cdr.loads tell what narrowed a fetch; None if nothing did."""
    return json.dumps(dict(narrowed_by), ensure_ascii=False, sort_keys=True) if narrowed_by else None


def pages_config(run: DagsterRun) -> PagesConfig:
    """What the run asks for."""
    config: Mapping[str, Any] = run.run_config
    return PagesConfig(**config.get("ops", {}).get(PAGES_OP, {}).get("config", {}))
