"""The end of a run, in its table of metrics."""

from lightning import Callback, LightningModule, Trainer

from mher_pl.data import data_of
from mher_pl.storage.metrics import ENDED
from mher_pl.storage.writer import writer_of


class RunEnd(Callback):
    """Note that the curve is whole: a run that ends by itself before `max_epochs` is no interrupted one."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note it once the last checkpoint is on the disk, or `last` would leave its epoch out."""
        data = data_of(trainer)
        if data.table is not None:
            writer_of(trainer).wait()
            data.table.add(trainer.current_epoch, data.env_steps, {ENDED: trainer.current_epoch})
