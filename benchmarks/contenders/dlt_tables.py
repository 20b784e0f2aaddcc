"""dlt: its REST source as in its documentation or, with a fifth argument `tuned`, with the best settings we found.

As it comes (from the documentation): one resource, a cursor in the body, and dlt unpacks nested arrays to child tables.

Tuned: dlt fetches the hours in parallel (`parallelized`), each in a thread of its pool. The files between its stages
are parquet, which DuckDB loads without parsing text again. Normalizing runs in one process per core, over files small
enough to give every process work. The columns are declared, so dlt infers no types; a hint stops it from looking for
deeper nested tables; telemetry and the progress log are off.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import AT_ONCE, Task, task

_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
_TUNED = {
    "EXTRACT__WORKERS": f"{AT_ONCE}",
    "EXTRACT__MAX_PARALLEL_ITEMS": f"{2 * AT_ONCE}",
    "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "EXTRACT__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__WORKERS": f"{os.cpu_count()}",
    "NORMALIZE__START_METHOD": "fork",
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "LOAD__WORKERS": "4",
    "SCHEMA__MAX_TABLE_NESTING": "1",
}


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
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

    client = RESTClient(
        task.base_url, paginator=JSONResponseCursorPaginator("cursor", "cursor"), data_selector="CallList"
    )

    @dlt.resource(name="hours")
    def hours() -> Iterator[dict[str, str]]:
        yield from task.hours()

    @dlt.transformer(
        data_from=hours,
        name="calls",
        parallelized=True,
        columns={name: {"data_type": "timestamp", "timezone": False} for name in _DATES},
    )
    def calls(parameters: dict[str, str]) -> Iterator[list[Any]]:
        # Yield a whole hour at once: dlt's cost is per yielded item, not per page.
        yield [record for page in client.paginate("", params=parameters) for record in page]

    return calls


def main(task: Task, is_tuned: bool) -> None:
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"} | (_TUNED if is_tuned else {})
    import dlt

    pipeline = dlt.pipeline(
        "alotech",
        destination=dlt.destinations.duckdb(task.database),
        dataset_name="records",
        pipelines_dir=f"{task.database}.pipelines",
    )
    if is_tuned:
        pipeline.run(tuned(task), loader_file_format="parquet")
    else:
        pipeline.run(as_it_comes(task))


if __name__ == "__main__":
    main(task(), "tuned" in sys.argv[5:])
