"""Several processes: seeds side by side and data-parallel workers."""
