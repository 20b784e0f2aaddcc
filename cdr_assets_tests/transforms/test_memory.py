"""What reading a page takes at its most: a small multiple of the page, whatever is in it.

In a process of its own, since the most that a process has ever had is all that the system tells of it.
"""

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import resource, sys
    from cdr_assets.transforms import read_pages, unknown_fields
    from cdr_assets_tests.transforms.test_read_pages import ZONE, call, pages

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # What is loaded at the first use of all is no page's.
    unknown_fields(read_pages(pages([call(made_up=1, call_tags=[{"made_up": 1}])]), ZONE))
    page = pages([call(**eval(sys.argv[1]))])
    before = peak()
    unknown_fields(read_pages(page, ZONE))
    print(page["body_size"][0], peak() - before)
"""

# Memory that was let go counts as gone, and not when it suits the allocator.
AT_ONCE = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}


def took(fields: str) -> tuple[int, int]:
    """Bytes of a page with a call of these fields, and of the memory for reading it and telling what is new in it."""
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), fields],
        capture_output=True,
        text=True,
        env=os.environ | AT_ONCE,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    size, peak = process.stdout.split()
    return int(size), int(peak)


@pytest.mark.parametrize("fields", ['{"made_up": "x" * 12_000_000}', '{"agent": "x" * 12_000_000}'])
def test_a_text_as_long_as_a_page(fields: str) -> None:
    size, peak = took(fields)
    assert size > 12_000_000
    assert peak < 18 * size


def test_names_without_end() -> None:
    size, peak = took('{f"made_up_{n:05}": n for n in range(20_000)}')
    assert size > 300_000
    assert peak < 150_000_000
