"""What a run does, step by step, without Dagster: fetch and store, load, check the balance, build, audit."""
