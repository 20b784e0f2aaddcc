"""The asset checks of the tables: row counts, keys and columns (these block), warnings, freshness and the audit.

The queries behind them are in `ingest.balance` and `ingest.audit`. The checks of the marts are dbt tests, see
`orchestration.assets.marts`.
"""

from cdr_assets.orchestration.checks.equals_api import build_audit_check
from cdr_assets.orchestration.checks.freshness import build_freshness_checks
from cdr_assets.orchestration.checks.row_counts import build_row_count_checks

__all__ = ["build_audit_check", "build_freshness_checks", "build_row_count_checks"]
