"""Reads the vendor's values (`Sent`) to typed columns.

Most values have the usual spelling of their kind, and one cheap expression reads them in all columns at once. The
thorough reading then takes only the rows that are left. Dates are read in `clock`; `plausibility` judges the results.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from cdr_assets.domain.schema import Kind
from cdr_assets.transforms.clock import is_held, usual_wall_clock, wall_clock

_TRUE = ("true", "1", "1.0", "yes", "t", "y", "on", "evet")
_FALSE = ("false", "0", "0.0", "no", "f", "n", "off", "hayır", "hayir")
_WORDS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}

# A text with only these characters counts as no value.
BLANKS = " \t\r\n\f\v"

# Texts that programs write for "no value". As values, they would make one agent or one contact of unrelated calls.
_NOTHING = [
    f"{before}{spelled}{after}"
    for word in ("none", "null", "undefined")
    for spelled in (word, word.capitalize(), word.upper())
    for before in ("", " ")
    for after in ("", " ")
]

# Fields of an object that may have a column each while its JSON text is built.
_FEW_NAMES = 20

_INSTANT = pl.Datetime("us", "UTC")
_INSTANTS = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "instant": _INSTANT})
#: The columns of `Values.kept`.
KEPT = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "value": pl.String(), "reason": pl.String()})

# Ambiguous texts such as "1.234" and "12,500": the mark may be a decimal point or separate thousands.
_DECIMAL_OR_THOUSANDS = r"^[+-]?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$"
_DECIMAL_COMMA = r"^([+-]?[0-9]*),([0-9]+)$"

# Decimal digits that are a number of this value in any column of numbers.
_USUAL_NUMBER = "^-?[0-9]{1,9}$"

_CLOCK = r'^"\s*(?<hours>[0-9]{1,3}):(?<minutes>[0-5][0-9]):(?<seconds>[0-5][0-9])(?:[.,](?<fraction>[0-9]+))?\s*"$'


# How a JSON text spells the characters that it must escape: as DuckDB does, because it spells the other values.
_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    ord(character): f"\\{letter}" for character, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}
_ESCAPED = r'["\\\x00-\x1f]'


@dataclass(frozen=True)
class Sent:
    """Values as the vendor sent them: a column for each field, a row for each object; NULL if absent or null.

    Either JSON texts (`"12"` with its quotes, `12`, `true`, `[1]`), or, if `is_plain`, texts without quotes, integers
    and booleans, where each column has one of these types; then a blank text is NULL too.
    """

    values: pl.DataFrame
    is_plain: bool

    def json(self, name: str, rows: pl.Series) -> pl.Series:
        """The JSON texts of a field in these rows."""
        values = self.values[name].gather(rows)
        return as_json(values) if self.is_plain else values

    def is_filled(self, name: str) -> pl.Series:
        """True if a value was sent, readable or not: it is neither null nor blank."""
        return self.values[name].is_not_null() if self.is_plain else is_filled(self.values[name])


def sent_values(values: pl.DataFrame, is_plain: bool) -> Sent:
    """The fields of records, without texts that mean "no value"."""
    texts = [name for name, dtype in values.schema.items() if dtype == pl.String]
    text = pl.col(texts)
    if is_plain:
        is_value = ~text.is_in(_NOTHING) & (text.str.strip_chars(BLANKS) != "")
    else:
        is_value = ~text.is_in([f'"{nothing}"' for nothing in _NOTHING])
    return Sent(values.with_columns(pl.when(is_value).then(text)) if texts else values, is_plain)


def unknown_entries(maps: pl.Series, known: Sequence[str]) -> pl.DataFrame:
    """The fields of some objects (maps of names to JSON texts) that are neither known nor null: row, name, value.

    If a name comes twice in an object, its first value counts.
    """
    return (
        maps.alias("fields")
        .to_frame()
        .select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), pl.col("fields").map.entries())
        .explode("fields", empty_as_null=False, keep_nulls=False)
        .unnest("fields")
        .rename({"key": "name"})
        .filter(pl.col("name").cast(pl.Enum(known), strict=False).is_null())
        .unique(["row", "name"], keep="first", maintain_order=True)
        .drop_nulls("value")
    )


def as_json(values: pl.Series) -> pl.Series:
    """The JSON texts of plain values."""
    if values.dtype != pl.String:
        # Polars writes booleans and integers as JSON does.
        return values.cast(pl.String)
    texts = values.alias("text").to_frame().select(pl.concat_str(pl.lit('"'), "text", pl.lit('"'))).to_series()
    rows = values.str.contains(_ESCAPED).fill_null(False).arg_true()
    if len(rows):
        texts = texts.scatter(rows, [f'"{text.translate(_ESCAPES)}"' for text in values.gather(rows)])
    return texts.alias(values.name)


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


def read_values(sent: Sent, places: Mapping[str, tuple[str, Kind]], time_zone: str) -> Values:
    """Reads a column for each place: its field of `sent` as its kind; times as the wall clock of `time_zone`.

    Texts stay as they are; a number or boolean in a text column becomes its JSON text. Booleans may be 1 and 0, or
    words in English or Turkish, in upper or lower case. In an integer column, fractions are rounded half up, true is 1,
    and false is 0. Numbers in texts may have a decimal comma; ambiguous ones ("1.234") count as unreadable. No content
    raises.
    """
    usual = _usual_plain if sent.is_plain else _usual
    typed = sent.values.select(
        usual(field, sent.values.schema[field], kind).alias(place) for place, (field, kind) in places.items()
    ).with_columns(
        pl.when(is_held(pl.col(place))).then(place).alias(place)
        for place, (_, kind) in places.items()
        if kind is Kind.LOCAL
    )
    instants = [_INSTANTS.to_frame()]
    kept = [KEPT.to_frame()]
    for place, (field, kind) in places.items():
        if typed[place].null_count() == sent.values[field].null_count():
            continue
        rows = (typed[place].is_null() & sent.values[field].is_not_null()).arg_true()
        values = sent.json(field, rows)
        value, instant, is_told = _thorough(values, kind, time_zone)
        typed = typed.with_columns(typed[place].scatter(rows, value))
        read = pl.DataFrame({"row": rows, "value": values, "instant": instant, "is_kept": is_filled(values) & ~is_told})
        unreadable = pl.when(value.is_null()).then(pl.lit("cannot be read"))
        read = read.with_columns(name=pl.lit(place), reason=unreadable)
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


def objects(rows: int, entries: pl.DataFrame) -> pl.Series:
    """The JSON text of an object for each of `rows` rows, from its entries (row, name, value); NULL without entries.

    The members are sorted by name.
    """
    texts = pl.Series([None], dtype=pl.String).new_from_index(0, rows)
    if not entries.height:
        return texts
    quoted = {name: f"{json.dumps(name, ensure_ascii=False)}:" for name in sorted(entries["name"].unique())}
    if len(quoted) > _FEW_NAMES:
        told = (
            entries.sort("row", "name")
            .select("row", member=pl.concat_str(pl.col("name").replace_strict(quoted, return_dtype=pl.String), "value"))
            .group_by("row", maintain_order=True)
            .agg("member")
            .select("row", object=_braced(pl.col("member").list.join(",")))
        )
        # No join here: on the way to DuckDB, each NULL from a join becomes a copy of the first joined text. One field
        # of 300 kB in one of 17,000 calls took 10 GB.
        return texts.scatter(told["row"], told["object"])
    # A column for each name takes a fifth of the time of sorting.
    members = []
    for name, before in quoted.items():
        of_name = entries.filter(pl.col("name") == name).select("row", member=pl.concat_str(pl.lit(before), "value"))
        members.append(texts.clone().scatter(of_name["row"], of_name["member"]).alias(name))
    is_there = pl.any_horizontal(pl.all().is_not_null())
    joined = pl.concat_str(pl.all(), separator=",", ignore_nulls=True)
    return pl.DataFrame(members).select(pl.when(is_there).then(_braced(joined))).to_series()


def _braced(members: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit("{"), members, pl.lit("}"))


def content_of(texts: list[pl.Expr], told: pl.Expr, others: list[pl.Expr]) -> pl.Expr:
    """A text of all that the columns of a row say: rows with different values give different texts.

    `told` is a JSON text, and `others` are numbers.
    """
    return pl.concat_str(
        # Only texts may contain the separator. With their lengths in front, different contents give different strings.
        pl.concat_str([text.str.len_bytes().fill_null(0) for text in texts], separator=","),
        # Stand-ins for NULL: no text or JSON is empty, no number is this high, and no instant is this late.
        *(text.fill_null("") for text in (*texts, told)),
        *(other.cast(pl.String).fill_null(str(10**18)) for other in others),
        separator="\x1f",
    )


def _is_nested(json: pl.Expr) -> pl.Expr:
    return json.str.starts_with("{") | json.str.starts_with("[")


def _usual(field: str, _: pl.DataType, kind: Kind) -> pl.Expr:
    """Reads JSON texts in the usual spelling of their kind; NULL for all others."""
    json = pl.col(field)
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
            return usual_wall_clock(unquoted)
        case _:
            raise ValueError(f"no value of the vendor's is read as {kind}")


def _usual_plain(field: str, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    """Reads plain values in the usual spelling of their kind; NULL for all others."""
    value = pl.col(field)
    text = value if dtype == pl.String else value.cast(pl.String)
    match kind:
        case Kind.TEXT:
            return text
        case Kind.BOOLEAN:
            words = text.str.strip_chars().str.to_lowercase()
            return value if dtype == pl.Boolean else words.replace_strict(_WORDS, default=None, return_dtype=pl.Boolean)
        case Kind.INTEGER | Kind.NUMBER:
            number = pl.Int32() if kind is Kind.INTEGER else pl.Float64()
            return (value if dtype == pl.Int64 else pl.when(text.str.contains(_USUAL_NUMBER)).then(text)).cast(
                number, strict=False
            )
        case Kind.LOCAL:
            return usual_wall_clock(text)
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
