"""The assets, a module each: which steps of `ingest` they call, and what they report to Dagster."""
