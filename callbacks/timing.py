"""Where the wall-clock time of an epoch goes."""

from time import perf_counter
from typing import Any

from lightning import Callback, Trainer

from mher_pl.agent import Agent
from mher_pl.data import data_of


class Timing(Callback):
    """Log the seconds of each epoch spent on collecting, updating and evaluating, as `time/*`.

    `time/other` is the rest: logging, pictures, the copy of a checkpoint's numbers, which is put together and written
    beside the next epoch, and Lightning itself. It is measured from the end of one epoch's log to the next, so that a
    checkpoint counts to the epoch after it. `time/wall` is the time since the run began.
    """

    def __init__(self) -> None:
        self.wall_before = 0.0  # seconds of the run before this process, when it was resumed
        self.seconds = dict.fromkeys(("collect", "update", "evaluate"), 0.0)
        self.epoch_before = 0.0  # seconds of the epoch before this process

    def setup(self, trainer: Trainer, pl_module: Agent, stage: str) -> None:
        """Start the clock."""
        self._start = self._last = self._epoch_start = perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Leave out of the first epoch what came before it, such as the start of a resumed run."""
        self._last = perf_counter()
        self._epoch_start = self._last - self.epoch_before
        self._first = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Begin the first lap of an epoch, and leave the warm-up out of the first one."""
        self._lap(None)
        if self._first:
            self._epoch_start = self._last

    def on_train_batch_start(self, trainer: Trainer, pl_module: Agent, batch: Any, batch_idx: int) -> None:
        """End the lap of collecting an episode and sampling its batches."""
        self._lap("collect")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Agent, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the lap of an episode's updates."""
        self._lap("update")

    def on_validation_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Begin the lap of the evaluation."""
        self._lap(None)

    def on_validation_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """End the lap of the evaluation."""
        self._lap("evaluate")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Log the epoch's laps."""
        now = perf_counter()
        other = now - self._epoch_start - sum(self.seconds.values())
        metrics = {f"time/{phase}": seconds for phase, seconds in self.seconds.items()}
        data_of(trainer).log_metrics(metrics | {"time/other": other, "time/wall": self.wall})
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self._epoch_start, self._first = now, False
        self.epoch_before = 0.0

    def _lap(self, phase: str | None) -> None:
        now = perf_counter()
        if phase is not None:
            self.seconds[phase] += now - self._last
        self._last = now

    @property
    def wall(self) -> float:
        """Return the seconds of the run so far, earlier processes of it included."""
        return self.wall_before + perf_counter() - self._start

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds of the run and of its epoch so far."""
        epoch = perf_counter() - self._epoch_start if any(self.seconds.values()) else 0.0
        return {"wall": self.wall, "epoch": epoch, "seconds": dict(self.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the counts."""
        self.wall_before, self.epoch_before = state_dict["wall"], state_dict["epoch"]
        self.seconds = dict(state_dict["seconds"])
