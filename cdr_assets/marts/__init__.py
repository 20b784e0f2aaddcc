"""Runs the dbt project: parses it once, builds and tests its models, reads which columns they are made of."""
