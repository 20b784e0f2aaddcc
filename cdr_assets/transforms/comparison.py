"""Compares stored calls with what the API lists now, key by key and field by field.

The audit (`ingest/audit.py`) fetches both sides and judges the differences. Loads compare by hash in
`warehouse/hours.py`.
"""

from collections.abc import Mapping

import polars as pl

from cdr_assets.domain.schema import CALLS, CHILDREN, VOLATILE_FIELDS
from cdr_assets.transforms.pages import Tables

_FINDINGS = pl.Enum(["late change", "missing", "unknown"])
#: The columns of the frame that `differences` returns.
DIFFERENCES = pl.Schema(
    {
        "partition_hour": pl.Datetime("us"),
        "key": pl.String(),
        "finding": _FINDINGS,
        "fields": pl.List(pl.String()),
    }
)

# Set by the load, volatile, or derived from fields that are compared themselves.
_NOT_COMPARED = ("key", "fetched_at", "vanished_at", "content_hash", *VOLATILE_FIELDS)


def differences(stored: Mapping[str, pl.DataFrame], listed: Tables) -> pl.DataFrame:
    """The calls that differ: partition_hour, key, finding, fields; one row per key, sorted by partition_hour and key.

    `listed` is what the API lists now. `stored` has the stored tables by name, `calls` (with vanished calls) and its
    children: the rows of the listed hours, and the rows of the listed keys in any hour. Findings: `missing` (listed but
    not stored), `unknown` (stored but not listed) and `late change` (stored with different content). `fields` names the
    columns and arrays that differ; it has `vanished_at` if a call is stored as vanished but listed. If two hours list a
    key, the call belongs to the later hour.
    """
    calls = listed.calls.sort("partition_hour", maintain_order=True).unique("key", keep="last", maintain_order=True)
    both = calls.join(stored["calls"], on="key", how="inner", suffix=" stored", nulls_equal=False)
    compared = [column for column in CALLS.polars_schema if column not in _NOT_COMPARED]
    differs = {column: pl.col(column).ne_missing(pl.col(f"{column} stored")) for column in compared}
    # `extra` may hold a recordingurl that could not be read as text. It is volatile, and the hash leaves it out. So
    # `extra` counts as different only if the hash is.
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
    """Keys for which one of the tables has a row that the other does not have."""
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
