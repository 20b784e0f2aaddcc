"""Everything that talks to Dagster: partitions, assets, checks, jobs, schedules, sensors, event log, starting runs.

The work itself does not belong here: fetching, loading and publishing are in `ingest`, the queries in `warehouse`.
"""
