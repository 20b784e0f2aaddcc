"""What can be true of a call, decided once, at load: a value that cannot is set aside and is NULL in its column.

Here and nowhere else, since all that reads `cdr.calls` (open calls, stale hours, marts) takes its columns for true. How
a value is spelled is `values` and `clock`; what becomes of an unknown value in a figure is the marts'.

The call date is what its page's window bounds, and the other dates are judged by it. A talk date before the call date
may be a clock that runs behind: it stays, and gives no talk time (`stg_calls`).
"""

import datetime as dt
from collections.abc import Mapping

import polars as pl

from cdr_assets.domain.schema import DURATIONS

# Of a call's waits, holds and whole length. A count of holds or transfers is no larger: one a second.
_MOST_SECONDS = 86_400
_BOUNDED = (*DURATIONS, "hold", "transferred")
_DAY = pl.duration(days=1)

# A date before this one (0001, 1900, 1970) is a default, and no call date.
_EARLIEST = dt.datetime(1990, 1, 1)

#: What a survey may ask for at the most.
_HIGHEST_SCORE = 1000

ASIDE = pl.Schema({"row": pl.UInt32(), "name": pl.String(), "reason": pl.String()})


def plausible(typed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records with only those durations, counts, queue and talk dates that can be true; and what was set aside.

    `typed` has the vendor's columns, and of each date the instant that was sent (`queuedate_exact` and so on). The
    second frame has row, name and reason. Hang-ups are judged by `plausible_ends`, once the instants are known.
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
    """Records with only those hang-ups that can be true, and what was set aside, as `plausible`.

    `typed` has calldate_utc, hangupdate_utc and fetched_at. A hang-up that lies more than a day after the fetch is a
    placeholder of a call that has not ended.
    """
    ended, started = pl.col("hangupdate_utc"), pl.col("calldate_utc")
    # A wall clock in the year 1 or 9999 may have no instant.
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
    """Stored calls (`cdr.calls`) without the values that cannot be true, and what was set aside: row, name, reason."""
    calls, aside = plausible(calls)
    calls, aside_ends = plausible_ends(calls)
    return calls, pl.concat([aside, aside_ends])


def is_no_call_date() -> pl.Expr:
    """Whether the call date of a record cannot be true: no hour is its own, whatever window it came in."""
    # A day for every zone, and one more as for hang-ups.
    latest = pl.col("fetched_at").dt.replace_time_zone(None) + 2 * _DAY
    return ((pl.col("calldate") < _EARLIEST) | (pl.col("calldate") > latest)).fill_null(False)


def plausible_items(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a child table with only those dates, scores and scales that can be true; `item` keeps what was sent.

    `rows` has calldate and fetched_at of their call. An event or an answer comes after its call began, give or take a
    day, and was not fetched before it happened.
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
    """The records without the values for which there is a reason, in their columns and in those of their instants."""
    found = typed.select(reason.alias(name) for name, reason in reasons.items())
    aside = [ASIDE.to_frame()]
    for name in reasons:
        if found[name].null_count() < found.height:
            rows = found[name].is_not_null().arg_true()
            aside.append(pl.DataFrame({"row": rows, "name": name, "reason": found[name].gather(rows)}, schema=ASIDE))
            columns = [column for column in (name, f"{name}_exact", f"{name}_utc") if column in typed.columns]
            typed = typed.with_columns(typed[column].scatter(rows, None) for column in columns)
    return typed, pl.concat(aside)
