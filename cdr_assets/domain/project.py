"""Where the project's files that are not Python lie: dbt_project/, dagster.yaml, workspace.yaml.

They lie at the root of a checkout, and inside the package in a wheel. Nothing may be written next to them, because the
user of an installed package may lack the right to. Files that are built from them go to the data folder (`settings`).
"""

from pathlib import Path

_IN_WHEEL = Path(__file__).resolve().parents[1] / "project"
_CHECKOUT = Path(__file__).resolve().parents[2]

PROJECT = _IN_WHEEL if _IN_WHEEL.is_dir() else _CHECKOUT
