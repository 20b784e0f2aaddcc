"""Several processes on one warehouse: runs that overlap, readers beside them, runs that are killed or have no room."""
