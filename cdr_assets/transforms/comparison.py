"""What is stored of some calls against what the API lists now: key by key and field by field."""

from collections.abc import Mapping

import polars as pl

from cdr_assets.domain.schema import CALLS, CHILDREN, VOLATILE_FIELDS
from cdr_assets.transforms.pages import Tables

_FINDINGS = pl.Enum(["late change", "missing", "unknown"])
#: The columns of what `differences` finds.
DIFFERENCES = pl.Schema(
    {
        "partition_hour": pl.Datetime("us"),
        "key": pl.String(),
        "finding": _FINDINGS,
        "fields": pl.List(pl.String()),
    }
)

# Of a load, or told by the fields that they are made of.
_NOT_COMPARED = ("key", "fetched_at", "vanished_at", "content_hash", *VOLATILE_FIELDS)


def differences(stored: Mapping[str, pl.DataFrame], listed: Tables) -> pl.DataFrame:
    """The calls that differ: partition_hour, key, finding, fields; one row per key, in order.

    `stored` has the tables `calls` (with the vanished ones) and its children by name: of the hours of `listed`, and of
    its keys wherever they are. Findings: `missing` (listed, and not stored), `unknown` (stored, and not listed) and
    `late change` (stored otherwise). `fields` names the columns and arrays that differ, and `vanished_at`
    where a call is stored as vanished and is listed. A key that two hours list is the later one's call.
    """
    calls = listed.calls.sort("partition_hour", maintain_order=True).unique("key", keep="last", maintain_order=True)
    both = calls.join(stored["calls"], on="key", how="inner", suffix=" stored", nulls_equal=False)
    compared = [column for column in CALLS.polars_schema if column not in _NOT_COMPARED]
    differs = {column: pl.col(column).ne_missing(pl.col(f"{column} stored")) for column in compared}
    # A signed link that could not be read as text is kept in extra too, and is no change: the hash knows.
    record = pl.col("content_hash").str.split(".").list.first()
    differs["extra"] &= record != pl.col("content_hash stored").str.split(".").list.first()
    differs["vanished_at"] = pl.col("vanished_at").is_not_null()
    fields = both.select(
        "partition_hour",
        "key",
        fields=pl.concat_list(
            pl.when(is_other).then(pl.lit(name)) for name, is_other in differs.items()
        ).list.drop_nulls(),
    )
    for name in CHILDREN:
        items = getattr(listed, name).join(calls, on=["key", "partition_hour"], how="semi")
        other = _keys_with_other_rows(items, stored[name])
        fields = fields.with_columns(
            pl.when(pl.col("key").is_in(other.implode()))
            .then(pl.concat_list("fields", pl.lit(name)))
            .otherwise("fields")
            .alias("fields")
        )
    present = stored["calls"].filter(pl.col("vanished_at").is_null())
    return pl.concat(
        [
            _found("late change", fields.filter(pl.col("fields").list.len() > 0)),
            _found("missing", calls.join(stored["calls"], on="key", how="anti")),
            _found("unknown", present.join(calls, on="key", how="anti")),
        ]
    ).sort("partition_hour", "key")


def _keys_with_other_rows(one: pl.DataFrame, other: pl.DataFrame) -> pl.Series:
    """Keys of which the one table has a row that the other has not."""
    columns = [column for column in one.columns if column != "partition_hour"]
    one, other = one.select(columns), other.select(columns)
    apart = [
        first.join(second, on=columns, how="anti", nulls_equal=True)["key"]
        for first, second in ((one, other), (other, one))
    ]
    return pl.concat(apart).unique()


def _found(finding: str, calls: pl.DataFrame) -> pl.DataFrame:
    if "fields" not in calls.columns:
        calls = calls.with_columns(fields=pl.lit([], dtype=pl.List(pl.String())))
    return calls.with_columns(finding=pl.lit(finding)).select(DIFFERENCES.names()).cast(DIFFERENCES)
