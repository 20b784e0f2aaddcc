"""What state the hours and the installation are in now: which hours are late or failed, and what runs next.

It reads the published copy, the settings and a few files, and imports no Dagster, so that it also answers when Dagster
does not run. Sending messages about faults is another room's work; how the facts are printed is in `cli`, how they are
drawn in `report`.
"""
