"""Checkpoint files: plain data, written beside training, so that a crash never costs the previous one."""

import os
import pickle
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor
from torch._utils import _unflatten_dense_tensors

from mher_pl.errors import UserError


class PlainCheckpointIO(CheckpointIO):
    """Writes copies of checkpoints, within `beside_training` in a thread of its own; reads nothing but plain data."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future | None = None
        self._tasks: list[Callable[[], None]] | None = None  # of the block that is asking for them

    @contextmanager
    def beside_training(self) -> Iterator[None]:
        """Do what is asked for in the block while the caller goes on behind it.

        It is done in its order, nothing more once something has failed, and not before that of an earlier block.

        Raises:
            UserError: a file of an earlier block could not be written.
        """
        self.wait()
        self._tasks = []
        try:
            yield
            self._thread = self._thread or ThreadPoolExecutor(1, "checkpoint")
            self._running = self._thread.submit(_call_all, self._tasks)
        finally:
            self._tasks = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a copy of a checkpoint.

        Raises:
            UserError: not beside training, the file cannot be written.
        """
        copy = _copy(checkpoint)
        self.do(lambda: write_checkpoint(copy(), path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint if it is there."""
        self.do(Path(path).unlink, missing_ok=True)

    def do(self, function: Callable, *args: Any, **kwargs: Any) -> None:
        """Call a function on the files, after all that was asked for before."""
        if self._tasks is not None:
            self._tasks.append(partial(function, *args, **kwargs))
        else:
            self.wait()
            function(*args, **kwargs)

    def wait(self) -> None:
        """Return once everything asked for is done.

        Raises:
            UserError: a file could not be written.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def teardown(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def load_checkpoint(self, path: str | Path, map_location: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint to the CPU; whatever the caller says, nothing but plain data is loaded."""
        self.wait()
        return read_checkpoint(path, mmap=True)


def _call_all(tasks: list[Callable[[], None]]) -> None:
    for task in tasks:
        task()


class _Joined:
    """Tensors of one kind that get a storage in common, and in a copied structure the place of each of them."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    @torch.no_grad()
    def copy(self) -> None:
        """Copy the numbers."""
        self._numbers = torch.cat([tensor.flatten() for tensor in self.tensors])

    def parts(self) -> Iterator[Tensor]:
        """Return the copies in order."""
        return iter(_unflatten_dense_tensors(self._numbers, self.tensors))


def _copy(data: Any) -> Callable[[], Any]:
    """Copy plain data, so that training can go on with its own, and return what puts the copy together.

    Numbers of one kind share a storage in the copy: a file of few pieces takes less of the processor's time to write.
    After a resume the optimisers' moments are parts of such a storage, which written as they are would bring it along.
    Integers have their own, for `set_state` takes a generator's state from the beginning of its storage.
    """
    joined: dict[tuple, _Joined] = defaultdict(_Joined)

    def take(tensor: Tensor) -> Tensor | _Joined:
        if not tensor.is_floating_point():
            return tensor.clone()
        own = joined[tensor.dtype, tensor.device]
        own.tensors.append(tensor)
        return own

    structure = _map_values(data, Tensor, take)
    for own in joined.values():
        own.copy()

    def put_together() -> Any:
        parts = {own: own.parts() for own in joined.values()}
        return _map_values(structure, _Joined, lambda own: next(parts[own]))

    return put_together


def _map_values(data: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Return plain data with `function` of each value of a kind in the value's place.

    Lightning's `apply_to_collection` takes thrice as long, and every epoch's training would wait for it.
    """
    if isinstance(data, dict):
        return {key: _map_values(value, kind, function) for key, value in data.items()}
    if isinstance(data, kind):
        return function(data)
    if isinstance(data, list | tuple):
        return type(data)(_map_values(value, kind, function) for value in data)
    return data


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


def require_same_networks(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise `UserError` naming the first parameter that the saved and the model's own networks do not share."""
    for name in sorted(saved.keys() | own.keys()):
        shapes = [list(state[name].shape) if name in state else "none" for state in (saved, own)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"ckpt_path names a checkpoint of another model: its {name} has shape {shapes[0]}; allowed: "
                f"{shapes[1]}, that is, the same model section in the config as when it was written"
            )


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
