"""What a training run writes, and where."""

from __future__ import annotations

import atexit
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from mher_pl.errors import EnvironmentFailed, UserError
from mher_pl.run.start import Start
from mher_pl.storage.folder import RunFolders, last_written, remove_empty, sole_writer


@dataclass(frozen=True)
class Output:
    """A run's folder, with what this start made of it."""

    folder: Path
    writes: bool  # of data-parallel workers the first one logs and saves for all, the others only read
    made: list[Path]  # the folder and those around it, where they are new
    written: int | None = None  # when the last checkpoint was, as the start found it

    @classmethod
    def claim(cls, folders: RunFolders, start: Start, writes: bool) -> Output:
        """Take the folder that the run goes on in, or a new one."""
        if start.folder is not None:
            return cls(start.folder, writes, made=[], written=start.written)
        if not writes:
            return cls(folders.folder(folders.newest() + 1), writes, made=[])
        around = [path for path in (folders.parent, *folders.parent.parents) if not os.path.exists(path)]
        folder = folders.claim()
        made = [folder, *around]
        atexit.register(remove_empty, made)  # where `load` built what was never trained
        return cls(folder, writes, made)

    def trainer_arguments(self, config: Mapping[str, Any], start: Start) -> dict[str, Any]:
        """Return the arguments of a trainer that writes here."""
        if not self.writes:
            return {"logger": False}
        arguments: dict[str, Any] = {"default_root_dir": str(self.folder)}
        given = None if config["logger"] is True else config["logger"]  # Lightning's default, which is this here
        loggers = as_list(given)
        beside = given is None or isinstance(given, list)  # one alone is in its place
        if beside and not any(isinstance(logger, TensorBoardLogger) for logger in loggers):
            # What an interrupted run logged after the checkpoint is hidden.
            purge_step = None if start.folder is None else start.env_steps + 1
            tensorboard = TensorBoardLogger(
                self.folder, name="", version="", default_hp_metric=False, purge_step=purge_step
            )
            arguments["logger"] = [tensorboard, *loggers]
        return arguments

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from writing here, and keep the traceback of an environment that fails.

        Raises:
            UserError: another process trains the run, or it was trained since the start read its last checkpoint.
        """
        if not self.writes:
            try:
                yield
            except EnvironmentFailed:
                traceback.print_exc()  # another process has the folder
                raise
            return
        with sole_writer(self.folder):
            if last_written(self.folder) != self.written:  # table and events would go on from the old one
                raise UserError(
                    f"ckpt_path names the run in {self.folder}, which was trained since this start read it; allowed: "
                    "a new start, with --ckpt_path last or mher_pl.load(..., ckpt_path='last')"
                )
            try:
                yield
            except EnvironmentFailed as error:
                path = self.folder / "environment_error.txt"
                with suppress(OSError):  # of a disk that is full
                    path.write_text("".join(traceback.format_exception(error)))
                    error.advice = f"; the traceback is in {path}, and --ckpt_path last goes on"
                raise

    def remove(self) -> None:
        """Remove what this start made, the folder with all that is in it unless another process trains there."""
        if self.made:
            with suppress(UserError, OSError), sole_writer(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)
                remove_empty(self.made)


def as_list(value: Any) -> list[Any]:
    """Return what the trainer takes as nothing, one thing or a list of things as a list."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]
