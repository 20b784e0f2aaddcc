"""The message about records that could not become a call: how many, why and where, but none of their content.

The records are rejected in `calls`.
"""

import polars as pl


def rejected_told(records: pl.DataFrame) -> str:
    """One line about `records`, which are rows of cdr.rejected_records, at least one."""
    reasons = records.group_by("reason").len().sort("len", "reason", descending=[True, False])
    hours = records["partition_hour"].unique().sort()
    span = f"{hours[0]:%Y-%m-%d %H:%M}" + (f" to {hours[-1]:%Y-%m-%d %H:%M}" if len(hours) > 1 else "")
    hour, page, position = records.select("partition_hour", "page_number", "position").sort(pl.all()).row(0)
    return (
        f"{records.height} record{'s' if records.height > 1 else ''} could not become a call "
        f"({', '.join(f'{reason}: {count}' for reason, count in reasons.iter_rows())}) in {len(hours)} "
        f"hour{'s' if len(hours) > 1 else ''}, {span}; the first is of {hour:%Y-%m-%d %H:%M}, page {page}, position "
        f"{position}; cdr.rejected_records holds them: report them to AloTech"
    )
