"""The script that customers write: requests and pandas, hour after hour, page after page, appended to DuckDB."""

import duckdb
import pandas as pd
import requests

from benchmarks.contenders import Task, task

_ARRAYS = ("call_history", "csat_answers", "call_tags")
_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")


def main(task: Task) -> None:
    records = []
    with requests.Session() as session:
        for parameters in task.hours():
            cursor = ""
            while cursor is not None:
                page = session.get(task.base_url, params=parameters | {"cursor": cursor}).json()
                records += page["CallList"]
                cursor = page.get("cursor")
    calls = pd.DataFrame(records)
    for name in _DATES:
        calls[name] = pd.to_datetime(calls[name], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    with duckdb.connect(task.database) as connection:
        for name in _ARRAYS:
            rows = calls[["key", name]].explode(name).dropna(subset=[name]).reset_index(drop=True)
            if name != "call_tags":
                rows = pd.concat([rows[["key"]], pd.json_normalize(rows[name].tolist())], axis=1)
            connection.register("frame", rows)
            connection.execute(f"CREATE TABLE {name} AS FROM frame")
        connection.register("frame", calls.drop(columns=list(_ARRAYS)))
        connection.execute("CREATE TABLE calls AS FROM frame")


if __name__ == "__main__":
    main(task())
