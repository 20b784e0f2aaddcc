"""Spares dbt's builds work whose result is the same in every build of a process. The marts are the same.

Each patch names a part of dbt; if a new version of dbt moves one, the first build of a test fails. Processes that tests
start use dbt as it is.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import parsedatetime
from dbt import compilation
from dbt.context.macros import MacroNamespace
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.clients.jinja import MacroFuzzEnvironment
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.event_manager_client import get_event_manager


@cache
def spare_work() -> None:
    """Changes dbt in this process."""
    _once(MacroFuzzEnvironment, "compile", lambda self, *args: (type(self), *args))
    _once(compilation, "inject_ctes_into_sql", lambda sql, ctes: (sql, *((cte.id, cte.sql) for cte in ctes)))
    # Each table of results makes a few, of hundreds of regular expressions that read dates in words.
    parsedatetime.Constants = lru_cache(parsedatetime.Constants)
    # It searches all imported modules for the one that called, only to name it in a warning.
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")
    _make_no_unread_events()
    _merge_macros()


def _once(owner: Any, name: str, key_of: Callable[..., object]) -> None:
    """Keeps what the function returns for equal arguments."""
    original, known = getattr(owner, name), dict[object, Any]()

    def once(*args: Any) -> Any:
        key = key_of(*args)
        if key not in known:
            known[key] = original(*args)
        return known[key]

    setattr(owner, name, once)


def _make_no_unread_events() -> None:
    """A build makes a thousand messages for its log, and we log nothing of dbt's. Warnings may be errors: they stay."""
    make, fire_event = BaseEvent.__init__, EventManager.fire_event

    def make_if_read(self: Any, *args: Any, **named: Any) -> None:
        if self.level_tag() in (EventLevel.DEBUG, EventLevel.INFO) and not get_event_manager().loggers:
            self.pb_msg = getattr(self.PROTO_TYPES_MODULE, type(self).__name__)()
        else:
            make(self, *args, **named)

    def fire_if_read(
        self: Any, e: Any, level: Any = None, node: Any = None, force_warn_or_error_handling: bool = False
    ) -> None:
        if self.loggers or force_warn_or_error_handling or (level or e.level_tag()) == EventLevel.WARN:
            fire_event(self, e, level, node, force_warn_or_error_handling)

    BaseEvent.__init__ = make_if_read
    EventManager.fire_event = fire_if_read


def _merge_macros() -> None:
    """Each model and test copies 600 macros from five namespaces, and looked for each in all of them."""

    def merged(self: Any) -> dict[str, Any]:
        if "merged" not in vars(self):
            self.merged = {name: found for names in reversed([*self._search_order()]) for name, found in names.items()}
        return self.merged

    MacroNamespace.keys = lambda self: merged(self).keys()
    MacroNamespace.__getitem__ = lambda self, name: merged(self)[name]
