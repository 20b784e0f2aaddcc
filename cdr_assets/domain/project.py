"""Where the project's files that are not Python lie: dbt_project/, dagster.yaml, workspace.yaml.

They lie at the root of a checkout. A wheel installs them next to the package, as cdr_assets_project: inside it, the
editable install of a checkout would leave a second cdr_assets in site-packages. Nothing may be written next to them,
because the user of an installed package may lack the right to. Files that are built from them go to the data folder.
"""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = _ROOT / "cdr_assets_project"

PROJECT = _INSTALLED if _INSTALLED.is_dir() else _ROOT
