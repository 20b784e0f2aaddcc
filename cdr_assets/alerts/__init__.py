"""Alerts: what counts as a fault, which messages are due, how they are written and sent. It imports no Dagster.

`faults` finds the faults that are there now, `memory` remembers what was told and says which messages are due,
`message` writes them, `sending` sends them, and `telling` does all of it for one tick. What Dagster knows of runs is
read in `orchestration/alerting.py`, whose sensors call this room; the state of each hour is in `status`.
"""
