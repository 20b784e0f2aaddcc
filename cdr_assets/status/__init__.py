"""The state of the hours and of the installation: which hours are late or failed, and when the next runs are due.

This package reads the published copy, the warehouse and the settings. It imports no Dagster, so that it also answers
when Dagster does not run. Printing is in `cli`, the page of the report in `report`, messages about faults in `alerts`.
"""
