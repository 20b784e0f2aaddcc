"""The checks that stand over the tables: row counts, keys and columns (blocking), freshness. The marts' are dbt's."""

from cdr_assets.orchestration.checks.audit import build_audit_check
from cdr_assets.orchestration.checks.freshness import build_freshness_checks
from cdr_assets.orchestration.checks.row_counts import build_row_count_checks

__all__ = ["build_audit_check", "build_freshness_checks", "build_row_count_checks"]
