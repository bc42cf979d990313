"""The config in a run's folder."""

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import Namespace, SaveConfigCallback

from mher_pl.parallel.seeds import SeedParallelStrategy


class SaveRunConfig(SaveConfigCallback):
    """Save the resolved config in the run's folder, of training runs only."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save nothing yet: what is saved is what a run trains with, and it may still be refused."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save once the checkpoint is restored; a resumed run writes its own again."""
        if trainer.is_global_zero:
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save what repeats this run alone."""
        # Not the logger's folder, which with the user's own logger may be any.
        path = Path(trainer.default_root_dir) / self.config_filename
        self.parser.save(own_config(self.config), path, skip_none=False, overwrite=True, multifile=False)


def own_config(config: Namespace) -> Namespace:
    """Return what repeats a run alone, also one that was trained beside others."""
    config = config.clone()
    if "ckpt_path" in config:
        config.pop("ckpt_path")
    if config.trainer.strategy == SeedParallelStrategy.strategy_name:
        config.trainer.strategy, config.trainer.devices, config.trainer.num_nodes = "auto", 1, 1
    return config
