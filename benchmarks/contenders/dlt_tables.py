"""dlt: its REST source as in its documentation or, with a fifth argument `tuned` or `arrow`, faster.

As it comes (from the documentation): one resource, a cursor in the body, and dlt unpacks nested arrays to child tables.

Tuned: dlt fetches the hours in parallel (`parallelized`), each in a thread of its pool, and orjson decodes them. The
files between extract and normalize are not compressed, and small enough to give work to one process per core. The files
between normalize and load are parquet, which DuckDB loads without parsing text again. Dates and numbers are declared; a
hint stops dlt from looking for deeper nested tables; telemetry and the progress log are off.

Arrow: the threads parse pages and make the four tables with the floor's code, and dlt only loads them. It is the
fastest way of its documentation, but the types, the nested arrays and unexpected fields are then the user's work.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import AT_ONCE, Task, task

_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
_NUMBERS = ("waitduration", "duration", "hold", "holdduration", "transferred")
_SETTINGS = {
    "EXTRACT__WORKERS": f"{AT_ONCE}",
    "EXTRACT__MAX_PARALLEL_ITEMS": f"{2 * AT_ONCE}",
    # The section `sources` is that of the files between extract and normalize.
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "10000",
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__WORKERS": f"{os.cpu_count()}",
    "NORMALIZE__START_METHOD": "fork",
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "LOAD__WORKERS": "4",
}
# Without the limits on items, because an item is then a row of an Arrow table.
_ARROW_SETTINGS = {name: value for name, value in _SETTINGS.items() if not name.endswith("_MAX_ITEMS")}


def as_it_comes(task: Task) -> Any:
    from dlt.sources.rest_api import rest_api_source

    return rest_api_source(
        {
            "client": {
                "base_url": task.base_url,
                "paginator": {"type": "cursor", "cursor_path": "cursor", "cursor_param": "cursor"},
            },
            "resources": [
                {
                    "name": "calls",
                    "primary_key": "key",
                    "endpoint": {
                        "path": "",
                        "params": task.parameters(task.start, task.finish),
                        "data_selector": "CallList",
                    },
                }
            ],
        }
    )


def tuned(task: Task) -> Any:
    import dlt
    import orjson
    import requests

    @dlt.resource(name="hours")
    def hours() -> Iterator[dict[str, str]]:
        yield from task.hours()

    session = requests.Session()
    session.trust_env = False

    @dlt.transformer(
        data_from=hours,
        name="calls",
        parallelized=True,
        max_table_nesting=1,
        columns={name: {"data_type": "timestamp", "timezone": False} for name in _DATES}
        | {name: {"data_type": "bigint"} for name in _NUMBERS},
    )
    def calls(parameters: dict[str, str]) -> Iterator[list[Any]]:
        # Yield a whole hour at once: dlt's cost is per yielded item, not per page.
        records = []
        cursor: str | None = ""
        while cursor is not None:
            # dlt's own client decodes with the json module, which takes twice as long.
            page = orjson.loads(session.get(task.base_url, params=parameters | {"cursor": cursor}).content)
            records += page["CallList"]
            cursor = page["cursor"]
        yield records

    return calls


def with_arrow(task: Task) -> Any:
    import dlt
    import requests

    from benchmarks.contenders.floor import fetch, tables

    @dlt.resource(name="hours")
    def hours() -> Iterator[dict[str, str]]:
        yield from task.hours()

    session = requests.Session()
    session.trust_env = False

    @dlt.transformer(data_from=hours, name="calls", parallelized=True)
    def calls(parameters: dict[str, str]) -> Iterator[Any]:
        for name, frame in tables(fetch(session, task, parameters)).items():
            yield dlt.mark.with_table_name(frame.to_arrow(), name if name == "calls" else f"calls__{name}")

    return calls


def main(task: Task, way: str) -> None:
    settings = {"": {}, "tuned": _SETTINGS, "arrow": _ARROW_SETTINGS}[way]
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"} | settings
    import dlt

    pipeline = dlt.pipeline(
        "alotech",
        destination=dlt.destinations.duckdb(task.database),
        dataset_name="records",
        pipelines_dir=f"{task.database}.pipelines",
    )
    if way:
        pipeline.run(tuned(task) if way == "tuned" else with_arrow(task), loader_file_format="parquet")
    else:
        pipeline.run(as_it_comes(task))


if __name__ == "__main__":
    main(task(), "".join(sys.argv[5:]))
