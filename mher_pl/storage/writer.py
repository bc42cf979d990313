"""Lightning's way to the checkpoint files, with a thread that writes them beside training."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.fabric.plugins import CheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from mher_pl.storage.checkpoint import read_checkpoint, write_checkpoint


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
        copy = apply_to_collection(checkpoint, Tensor, torch.clone)  # training goes on with its own
        self.do(write_checkpoint, copy, path)

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
        return read_checkpoint(path)


def writer_of(trainer: Trainer) -> PlainCheckpointIO:
    """Return the writer of a trainer that the command line built, for which Lightning has no type."""
    return cast(PlainCheckpointIO, trainer.strategy.checkpoint_io)


def _call_all(tasks: list[Callable[[], None]]) -> None:
    for task in tasks:
        task()
