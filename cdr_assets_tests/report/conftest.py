"""The marts of the tests of `marts`, which the report is drawn from."""

from cdr_assets_tests.marts.conftest import *  # noqa: F403
