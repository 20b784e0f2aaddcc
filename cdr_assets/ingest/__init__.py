"""The steps of a run, without Dagster: fetch and store pages, load calls, check the balance, build and publish, audit.

Dagster's assets, checks and schedules, which call these steps, are in `orchestration`.
"""
