"""The project's files that are no Python: dbt_project/, dagster.yaml, workspace.yaml.

In a checkout they lie at its root; a wheel carries them in the package. Nothing is ever written beside them, since who
runs an installed package may not be allowed to: what is made of them lies in the data folder.
"""

from pathlib import Path

_IN_WHEEL = Path(__file__).resolve().parents[1] / "project"
_CHECKOUT = Path(__file__).resolve().parents[2]

PROJECT = _IN_WHEEL if _IN_WHEEL.is_dir() else _CHECKOUT
