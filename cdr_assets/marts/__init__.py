"""Runs dbt: parses our project, builds and tests its models and the users' own, and finds the lineage of columns.

The models' SQL is in dbt_project/. How models become Dagster assets is in `orchestration`.
"""
