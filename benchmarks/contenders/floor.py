"""The floor: how long a program needs on this machine that only loads the tables and does nothing else.

It fetches hours in parallel, parses pages with polars (which releases Python's lock) and makes one insert per table at
the end. It never retries, checks no value, keeps no raw pages and cannot continue after a crash.
"""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import msgspec
import polars as pl
import requests

from benchmarks.contenders import AT_ONCE, Task, task
from cdr_assets.domain.schema import ARRAYS, VENDOR_COLUMNS

# Tenants write a number as 12 or as "12", so both are read as texts and cast.
_ITEMS = {
    "call_history": dict.fromkeys(("event", "date", "queue", "agent", "duration", "detail"), pl.String),
    "csat_answers": dict.fromkeys(("survey", "question", "answer", "score", "scale", "date"), pl.String),
    "call_tags": {},
}
_RECORD = pl.Struct(
    {column.name: pl.String for column in VENDOR_COLUMNS if column.name not in ARRAYS}
    | {name: pl.List(pl.Struct(fields) if fields else pl.String) for name, fields in _ITEMS.items()}
)
_NUMBERS = ("waitduration", "duration", "hold", "holdduration", "transferred", "score", "scale")


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False) if name.endswith("date") else
        pl.col(name).cast(pl.Int64, strict=False)
        for name in frame.columns
        if name in _NUMBERS or name.endswith("date")
    )  # fmt: skip


def main(task: Task) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads, requests.Session() as session:
        session.trust_env = False

        def fetch(parameters: dict[str, str]) -> pl.DataFrame:
            frames = []
            cursor: str | None = ""
            while cursor is not None:
                body = session.get(task.base_url, params=parameters | {"cursor": cursor}).content
                # The cursor is the last member, so read it from the end and do not parse the page twice.
                cursor = msgspec.json.decode(b"{" + body[body.rindex(b'"cursor"') :])["cursor"]
                page = pl.read_json(body, schema={"CallList": pl.List(_RECORD), "cursor": pl.String})
                frames.append(page.select(pl.col("CallList").explode().struct.unnest()))
            return pl.concat(frames)

        records = pl.concat(threads.map(fetch, task.hours()))
    with duckdb.connect(task.database) as connection:
        connection.register("frame", typed(records.drop(ARRAYS)))
        connection.execute("CREATE TABLE calls AS FROM frame")
        for name, fields in _ITEMS.items():
            rows = records.select("key", name).drop_nulls().explode(name, empty_as_null=False)
            connection.register("frame", typed(rows.unnest(name)) if fields else rows)
            connection.execute(f"CREATE TABLE {name} AS FROM frame")


if __name__ == "__main__":
    main(task())
