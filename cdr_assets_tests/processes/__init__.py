"""Several processes on one warehouse: overlapping runs, readers during runs, killed runs, full disks."""
