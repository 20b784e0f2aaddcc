"""Facts that every package may import: tables, settings, errors, hours, and how late a call may change.

Nothing here imports another package of cdr_assets. The API's own rules are in `alotech`, Dagster's in `orchestration`.
"""
