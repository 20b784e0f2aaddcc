"""The vendor's values, typed: JSON texts (`"12"` with its quotes, `12`, `true`, `[1]`, NULL for null) to columns.

Most values come in the usual spelling of their kind, and one cheap expression reads those of all columns at once. What it
leaves is read again, thoroughly, and for that a column costs only as many rows as it has unusual values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from cdr_assets.schema import POLARS, Kind
from cdr_assets.transforms.clock import USUAL_FORMAT, wall_clock

_TRUE = ("true", "1", "1.0", "yes", "t", "y", "on", "evet")
_FALSE = ("false", "0", "0.0", "no", "f", "n", "off", "hayır", "hayir")
_WORDS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}

_INTEGERS = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class Values:
    """Columns read. A value that is null, blank, nested or unreadable is NULL in `typed`.

    `instants` holds, of the date columns, the instants of those dates that came as an instant: row, name, instant.
    `kept` holds the originals that `typed` does not tell, because they could not be read, or were rounded: row, name,
    value.
    """

    typed: pl.DataFrame
    instants: pl.DataFrame
    kept: pl.DataFrame


def read(sent: pl.DataFrame, kinds: Mapping[str, Kind], time_zone: str) -> Values:
    """The columns named in `kinds`, each as its kind; times as the wall clock of `time_zone`. No content raises.

    Text is verbatim; a number or boolean sent for a text is its JSON text. Booleans may be words, English or Turkish, in
    any case. A whole number may come as a fraction, and is then rounded half up; true is 1 and false is 0.
    """
    typed = sent.select(_usual(pl.col(name), kind).alias(name) for name, kind in kinds.items())
    instants = [pl.DataFrame(schema={"row": pl.UInt32, "name": pl.String, "instant": pl.Datetime("us", "UTC")})]
    kept = [pl.DataFrame(schema={"row": pl.UInt32, "name": pl.String, "value": pl.String})]
    for name, kind in kinds.items():
        if typed[name].null_count() == sent[name].null_count():
            continue
        rows = (typed[name].is_null() & sent[name].is_not_null()).arg_true().alias("row")
        json = sent[name].gather(rows)
        text = _text(json)
        column, instant, is_exact = _thorough(text, kind, time_zone)
        typed = typed.with_columns(typed[name].scatter(rows, column))
        one = pl.DataFrame({"row": rows, "name": pl.repeat(name, len(rows), eager=True)})
        instants.append(one.with_columns(instant=instant).filter(instant.is_not_null()))
        kept.append(one.with_columns(value=json).filter(~is_exact & (text.is_not_null() | _is_nested(json))))
    return Values(typed, pl.concat(instants), pl.concat(kept))


def text(json: pl.Series) -> pl.Series:
    """JSON texts of scalars as text: see `read`."""
    return _text(json)
