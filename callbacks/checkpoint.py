"""Checkpoints of a run."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from mher_pl.storage.checkpoint import link_file


class RunCheckpoint(ModelCheckpoint):
    """Keep `last.ckpt`, written after every epoch, and the best by `eval/success_rate`, in the run's `checkpoints/`.

    `last.ckpt` is written first and the best is a second name of the same file, so the content is written once and
    there is no moment at which a kill leaves less than one whole checkpoint to go on from. Training goes on meanwhile.

    Args:
        folder: the run's, whatever loggers it has.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            monitor="eval/success_rate",
            mode="max",
            save_top_k=1,
            save_last=True,
            save_on_train_epoch_end=True,
            filename="best-{epoch}",
            auto_insert_metric_name=True,
            enable_version_counter=False,  # a resumed run goes on with its own files
        )
        self._names_best = self._fitting = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree with the other workers on the folder, and note whether this run trains."""
        super().setup(trainer, pl_module, stage)
        self._fitting = stage == "fit"

    @property
    def state_key(self) -> str:
        """The name of this class; the base class's tells all settings, and takes long to put together at every hook."""
        return type(self).__qualname__

    @property
    def last_path(self) -> str:
        """The file that a run continues from."""
        return str(Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")

    def save(self, trainer: Trainer) -> None:
        """Write `last.ckpt` of the state that is."""
        self._save_checkpoint(trainer, self.last_path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; unlike the base class also in epochs that are not the best."""
        if self._should_skip_saving_checkpoint(trainer):
            return
        candidates = self._monitor_candidates(trainer)
        with trainer.strategy.checkpoint_io.beside_training():
            if self.monitor in candidates:
                self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """Return what decides and names a checkpoint; the base class copies all metrics, which takes its time."""
        metrics = {key: value for key, value in trainer.callback_metrics.items() if key == self.monitor}
        return metrics | {"epoch": torch.tensor(trainer.current_epoch), "step": torch.tensor(trainer.global_step)}

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self._names_best = filepath != self.last_path
        if self._last_global_step_saved != trainer.global_step:
            for logger in trainer.loggers:
                logger.save()  # the curve up to a checkpoint is on the disk before it
            super()._save_checkpoint(trainer, self.last_path)
        if self._names_best and trainer.is_global_zero:
            trainer.strategy.checkpoint_io.do(link_file, self.last_path, filepath)

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far: its name without the folder, because a run may be moved, and its score."""
        return {
            "best": Path(self.best_model_path).name,
            "best_score": self.best_model_score,
            "is_best": self._names_best,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best so far if it lies in this run's folder; a new run from an old checkpoint has none yet."""
        best = Path(self.dirpath) / state_dict["best"]
        is_best = state_dict["is_best"] and Path(self.last_path).is_file()
        if not self._fitting or not (is_best or best.is_file()):
            return
        if is_best and rank_zero_only.rank == 0:
            link_file(self.last_path, best)  # a kill may have come before the file had its second name
        for other in best.parent.glob("best-*.ckpt"):
            if other != best and rank_zero_only.rank == 0:
                other.unlink()
        score = state_dict["best_score"]
        self.best_model_path = self.kth_best_model_path = str(best)
        self.best_model_score = self.kth_value = self.current_score = score
        self.best_k_models = {str(best): score}
