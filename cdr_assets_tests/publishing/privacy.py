"""How tests publish: a key that is long enough, and the classes of the columns that they publish."""

from collections.abc import Mapping

from cdr_assets.domain.schema import Class
from cdr_assets.domain.settings import Callers
from cdr_assets.publishing.shown import CLASSES, Classes, Privacy

KEY = "a key of the tests, long enough to be one"

# A mart that tests make by hand, without dbt.
_MARTS = {
    "marts.fct_calls": {
        "partition_hour": Class.DATE,
        "call_key": Class.IDENTIFIER,
        "callerid": Class.NUMBER,
        "queue_name": Class.NAME,
    }
}


def privacy(callers: Callers = Callers.PSEUDONYM, classes: Mapping[str, Mapping[str, Class]] = _MARTS) -> Privacy:
    """`classes` are those of the marts; the tables of `raw` and `cdr` have theirs."""
    every: Classes = {**CLASSES, **classes}
    return Privacy(callers, KEY, every)
