"""Checkpoints of a run."""

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Keep `last.ckpt`, written after every epoch, and the best by `eval/success_rate`, in the run's `checkpoints/`."""

    def __init__(self) -> None:
        super().__init__(
            monitor="eval/success_rate",
            mode="max",
            save_top_k=1,
            save_last=True,
            save_on_train_epoch_end=True,
            filename="best-{epoch}",
            auto_insert_metric_name=True,
        )
