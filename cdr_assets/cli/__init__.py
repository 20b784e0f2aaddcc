"""The `cdr` command: its arguments, what it prints, and the demo.

The work itself belongs in the other packages: `orchestration.runs`, `ingest`, `publishing`, `report` and `sandbox`.
"""
