"""Decides which values can be true. A value that cannot is set aside: its column is NULL, and `extra` keeps it.

These rules live only here, because everything that reads `cdr.calls` (open calls, stale hours, marts) trusts its
columns. How values are spelled is `values` and `clock`; how figures treat unknown values is decided in the marts.

The other dates of a call are compared with its call date, which the page's window bounds. A talk date before the call
date may come from a slow clock: it stays, and `stg_calls` computes no talk time from it.
"""

import datetime as dt
from collections.abc import Mapping

import polars as pl

from cdr_assets.domain.schema import DURATIONS

# Upper bound of a call's waits, holds and whole length (one day). It also bounds the counts of holds and transfers.
_MOST_SECONDS = 86_400
_BOUNDED = (*DURATIONS, "hold", "transferred")
_DAY = pl.duration(days=1)

# An earlier calldate (0001, 1900, 1970) is a program's default value.
_EARLIEST = dt.datetime(1990, 1, 1)

# The highest score, and the highest scale, that a survey may have.
_HIGHEST_SCORE = 1000

ASIDE = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "reason": pl.String()})


def plausible(typed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records without durations, counts, queue dates and talk dates that cannot be true; and what was set aside.

    `typed` has the vendor's columns, and for each date the instant that was sent (columns like `queuedate_exact`). The
    second frame has row, name and reason. `plausible_ends` judges hang-ups later, when the instants are known.
    """
    far_off = {
        name: pl.when((pl.col(name) - pl.col("calldate")).abs() > _DAY).then(
            pl.lit("more than a day away from calldate")
        )
        for name in ("queuedate", "talkdate")
    }
    out_of_bounds = {
        name: pl.when(~pl.col(name).is_between(0, _MOST_SECONDS)).then(pl.lit(f"not from 0 to {_MOST_SECONDS}"))
        for name in _BOUNDED
    }
    return _without(typed, far_off | out_of_bounds)


def plausible_ends(typed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records without hang-ups that cannot be true, and what was set aside: row, name, reason.

    `typed` has calldate, hangupdate, calldate_utc, hangupdate_utc and fetched_at. A hang-up more than a day after the
    fetch is a placeholder for a call that has not ended.
    """
    ended, started = pl.col("hangupdate_utc"), pl.col("calldate_utc")
    # A wall-clock time in the year 1 or 9999 may have no instant.
    has_no_instant = ended.is_null()
    is_before = pl.when(has_no_instant).then(pl.col("hangupdate") < pl.col("calldate")).otherwise(ended < started)
    is_after = has_no_instant | (ended > pl.col("fetched_at") + _DAY)
    reason = (
        pl.when(is_before)
        .then(pl.lit("before calldate"))
        .when(is_after & pl.col("hangupdate").is_not_null())
        .then(pl.lit("more than a day after it was fetched"))
    )
    return _without(typed, {"hangupdate": reason})


def set_aside_in(calls: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Stored calls (cdr.calls) without values that cannot be true, and what was set aside: row, name, reason."""
    calls, aside = plausible(calls)
    calls, aside_ends = plausible_ends(calls)
    return calls, pl.concat([aside, aside_ends])


def is_no_call_date() -> pl.Expr:
    """True if the record's calldate cannot be true; then the record belongs to no hour, whatever its window."""
    # One day for the time zone, and one more as for hang-ups.
    latest = pl.col("fetched_at").dt.replace_time_zone(None) + 2 * _DAY
    return ((pl.col("calldate") < _EARLIEST) | (pl.col("calldate") > latest)).fill_null(False)


def plausible_items(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a child table without dates, scores and scales that cannot be true; `item` keeps the original.

    `rows` also has calldate and fetched_at of the call. An event or answer comes after the call started and before it
    was fetched, with some tolerance for clocks and time zones.
    """
    scale = pl.when(pl.col("scale").is_between(1, _HIGHEST_SCORE)).then("scale")
    latest = pl.col("fetched_at").dt.replace_time_zone(None) + 2 * _DAY
    can_be_true = {
        "date": pl.col("date").is_between(pl.col("calldate") - _DAY, latest),
        "scale": scale.is_not_null(),
        "score": pl.col("score").is_between(0, scale.fill_null(_HIGHEST_SCORE)),
    }
    return rows.with_columns(
        pl.when(is_true).then(name).alias(name) for name, is_true in can_be_true.items() if name in rows.columns
    )


def _without(typed: pl.DataFrame, reasons: Mapping[str, pl.Expr]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records with NULL for each value that has a reason (also in the columns of its instant), and the reasons."""
    found = typed.select(reason.alias(name) for name, reason in reasons.items())
    aside = [ASIDE.to_frame()]
    for name in reasons:
        if found[name].null_count() < found.height:
            rows = found[name].is_not_null().arg_true()
            aside.append(pl.DataFrame({"row": rows, "name": name, "reason": found[name].gather(rows)}, schema=ASIDE))
            columns = [column for column in (name, f"{name}_exact", f"{name}_utc") if column in typed.columns]
            typed = typed.with_columns(typed[column].scatter(rows, None) for column in columns)
    return typed, pl.concat(aside)
