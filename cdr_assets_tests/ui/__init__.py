"""Tests of the Dagster UI and daemon as `cdr dev` starts them."""
