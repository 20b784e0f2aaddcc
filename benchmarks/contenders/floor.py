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

_ITEMS: dict[str, dict[str, type[pl.String]]] = {
    "call_history": dict.fromkeys(("event", "date", "queue", "agent", "duration", "detail"), pl.String),
    "csat_answers": dict.fromkeys(("survey", "question", "answer", "score", "scale", "date"), pl.String),
    "call_tags": {},
}
# Tenants write a number as 12 or as "12". Both can be read as texts.
_RECORD = pl.Struct(
    {column.name: pl.String for column in VENDOR_COLUMNS if column.name not in ARRAYS}
    | {name: pl.List(pl.Struct(fields) if fields else pl.String) for name, fields in _ITEMS.items()}
)
_DATES = ("queuedate", "calldate", "talkdate", "hangupdate", "date")
_NUMBERS = ("waitduration", "duration", "hold", "holdduration", "transferred", "score", "scale")


def fetch(session: requests.Session, task: Task, parameters: dict[str, str]) -> pl.DataFrame:
    """The records of one hour."""
    frames = []
    cursor: str | None = ""
    while cursor is not None:
        body = session.get(task.base_url, params=parameters | {"cursor": cursor}).content
        # The cursor is the last member, so read it from the end and do not parse the page twice.
        cursor = msgspec.json.decode(b"{" + body[body.rindex(b'"cursor"') :])["cursor"]
        page = pl.read_json(body, schema={"CallList": pl.List(_RECORD), "cursor": pl.String})
        frames.append(page.select(pl.col("CallList").explode().struct.unnest()))
    return pl.concat(frames)


def tables(records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The four tables of these records."""
    frames = {"calls": records.drop(ARRAYS)}
    for name, fields in _ITEMS.items():
        rows = records.select("key", name).drop_nulls().explode(name, empty_as_null=False)
        frames[name] = rows.unnest(name) if fields else rows
    return {name: _typed(frame) for name, frame in frames.items()}


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    dates = [name for name in _DATES if name in frame.columns]
    numbers = [name for name in _NUMBERS if name in frame.columns]
    return frame.with_columns(
        pl.col(dates).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False), pl.col(numbers).cast(pl.Int64, strict=False)
    )


def main(task: Task) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads, requests.Session() as session:
        session.trust_env = False
        records = pl.concat(threads.map(lambda parameters: fetch(session, task, parameters), task.hours()))
    with duckdb.connect(task.database) as connection:
        for name, frame in tables(records).items():
            connection.register("frame", frame)
            connection.execute(f"CREATE TABLE {name} AS FROM frame")


if __name__ == "__main__":
    main(task())
