"""A script as customers write it: requests and pandas fetch hour by hour and page by page and append to DuckDB."""

import duckdb
import pandas as pd
import requests

from benchmarks.contenders import Task, task

_ARRAYS = ("call_history", "csat_answers", "call_tags")
_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")


def main(task: Task) -> None:
    with requests.Session() as session, duckdb.connect(task.database) as connection:
        for parameters in task.hours():
            records = []
            cursor = ""
            while cursor is not None:
                page = session.get(task.base_url, params=parameters | {"cursor": cursor}).json()
                records += page["CallList"]
                cursor = page.get("cursor")
            if records:
                append(connection, records)


def append(connection: duckdb.DuckDBPyConnection, records: list[dict[str, object]]) -> None:
    calls = pd.DataFrame(records).drop(columns=list(_ARRAYS))
    for name in _DATES:
        calls[name] = pd.to_datetime(calls[name], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    frames = {"calls": calls}
    for name in _ARRAYS:
        frames[name] = pd.json_normalize(records, record_path=name, meta="key")
    for name, frame in frames.items():
        if len(frame):
            # Otherwise a column that is empty in the first hour gets a type that the next hour's values do not fit.
            text = frame.astype(dict.fromkeys(frame.select_dtypes("object").columns, "string"))
            connection.register("frame", text)
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM frame LIMIT 0")
            connection.execute(f"INSERT INTO {name} BY NAME FROM frame")


if __name__ == "__main__":
    main(task())
