"""Sweeps over tasks, methods and seeds, and reports of their runs."""
