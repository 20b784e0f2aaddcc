"""The published copy that analysts read: writing it, the secret key of its pseudonyms, and the pipeline's own queries.

When it is published is decided in `ingest/building.py`; the tables it copies are made in `warehouse` and by dbt.
"""
