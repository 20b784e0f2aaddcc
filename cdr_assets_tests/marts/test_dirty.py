"""A record can only harm itself: dirty calls through load, marts, publishing and report. More lives in the campaign."""

from dagster import DagsterInstance

from cdr_assets_tests.conftest import Pipeline
from cdr_assets_tests.marts.built import Marts
from cdr_assets_tests.orchestration.test_dirty_calls import check_figures_and_report


def test_a_record_can_only_harm_itself(dirty: Marts) -> None:
    with DagsterInstance.ephemeral() as instance:
        check_figures_and_report(Pipeline(dirty.settings, instance))
