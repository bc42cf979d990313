"""Checkpoint files: plain data, written so that a crash never costs the previous one."""

import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from mher_pl.errors import UserError


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write the whole file under a temporary name, force it to the disk, and put it in the place of the old one.

    Lightning's own writer stages the file in the system's temporary folder, from where the move to another file system
    is a copy that a kill can cut short.

    Raises:
        UserError: the file cannot be written; the old one is untouched.
    """
    path = Path(path)
    staged = _staged(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, staged)
        _flush(staged)
        os.replace(staged, path)
        _flush(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise UserError(
            f"the checkpoint {path} could not be written ({_first_line(error)}); allowed: a folder that can be "
            "written, with room for one checkpoint more"
        ) from error
    finally:
        staged.unlink(missing_ok=True)


def link_file(path: str | Path, copy: str | Path) -> None:
    """Give the file `path` a second name `copy`, in one step and, where hard links exist, without writing it again."""
    path, copy = Path(path), Path(copy)
    staged = _staged(copy)
    staged.unlink(missing_ok=True)
    try:
        os.link(path, staged)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, staged)
        _flush(staged)
    os.replace(staged, copy)
    staged.unlink(missing_ok=True)  # renaming onto another name of the same file leaves both names


def read_checkpoint(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint of mher_pl to the CPU, restricted to tensors and plain Python values.

    Args:
        path: the file.
        mmap: map the tensors from the file, so that only those that are used are read.

    Raises:
        UserError: there is no such file, it is damaged, it holds code, or it is not one of mher_pl's.
    """
    if not Path(path).is_file():
        raise UserError(f"ckpt_path is {str(path)!r}, which is no file; allowed: a checkpoint, or a run's folder")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        content = f"refers to {found[1]}" if found else "is no plain data"
        raise UserError(
            f"ckpt_path is {str(path)!r}, which {content} and was not loaded; allowed: checkpoints of mher_pl, which "
            "hold tensors and plain values only"
        ) from error
    except Exception as error:  # a damaged file fails in whatever part of the reader meets the damage
        raise UserError(
            f"ckpt_path is {str(path)!r}, which is damaged or no checkpoint ({_first_line(error)}); allowed: a "
            "checkpoint of mher_pl"
        ) from error
    if not isinstance(checkpoint, dict) or not {"agent", "state_dict", "loops"} <= checkpoint.keys():
        raise UserError(f"ckpt_path is {str(path)!r}, which mher_pl did not write; allowed: a checkpoint of mher_pl")
    return checkpoint


def _staged(path: Path) -> Path:
    """Name the file that is to become `path`; always the same, so that what a kill left behind is overwritten."""
    return path.with_name(f".{path.name}.part")


def _flush(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
