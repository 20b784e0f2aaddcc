"""Dagster, and nothing else: partitions, assets, checks, jobs, schedules, sensors, event log, runs from a terminal."""
