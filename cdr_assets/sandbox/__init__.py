"""A local AloTech that speaks the whole `reportsCDRLogs` API, for the demo, for development and for tests.

    with Sandbox(RecordsFile("calls.jsonl.gz"), token="sandbox-token") as sandbox:
        ...  # sandbox.base_url

It imports nothing from the pipeline. Of the pipeline, only the command line may import it; tests and benchmarks do too.
The real vendor's client is in `cdr_assets.alotech`.
"""

from cdr_assets.sandbox.api import PAGE_SIZE, ChainEnd
from cdr_assets.sandbox.calls import Source
from cdr_assets.sandbox.centre import GeneratedCentre
from cdr_assets.sandbox.faults import FAULTS, Fault, fault_of
from cdr_assets.sandbox.server import ReceivedRequest, Sandbox
from cdr_assets.sandbox.sources import ListedCalls, RecordsFile

__all__ = [
    "FAULTS",
    "PAGE_SIZE",
    "ChainEnd",
    "Fault",
    "GeneratedCentre",
    "ListedCalls",
    "ReceivedRequest",
    "RecordsFile",
    "Sandbox",
    "Source",
    "fault_of",
]
