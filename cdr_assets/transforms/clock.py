"""Reads the vendor's dates, and finds the instant of each wall-clock time. Other values are read in `values`.

The vendor's dates have no time zone: they are the tenant's wall clock. In two hours a year, this is not enough.

**The repeated hour** (the clocks go back): a time in it may be two instants. The earlier one counts, unless
  (a) the vendor sent an offset or an epoch, which gives the exact instant; or
  (b) the call itself proves the later one: its times never run backwards (calldate <= queuedate <= talkdate <=
      hangupdate), and hangupdate - calldate = duration, within a second of rounding. If several choices give the
      duration, the first of these counts: both early, calldate early and hangupdate late, both late.

**The skipped hour** (the clocks go forward): a time in it never existed. It is read as if the clock had not gone
forward yet, as `zoneinfo` does: 02:30 is the instant of 03:30 summer time.

Instants outside the years 1 to 9999 are NULL, because Python cannot represent them.
"""

import datetime as dt
from typing import Literal

import polars as pl

from cdr_assets.domain.schema import CALL_DATES

_USUAL = "%Y-%m-%d %H:%M:%S"

# Year first, or day first with dots; then optionally a time, with optional seconds, fraction and offset. Dates with
# slashes and the year last are not read, because either the day or the month may come first.
_SPELLING = (
    r"^(?:(?<year>[0-9]{4})[-/.](?<month>[0-9]{1,2})[-/.](?<day>[0-9]{1,2})"
    r"|(?<day_first>[0-9]{1,2})\.(?<month_second>[0-9]{1,2})\.(?<year_last>[0-9]{4}))"
    r"(?:(?:[Tt]|\s+)(?<hour>[0-9]{1,2}):(?<minute>[0-9]{1,2})"
    r"(?::(?<second>[0-9]{1,2})(?:[.,](?<fraction>[0-9]+))?)?"
    r"\s*(?:(?<utc>[Zz])|(?<sign>[+-])(?<offset_hours>[01][0-9]|2[0-3])(?::?(?<offset_minutes>[0-5][0-9]))?)?)?$"
)

# Ten digits are seconds, thirteen are milliseconds. In both, the digits after the tenth are a fraction of a second.
_EPOCH = r"^(?<seconds>[0-9]{10})(?<milliseconds>[0-9]{3})?(?:\.(?<fraction>[0-9]+))?$"


def usual_wall_clock(texts: pl.Expr) -> pl.Expr:
    """Reads dates in the vendor's usual spelling; naive, NULL for all other spellings."""
    return texts.str.to_datetime(_USUAL, time_unit="us", strict=False)


def wall_clock(texts: pl.Series, time_zone: str) -> tuple[pl.Series, pl.Series]:
    """Reads dates in any spelling; returns their wall clock in `time_zone`, and their instants.

    The wall clock is naive, and NULL if the text cannot be read. The instant (UTC) is NULL unless the text has an
    offset, a Z, or is an epoch in seconds or milliseconds.
    """

    def two_digits(expression: pl.Expr) -> pl.Expr:
        return expression.fill_null("0").str.zfill(2)

    def microseconds(digits: pl.Expr) -> pl.Expr:
        padded = digits.fill_null("").str.slice(0, 6).str.pad_end(6, "0")
        return pl.duration(microseconds=padded.cast(pl.Int64))

    date = pl.col("date").struct
    year, month, day = (
        pl.coalesce(date.field(first), date.field(second))
        for first, second in (("year", "year_last"), ("month", "month_second"), ("day", "day_first"))
    )
    usual = pl.concat_str(
        pl.concat_str(year, two_digits(month), two_digits(day), separator="-"),
        pl.concat_str(*(two_digits(date.field(part)) for part in ("hour", "minute", "second")), separator=":"),
        separator=" ",
    )
    offset = pl.duration(
        hours=date.field("offset_hours").cast(pl.Int64).fill_null(0),
        minutes=date.field("offset_minutes").cast(pl.Int64).fill_null(0),
    )
    sent = usual.str.to_datetime(_USUAL, time_unit="us", strict=False) + microseconds(date.field("fraction"))
    epoch = pl.col("epoch").struct
    since_epoch = pl.from_epoch(epoch.field("seconds").cast(pl.Int64)).cast(pl.Datetime("us")) + microseconds(
        pl.concat_str(epoch.field("milliseconds").fill_null(""), epoch.field("fraction").fill_null(""))
    )
    is_exact = date.field("utc").is_not_null() | date.field("sign").is_not_null()
    ahead = pl.when(date.field("sign") == "-").then(-offset).otherwise(offset)
    read = (
        texts.alias("text")
        .to_frame()
        .select(date=pl.col("text").str.extract_groups(_SPELLING), epoch=pl.col("text").str.extract_groups(_EPOCH))
        .select(sent=sent, instant=pl.coalesce(since_epoch, pl.when(is_exact).then(sent - ahead)))
        .with_columns(pl.col("instant").dt.replace_time_zone("UTC"))
        .with_columns(
            local=pl.coalesce(pl.col("instant").dt.convert_time_zone(time_zone).dt.replace_time_zone(None), "sent")
        )
        .select(
            pl.when(is_held(pl.col("local")) & is_held(pl.col("instant"), dt.UTC).fill_null(True))
            .then(pl.struct("local", "instant"))
            .alias("read")
        )
        .unnest("read")
    )
    return read["local"], read["instant"]


def instants(calls: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """The instants of the four dates by the rules above, in columns like `calldate_utc`.

    `calls` has the four dates, `duration`, and for each date a column like `calldate_exact`: the instant if one was
    sent.
    """
    columns = [f"{date}_utc" for date in CALL_DATES]
    known = calls.select(
        pl.coalesce(f"{date}_exact", _localized(pl.col(date), time_zone, "null")).alias(f"{date}_utc")
        for date in CALL_DATES
    )
    if any(known[f"{date}_utc"].null_count() > calls[date].null_count() for date in CALL_DATES):
        unsettled = pl.any_horizontal(known[f"{date}_utc"].is_null() & calls[date].is_not_null() for date in CALL_DATES)
        rows = known.select(unsettled.arg_true()).to_series()
        settled = _settled(calls[rows], time_zone)
        known = known.with_columns(known[column].scatter(rows, settled[column]) for column in columns)
    return known.select(pl.when(is_held(pl.col(column), dt.UTC)).then(column).alias(column) for column in columns)


def _settled(calls: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """The instants of calls with a time in a repeated or skipped hour."""
    day = pl.duration(days=1)

    def choice(date: str, which: Literal["earliest", "latest"]) -> pl.Expr:
        # A day before, the clock still had the offset from before the change.
        skipped = _localized(pl.col(date) - day, time_zone, "earliest") + day
        return pl.coalesce(f"{date}_exact", _localized(pl.col(date), time_zone, which), skipped)

    choices = calls.select(
        "duration",
        *(choice(date, "earliest").alias(f"{date}_early") for date in CALL_DATES),
        *(choice(date, "latest").alias(f"{date}_late") for date in CALL_DATES),
    )

    def gives_duration(start: str, finish: str) -> pl.Expr:
        length = (pl.col(finish) - pl.col(start)).dt.total_microseconds()
        return (length - pl.col("duration").cast(pl.Int64) * 1_000_000).abs() <= 1_000_000

    def not_before(date: str, *earlier: str) -> pl.Expr:
        before = pl.max_horizontal(earlier)
        early, late = pl.col(f"{date}_early"), pl.col(f"{date}_late")
        return pl.when((early < before) & (late >= before)).then(late).otherwise(early)

    early_early = gives_duration("calldate_early", "hangupdate_early")
    early_late = gives_duration("calldate_early", "hangupdate_late")
    late_late = gives_duration("calldate_late", "hangupdate_late")
    return (
        choices.with_columns(
            calldate_utc=pl.when(~early_early & ~early_late & late_late)
            .then("calldate_late")
            .otherwise("calldate_early")
        )
        .with_columns(queuedate_utc=not_before("queuedate", "calldate_utc"))
        .with_columns(talkdate_utc=not_before("talkdate", "calldate_utc", "queuedate_utc"))
        .with_columns(
            hangupdate_utc=pl.when(early_early)
            .then("hangupdate_early")
            .when(early_late | late_late)
            .then("hangupdate_late")
            .otherwise(not_before("hangupdate", "calldate_utc", "queuedate_utc", "talkdate_utc"))
        )
    )


def hour_of_partition(date: pl.Expr, time_zone: str) -> pl.Expr:
    """The local hour of a wall-clock time's partition. Times in a skipped hour belong to the hour before it."""
    hour = date.dt.truncate("1h")
    is_skipped = _localized(hour, time_zone, "earliest").is_null()
    return pl.when(is_skipped).then(hour - pl.duration(hours=1)).otherwise(hour)


def _localized(date: pl.Expr, time_zone: str, ambiguous: Literal["earliest", "latest", "null"]) -> pl.Expr:
    local = date.dt.replace_time_zone(time_zone, ambiguous=ambiguous, non_existent="null")
    return local.dt.convert_time_zone("UTC")


def is_held(time: pl.Expr, zone: dt.tzinfo | None = None) -> pl.Expr:
    """True if Python can represent the time; `zone` is the time zone of the column."""
    return time.is_between(dt.datetime.min.replace(tzinfo=zone), dt.datetime.max.replace(tzinfo=zone))
