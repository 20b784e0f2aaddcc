"""Reads the vendor's values: JSON texts (`"12"` with its quotes, `12`, `true`, `[1]`; NULL for null) to typed columns.

Most values have the usual spelling of their kind, and one cheap expression reads them in all columns at once. The
thorough reading then takes only the rows that are left. Dates are read in `clock`; `plausibility` judges the results.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from cdr_assets.domain.schema import Kind
from cdr_assets.transforms.clock import is_held, usual_wall_clock, wall_clock

_TRUE = ("true", "1", "1.0", "yes", "t", "y", "on", "evet")
_FALSE = ("false", "0", "0.0", "no", "f", "n", "off", "hayır", "hayir")
_WORDS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}

# A text with only these characters counts as no value.
BLANKS = " \t\r\n\f\v"

_INSTANT = pl.Datetime("us", "UTC")
_INSTANTS = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "instant": _INSTANT})
#: The columns of `Values.kept`.
KEPT = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "value": pl.String(), "reason": pl.String()})

# Ambiguous texts such as "1.234" and "12,500": the mark may be a decimal point or separate thousands.
_DECIMAL_OR_THOUSANDS = r"^[+-]?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$"
_DECIMAL_COMMA = r"^([+-]?[0-9]*),([0-9]+)$"

_CLOCK = r'^"\s*(?<hours>[0-9]{1,3}):(?<minutes>[0-5][0-9]):(?<seconds>[0-5][0-9])(?:[.,](?<fraction>[0-9]+))?\s*"$'


@dataclass(frozen=True)
class Values:
    """The columns that were read. In `typed`, a value that is null, blank, nested or unreadable is NULL.

    `instants`: instants of the dates that were sent with an offset or as an epoch (row, name, instant in UTC). `kept`:
    originals that `typed` does not show in full (row, name, value, reason). `reason` says that a value could not be
    read; it is NULL if the value was rounded.
    """

    typed: pl.DataFrame
    instants: pl.DataFrame
    kept: pl.DataFrame


def read_values(sent: pl.DataFrame, kinds: Mapping[str, Kind], time_zone: str) -> Values:
    """Reads the columns of `sent` that `kinds` names, each as its kind; times as the wall clock of `time_zone`.

    Texts stay as they are; a number or boolean in a text column becomes its JSON text. Booleans may be 1 and 0, or
    words in English or Turkish, in upper or lower case. In an integer column, fractions are rounded half up, true is 1,
    and false is 0. Numbers in texts may have a decimal comma; ambiguous ones ("1.234") count as unreadable. No content
    raises.
    """
    typed = sent.select(_usual(pl.col(name), kind).alias(name) for name, kind in kinds.items()).with_columns(
        pl.when(is_held(pl.col(name))).then(name).alias(name) for name, kind in kinds.items() if kind is Kind.LOCAL
    )
    instants = [_INSTANTS.to_frame()]
    kept = [KEPT.to_frame()]
    for name, kind in kinds.items():
        if typed[name].null_count() == sent[name].null_count():
            continue
        rows = (typed[name].is_null() & sent[name].is_not_null()).arg_true()
        json = sent[name].gather(rows)
        value, instant, is_told = _thorough(json, kind, time_zone)
        typed = typed.with_columns(typed[name].scatter(rows, value))
        read = pl.DataFrame({"row": rows, "value": json, "instant": instant, "is_kept": is_filled(json) & ~is_told})
        unreadable = pl.when(value.is_null()).then(pl.lit("cannot be read"))
        read = read.with_columns(name=pl.lit(name), reason=unreadable)
        instants.append(read.filter(pl.col("instant").is_not_null()).select(_INSTANTS.names()))
        kept.append(read.filter("is_kept").select(KEPT.names()))
    return Values(typed, pl.concat(instants), pl.concat(kept))


def clock_as_seconds(json: pl.Series) -> pl.Series:
    """The durations, with the seconds as a JSON number in place of a clock such as `"00:02:30"`."""
    if not json.str.contains(":", literal=True).any():
        return json
    clock = pl.col("json").str.extract_groups(_CLOCK).struct
    hours, minutes, seconds = (clock.field(part).cast(pl.Int64) for part in ("hours", "minutes", "seconds"))
    whole = (hours * 3600 + minutes * 60 + seconds).cast(pl.String)
    told = pl.concat_str(whole, pl.concat_str(pl.lit("."), clock.field("fraction")).fill_null(""))
    return json.alias("json").to_frame().select(pl.coalesce(told, "json").alias(json.name)).to_series()


def scalar_text(json: pl.Series) -> pl.Series:
    """The text of each scalar, unchanged; NULL for blank texts, objects and arrays."""
    sent = pl.col("json")
    decoded = pl.when(sent.str.starts_with('"')).then(sent).str.json_decode(pl.String)
    text = pl.coalesce(decoded, pl.when(~_is_nested(sent)).then(sent))
    return json.alias("json").to_frame().select(pl.when(text.str.strip_chars(BLANKS) != "").then(text)).to_series()


def is_filled(json: pl.Series) -> pl.Series:
    """True if a value was sent, readable or not: it is neither null nor blank."""
    is_nested = json.alias("json").to_frame().select(_is_nested(pl.col("json")).fill_null(False)).to_series()
    return is_nested | scalar_text(json).is_not_null()


def _is_nested(json: pl.Expr) -> pl.Expr:
    return json.str.starts_with("{") | json.str.starts_with("[")


def _usual(json: pl.Expr, kind: Kind) -> pl.Expr:
    """Reads values in the usual spelling of their kind; NULL for all others."""
    # A JSON string without a backslash has no quotes except the two around it.
    unquoted = json.str.strip_chars('"')
    match kind:
        case Kind.TEXT:
            may_be_blank = unquoted.str.strip_chars(BLANKS) == ""
            is_unusual = json.str.contains("\\", literal=True) | _is_nested(json) | may_be_blank
            return pl.when(~is_unusual).then(unquoted)
        case Kind.BOOLEAN:
            return pl.when(json == "true").then(True).when(json == "false").then(False)
        case Kind.INTEGER:
            return json.cast(pl.Int32, strict=False)
        case Kind.NUMBER:
            number = json.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case Kind.LOCAL:
            return usual_wall_clock(json)
        case _:
            raise ValueError(f"no value of the vendor's is read as {kind}")


def _thorough(json: pl.Series, kind: Kind, time_zone: str) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Reads values in any spelling: the value, its instant if one was sent, and whether nothing of it was lost."""
    text = scalar_text(json)
    trimmed = text.str.strip_chars()
    word = trimmed.str.to_lowercase()
    instant = pl.Series([None], dtype=_INSTANT).new_from_index(0, len(json))
    match kind:
        case Kind.TEXT:
            value = text
        case Kind.BOOLEAN:
            value = word.replace_strict(_WORDS, default=None, return_dtype=pl.Boolean)
        case Kind.INTEGER:
            number = _number(word.replace({"true": "1", "false": "0"}), json)
            # Negative numbers are rounded down: -0.4 becomes -1, which is set aside later, and not a plausible 0.
            rounded = number.floor() + ((number - number.floor() >= 0.5) & (number > 0)).cast(pl.Float64)
            value = rounded.cast(pl.Int32, strict=False)
            return value, instant, value.is_not_null() & (rounded == number)
        case Kind.NUMBER:
            number = _number(trimmed, json)
            value = number.set(~number.is_finite(), None)
        case Kind.LOCAL:
            value, instant = wall_clock(trimmed, time_zone)
        case _:
            raise ValueError(f"no value of the vendor's is read as {kind}")
    return value, instant, value.is_not_null()


def _number(text: pl.Series, json: pl.Series) -> pl.Series:
    """Reads numbers. The text `"1.234"` may mean 1.234 or 1234 and gives NULL; the JSON number 1.234 is clear."""
    is_doubtful = (json.str.starts_with('"') & text.str.contains(_DECIMAL_OR_THOUSANDS)).fill_null(False)
    return text.str.replace(_DECIMAL_COMMA, "${1}.${2}").cast(pl.Float64, strict=False).set(is_doubtful, None)
