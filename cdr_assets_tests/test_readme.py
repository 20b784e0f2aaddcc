"""The queries in README.md run on a published copy."""

import re

from cdr_assets.domain.project import PROJECT
from cdr_assets.sandbox import ListedCalls
from cdr_assets_tests.conftest import HOUR, Pipeline, record


def test_the_queries_of_the_readme_run(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    assert pipeline.run(HOUR).success
    queries = re.findall(r"```sql\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(queries) == 5
    for query in queries:
        assert pipeline.ask_published(query), query
