"""The assets, one module per step of a run. A module calls `ingest` and reports the result to Dagster.

How pages are fetched, calls loaded and marts built is in `ingest`; the checks are in `orchestration.checks`.
"""
