"""Peak memory from a page to the published copy is a small multiple of the page's size, whatever the page contains.

Each measurement has its own process, because the system reports only the peak of a whole process.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from cdr_assets.transforms import compress
from cdr_assets.transforms.bodies import texts

SCRIPT = """
    import random, resource, sys
    from pathlib import Path
    from zoneinfo import ZoneInfo
    from cdr_assets.ingest.loading import load_of_hours
    from cdr_assets_tests.publishing.privacy import privacy
    from cdr_assets.transforms import read_pages
    from cdr_assets.publishing.copy import publish
    from cdr_assets.warehouse import Warehouse, load_hours
    from cdr_assets_tests.transforms.test_read_pages import ZONE, call, pages

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def text(length):
        return random.Random(1).randbytes(length // 2).hex()

    def page_of(fields):
        return pages([call(key=str(n)) for n in range(50)] + [call(key="it", **fields)])

    def go(page, folder):
        read = read_pages(page, ZONE)
        page = page.with_columns(filters=None, requests=1)
        ready = load_of_hours(page, read, [], ZoneInfo(ZONE))
        del read, page
        with Warehouse(folder / "cdr.duckdb").connect("test") as connection:
            load_hours(connection, ready, "run")
        del ready
        with Warehouse(folder / "cdr.duckdb").connect("test") as connection:
            publish(connection, folder / "published.duckdb", privacy())

    # What is loaded at the first use of all is no page's.
    go(page_of({"made_up": text(10), "call_tags": [{"made_up": 1}]}), Path(sys.argv[2]) / "first")
    page = page_of(eval(sys.argv[1]))
    # The page took more to make than it is long: from here on the most is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    go(page, Path(sys.argv[2]) / "then")
    print(page["body_size"][0], peak() - before)
"""

# Return freed memory to the system at once, so that it does not count.
AT_ONCE = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}


def took(fields: str, folder: Path) -> tuple[int, int]:
    """The size in bytes of a page with a call of these fields, and the peak memory from page to published copy."""
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), fields, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | AT_ONCE,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    size, peak = process.stdout.splitlines()[-1].split()
    return int(size), int(peak)


# Items need the most, because their texts are in two columns.
_IN_ITEMS = ['{"call_history": [{"event": text(%d)}]}', '{"call_tags": [text(%d)]}']
_IN_CALLS = ['{"made_up": text(%d)}', '{"queue": text(%d)}']


# For the shorter texts, any page needs a third of this.
@pytest.mark.parametrize(
    ("fields", "length", "most"),
    [
        *((fields, 12_000_000, 11) for fields in _IN_ITEMS),
        *(
            pytest.param(fields, length, most, marks=pytest.mark.campaign)
            for fields, length, most in (
                *((fields, 12_000_000, 11) for fields in _IN_CALLS),
                *((fields, 60_000_000, 10) for fields in (*_IN_CALLS, *_IN_ITEMS)),
            )
        ),
    ],
)
def test_a_text_as_long_as_a_page(fields: str, length: int, most: int, tmp_path: Path) -> None:
    size, peak = took(fields % length, tmp_path)
    assert size > length
    assert peak < most * size


def test_names_without_end(tmp_path: Path) -> None:
    size, peak = took('{f"made_up_{n:05}": n for n in range(20_000)}', tmp_path)
    assert size > 300_000
    assert peak < 150_000_000


def test_the_bodies_of_pages_are_freed() -> None:
    bodies = [b"%d" % n * 100_000 for n in range(10)]
    pages = pl.DataFrame({"body": [compress(body) for body in bodies], "body_size": [len(body) for body in bodies]})
    before = pa.total_allocated_bytes()
    for _ in range(10):
        assert texts(pages, {}).to_list() == [body.decode() for body in bodies]
    # They stayed in memory for as long as the process: 600 MB for a week of heavy calls.
    assert pa.total_allocated_bytes() < before + sum(map(len, bodies))
