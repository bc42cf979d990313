"""Running a config: command line and Python."""
