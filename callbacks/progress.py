"""Progress in environment steps."""

import sys
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from mher_pl.agent import Agent
from mher_pl.data import data_of


class Progress(ProgressBar):
    """Environment steps of training and the last success rate: one bar for the run, or, in a file, a line an epoch.

    At the end of `fit` it prints the final success rate and the run's folder.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None
        self._enabled = True
        self.note = ""  # what another callback has to say behind the success rate

    def disable(self) -> None:
        """Show nothing, as on all but the first of several processes."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: Agent, batch: Any, batch_idx: int) -> None:
        """Open the bar at the first episode, when the warm-up's steps are known; its total is then exact."""
        if self._bar is not None:
            return
        data = data_of(trainer)
        total = None
        if trainer.max_epochs is not None and trainer.max_epochs != -1:
            # The first episode, or that after a resume, is collected and counted already.
            left = (trainer.max_epochs - trainer.current_epoch) * data.episodes_per_epoch - data.position
            total = data.env_steps + left * data.task.horizon * trainer.world_size
        self._bar = tqdm(
            total=total,
            initial=data.env_steps,
            unit=" env steps",
            file=sys.stdout,
            dynamic_ncols=True,
            mininterval=1.0,  # seconds; drawing it for every episode takes longer than the rest of this callback
            disable=not (self._enabled and sys.stdout.isatty()),
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: Agent, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar: a step is an episode."""
        assert self._bar is not None  # opened before the first episode
        self._bar.update(data_of(trainer).env_steps - self._bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Show epoch and success rate."""
        if self._bar is not None and self._enabled:
            news = f"epoch {trainer.current_epoch + 1}{self._success(trainer)}{self.note}"
            if self._bar.disable:
                print(f"{data_of(trainer).env_steps} env steps, {news}", flush=True)
            else:
                self._bar.set_postfix_str(news, refresh=False)  # shown with the next episode

    def on_train_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Close the bar and say how the run ended and where it lies."""
        self._close()
        if self._enabled:
            print(f"epoch {trainer.current_epoch}{self._success(trainer)}, run folder {trainer.default_root_dir}")

    def on_exception(self, trainer: Trainer, pl_module: Agent, exception: BaseException) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @staticmethod
    def _success(trainer: Trainer) -> str:
        success = trainer.callback_metrics.get("eval/success_rate")
        return "" if success is None else f", success rate {success:.2f}"
