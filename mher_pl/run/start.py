"""Where a training run begins: the folder that it writes into, and the checkpoint that it goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mher_pl.errors import UserError
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import RunFolders, changed_settings, checkpoint_file, last_written
from mher_pl.storage.metrics import ENDED, read_metrics

OVER = ("warmup.",)  # settings of what a checkpoint has behind it


@dataclass(frozen=True)
class Start:
    """An earlier run's folder, if this start goes on in it, and the checkpoint, if there is one."""

    folder: Path | None = None
    checkpoint: Path | None = None
    asked: bool = False  # whether it was asked for one
    written: int | None = None  # when the last checkpoint in `folder` was, as `last_written` has it
    epochs: int = 0  # in the checkpoint
    env_steps: int = -1  # in the checkpoint, -1 without one
    ended: bool = False  # whether the run has ended by itself, be it before `trainer.max_epochs`
    weights_alone: bool = False  # whether the checkpoint can be evaluated, and not trained from

    @property
    def resumed(self) -> bool:
        """Whether a run goes on from its own last checkpoint."""
        return self.folder is not None and self.checkpoint is not None

    def is_whole(self, max_epochs: int | None) -> bool:
        """Whether the checkpoint has all epochs, so that nothing is left to train."""
        return self.checkpoint is not None and max_epochs == self.epochs

    def changes(self, settings: dict[str, object]) -> list[str]:
        """Say which of `settings` are other ones than those of the checkpoint's run, and come into force with it.

        Raises:
            UserError: one of them can no longer come into force.
        """
        if self.checkpoint is None:
            return []
        changed = changed_settings(self.checkpoint.resolve().parent.parent, settings)
        for key, (value, before) in changed.items():
            if key.startswith(OVER):
                raise UserError(f"{key} is {value}; allowed: {before}, for in {self.checkpoint} the warm-up is over")
        return [f"{key} is {value}, was {before}" for key, (value, before) in changed.items()]

    def require_epochs_left(self, max_epochs: int | None) -> None:
        """Raise `UserError` if the checkpoint is from beyond the run's end."""
        if max_epochs is not None and -1 < max_epochs < self.epochs:
            raise UserError(
                f"trainer.max_epochs is {max_epochs}; allowed: at least {self.epochs}, the epochs in {self.checkpoint}"
            )

    def lines(self, folder: Path, max_epochs: int | None, changes: list[str]) -> list[str]:
        """Say which run goes on in `folder`, from where, and with which `changes`; nothing of one that just begins."""
        if not self.asked:
            return []
        if self.folder is None and self.checkpoint is None:
            return [f"there is no run in {folder} yet: this begins one"]
        if self.checkpoint is None:
            return [f"{folder} begins again: it ended before its first checkpoint"]
        if self.is_whole(max_epochs):
            return [f"nothing left to train: all {self.epochs} epochs are in {self.checkpoint}"]
        what = "goes on" if self.folder is not None else f"begins with {self.checkpoint},"
        return [
            f"{folder} {what} after epoch {self.epochs}, {self.env_steps} environment steps",
            *(f"it goes on with another setting: {change}" for change in changes),
        ]


def find_start(ckpt_path: str | None, folders: RunFolders) -> tuple[Start, dict[str, Any] | None]:
    """Find what `ckpt_path` names, and return it with the checkpoint's content, which keeps the file on the disk.

    `last` goes on in the folder of the newest run, from the start if it ended before its first checkpoint, and begins
    one where there is none; the path of a run's own last checkpoint goes on, too. Any other checkpoint begins a new
    run.

    Raises:
        UserError: there is no such checkpoint, it cannot be read, or it is not clear which run is the last.
    """
    if ckpt_path is None:
        return Start(), None
    if ckpt_path == "last":
        folder, checkpoint = folders.latest()
    else:
        checkpoint = checkpoint_file(ckpt_path)
        folder = folders.owner(checkpoint)
    written = None if folder is None else last_written(folder)  # before it is read, for it may be replaced meanwhile
    if checkpoint is None:
        return Start(folder, asked=True, written=written), None
    saved = read_checkpoint(checkpoint)
    epochs = saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    env_steps = saved["GoalDataModule"]["env_steps"]
    ended = folder is not None and any(line.metric == ENDED for line in read_metrics(folder)[-1:])
    return Start(
        folder,
        checkpoint,
        asked=True,
        written=written,
        epochs=epochs,
        env_steps=env_steps,
        ended=ended,
        weights_alone="optimizer_states" not in saved,
    ), saved
