"""Folders of runs: `<root>/<task>/<algorithm>/seed_<seed>`."""

import os
from pathlib import Path

from mher_pl.errors import UserError


def new_run_folder(root: Path, task: str, algorithm: str, seed: int) -> Path:
    """Return the folder of a new run: `seed_0`, or `seed_0-2` and so on beside earlier runs, which stay."""
    name, number = f"seed_{seed}", 1
    while (folder := root / task / algorithm / name).exists():
        number += 1
        name = f"seed_{seed}-{number}"
    return folder


def latest_run_folder(root: Path, task: str, algorithm: str, seed: int) -> Path:
    """Return the newest folder of the run that holds a checkpoint to continue from.

    Raises:
        UserError: there is none.
    """
    parent = root / task / algorithm
    found = [path.parent.parent for path in parent.glob(f"seed_{seed}*/checkpoints/last.ckpt")]
    found = [path for path in found if path.name.split("-")[0] == f"seed_{seed}"]
    if not found:
        raise UserError(
            f"ckpt_path is 'last', but there is no checkpoint in {parent / f'seed_{seed}'}; allowed: last after an "
            "interrupted run of the same task, algorithm, seed and trainer.default_root_dir, or a checkpoint file"
        )
    return max(found, key=lambda path: (len(path.name), path.name))


def require_writable(root: Path) -> Path:
    """Create the root folder of runs and return it.

    Raises:
        UserError: it cannot be created or written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise UserError(f"trainer.default_root_dir is {str(root)!r}; allowed: a folder that can be written")
    return root
