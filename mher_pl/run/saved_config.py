"""The config of a run, in its folder and its loggers."""

import os
from pathlib import Path

import yaml
from lightning import LightningModule
from lightning.pytorch.cli import Namespace, SaveConfigCallback

from mher_pl.data import data_of
from mher_pl.parallel.seeds import SeedParallelStrategy
from mher_pl.run.hyperparameters import log_hyperparameters
from mher_pl.run.trainer import RunTrainer


class SaveRunConfig(SaveConfigCallback):
    """Save the resolved config in the run's folder and log a new run's hyperparameters, of training runs only."""

    def setup(self, trainer: RunTrainer, pl_module: LightningModule, stage: str) -> None:
        """Save nothing yet: what is saved is what a run trains with, and it may still be refused."""

    def on_fit_start(self, trainer: RunTrainer, pl_module: LightningModule) -> None:
        """Save once the checkpoint is restored; a run that goes on writes its own again, and has not ended any more."""
        if not trainer.is_global_zero:
            return
        if trainer.start.resumed:
            if trainer.start.is_whole(trainer.max_epochs):
                return
            if (table := data_of(trainer).table) is not None:
                table.begin()
        self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: RunTrainer, pl_module: LightningModule, stage: str) -> None:
        """Save the settings of this run alone."""
        # Not the logger's folder, which with the user's own logger may be any.
        path = Path(trainer.default_root_dir) / self.config_filename
        staged = path.with_name(f".{path.name}.part")  # on a full disk the old one stays whole
        self.parser.save(own_config(self.config), staged, skip_none=False, overwrite=True, multifile=False)
        os.replace(staged, path)
        if not trainer.start.resumed:
            dump = self.parser.dump(self.config, skip_link_targets=False, skip_none=False)
            log_hyperparameters(trainer.loggers, yaml.safe_load(dump))


def own_config(config: Namespace) -> Namespace:
    """Return the settings of a run alone, also of one that was trained beside others.

    They repeat it unless it began with another run's checkpoint, which is not among them.
    """
    config = config.clone()
    if "ckpt_path" in config:
        config.pop("ckpt_path")
    if config.trainer.strategy == SeedParallelStrategy.strategy_name:
        config.trainer.strategy, config.trainer.devices, config.trainer.num_nodes = "auto", 1, 1
    return config
