"""Checkpoints of a run."""

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mher_pl.data import data_of
from mher_pl.storage.checkpoint import link_file
from mher_pl.storage.writer import writer_of


class RunCheckpoint(Checkpoint):
    """Keep `last.ckpt`, written after every epoch, and the best by `eval/success_rate`, in the run's `checkpoints/`.

    `last.ckpt` is written first and the best is a second name of the same file, so the content is written once and
    there is no moment at which a kill leaves less than one whole checkpoint to go on from. Training goes on meanwhile.

    Args:
        folder: the run's, whatever loggers it has.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoints"
        self.best_success_rate = -1.0  # of the best one, if it lies in the folder
        self.last_is_best = False  # whether what is saved is to have the best one's name too
        self._evaluated = -1  # at which of Lightning's steps the last evaluation was
        self._fitting = self._writes = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree with the other workers on the folder, and note whether this run trains."""
        self.folder = trainer.strategy.broadcast(self.folder)
        self._fitting, self._writes = stage == "fit", trainer.is_global_zero

    @property
    def last(self) -> Path:
        """The file that a run continues from."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """The file of the epoch with the highest success rate."""
        return self.folder / "best.ckpt"

    @property
    def best_model_path(self) -> str:
        """The best one for Lightning's `ckpt_path="best"`; empty where there is none yet."""
        return "" if self.best_success_rate < 0.0 else str(self.best)

    def save(self, trainer: Trainer) -> None:
        """Write `last.ckpt` of the state that is."""
        for logger in trainer.loggers:
            logger.save()  # the curve up to a checkpoint is on the disk before it
        if (table := data_of(trainer).table) is not None:
            writer_of(trainer).do(table.sync)
        trainer.save_checkpoint(self.last)
        self.last_is_best = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note when it was."""
        self._evaluated = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and name the file the best where no epoch before ended with as high a success rate."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            return
        success_rate = trainer.callback_metrics.get("eval/success_rate")
        as_evaluated = self._evaluated == trainer.global_step  # an evaluation within the epoch was of other weights
        if success_rate is not None and as_evaluated and success_rate > self.best_success_rate:
            self.best_success_rate, self.last_is_best = float(success_rate), True
        is_best = self.last_is_best
        files = writer_of(trainer)
        with files.beside_training():
            self.save(trainer)
            if is_best and self._writes:
                files.do(link_file, self.last, self.best)

    def state_dict(self) -> dict[str, Any]:
        """Return the best success rate so far."""
        return {"best_success_rate": self.best_success_rate, "last_is_best": self.last_is_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best so far if it lies in this run's folder; a new run from an old checkpoint has none yet."""
        if not self._fitting:
            return
        if state_dict["last_is_best"] and self.last.is_file():
            if self._writes:
                link_file(self.last, self.best)  # a kill may have come before the file had its second name
        elif not self.best.is_file():
            return
        self.best_success_rate = state_dict["best_success_rate"]
