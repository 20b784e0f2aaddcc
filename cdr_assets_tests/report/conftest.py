"""Imports the marts of `cdr_assets_tests.marts` as fixtures, for reports to read."""

from cdr_assets_tests.marts.conftest import *  # noqa: F403
