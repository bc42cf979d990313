"""What lies on disk: folders of runs, checkpoints, settings and logs."""
