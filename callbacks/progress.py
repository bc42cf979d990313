"""Progress in environment steps."""

import sys
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer
from tqdm import tqdm

from mher_pl.agent import Agent
from mher_pl.data import data_of


class Progress(ProgressBar):
    """Environment steps of training and the last success rate: one bar for the run, or, in a file, a line an epoch.

    At the end of `fit` it prints the final success rate and the run's folder, or why nothing was trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None
        self._enabled, self._trained = True, False
        self.note = ""  # what another callback has to say behind the success rate

    def disable(self) -> None:
        """Show nothing, as on all but the first of several processes."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def say(self, text: str) -> None:
        """Print a line, where anything is shown."""
        if self._enabled:
            print(text, flush=True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Agent, batch: Any, batch_idx: int) -> None:
        """Open the bar at the first episode, when the warm-up's steps are known; its total is of whole episodes."""
        if self._bar is not None:
            return
        self._trained = True
        data = data_of(trainer)
        total = None
        if trainer.max_epochs is not None and trainer.max_epochs != -1:
            # The first episode, or that after a resume, is collected and counted already.
            episodes = int(trainer.num_training_batches) * data.num_envs  # of an epoch
            left = (trainer.max_epochs - trainer.current_epoch) * episodes - data.position
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
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        where = "a trial, of which nothing is kept" if trial else f"run folder {trainer.default_root_dir}"
        self.say(f"epoch {trainer.current_epoch}{self._success(trainer)}, {where}")

    def on_fit_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Say why a run that trained nothing has ended."""
        if (reason := reason_to_skip(trainer)) and not self._trained:
            self.say(f"nothing was trained: {reason}")

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


def reason_to_skip(trainer: Trainer) -> str:
    """Return the setting that lets the trainer end before its first step, if there is one."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it without declaring it
    left = [callback.time_remaining() for callback in callbacks if isinstance(callback, Timer)]  # seconds
    reasons = {
        "trainer.max_epochs is 0": trainer.max_epochs == 0,
        "trainer.limit_train_batches is 0": trainer.limit_train_batches == 0,
        f"trainer.max_steps is {trainer.max_steps}, and there were as many": -1
        < trainer.max_steps
        <= trainer.global_step,
        "trainer.max_time is used up": any(seconds is not None and seconds <= 0 for seconds in left),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
