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

_ITEMS = {
    "call_history": pl.Struct(dict.fromkeys(("event", "date", "queue", "agent"), pl.String)),
    "csat_answers": pl.Struct({"question": pl.String, "score": pl.Float64, "scale": pl.Int64}),
    "call_tags": pl.String,
}
_RECORD = pl.Struct(
    {column.name: pl.String for column in VENDOR_COLUMNS if column.name not in ARRAYS}
    | {name: pl.List(_ITEMS[name]) for name in ARRAYS}
)
_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
_NUMBERS = ("waitduration", "duration", "hold", "holdduration", "transferred")


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
    calls = records.drop(ARRAYS).with_columns(
        pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False) for name in _DATES
    )
    calls = calls.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in _NUMBERS)
    with duckdb.connect(task.database) as connection:
        connection.register("frame", calls)
        connection.execute("CREATE TABLE calls AS FROM frame")
        for name in ARRAYS:
            rows = records.select("key", name).drop_nulls().explode(name, empty_as_null=False)
            if isinstance(_ITEMS[name], pl.Struct):
                rows = rows.unnest(name)
            connection.register("frame", rows)
            connection.execute(f"CREATE TABLE {name} AS FROM frame")


if __name__ == "__main__":
    main(task())
