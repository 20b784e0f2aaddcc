"""Benchmarks: measure the pipeline's speed and memory and compare it with other tools.

The commands and the measured figures are in README.md. Tests of correctness are in cdr_assets_tests.
"""
