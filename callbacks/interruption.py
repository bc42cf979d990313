"""Ending a run in good order when a signal asks for it."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint

from mher_pl.callbacks.checkpoint import RunCheckpoint
from mher_pl.data import data_of
from mher_pl.errors import Interrupted
from mher_pl.signals import end_signals
from mher_pl.storage.writer import writer_of


def ends_by_itself(trainer: Trainer) -> bool:
    """Whether training ends with this batch: by early stopping, its time or its number of steps."""
    stopped = trainer.should_stop and trainer.fit_loop._can_stop_early  # private, and what Lightning itself asks
    return stopped or -1 < trainer.max_steps <= trainer.global_step


class Interruption(Callback):
    """On SIGTERM (a cluster's preemption), SIGHUP (a terminal that closes) or Ctrl-C, end the run in good order.

    Training stops once the batches of an episode are learned from, or after the epoch's evaluation if that is running,
    so that the state between two episodes is saved whole. Before training, and at a second Ctrl-C, it stops at once.
    The exit code is 128 + the signal's number: 143, 129 or 130. Under SLURM the requeue signal (SIGUSR1) is taken
    likewise, because Lightning's own handler saves in the middle of a step. The trainer gives the signals back.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._signums: set[int] = set()  # all that came
        self._deferring = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the signals over."""
        self._trainer, self.signum, self._signums, self._deferring = trainer, None, set(), False
        # Lightning puts its own handler before ours, which no setting prevents; it would start a collective operation
        # from inside the handler.
        trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]
        signums = end_signals()
        environment = trainer._accelerator_connector.cluster_environment  # strategies of one device show none
        if isinstance(environment, SLURMEnvironment) and environment.requeue_signal is not None:
            environment.auto_requeue = False
            signums.append(environment.requeue_signal)
        if threading.current_thread() is threading.main_thread():  # elsewhere its owner handles signals
            for signum in signums:
                signal.signal(signum, self.handle)

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Take note of the signal, or end the run at once."""
        if self.signum is None:
            self.signum = signum
            if self._trainer.strategy.launcher is not None:
                self._trainer.strategy.launcher.kill(signal.SIGTERM)  # the processes that this one started
        again = signum in self._signums
        self._signums.add(signum)
        # A second SIGTERM says nothing new: a cluster may send it to every process, and the first one passes it on.
        if not self._deferring or (again and signum == signal.SIGINT):
            raise Interrupted(signum, f"interrupted by {signal.Signals(signum).name}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to lose."""
        self._deferring = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop; not before an evaluation that comes now, and after an epoch's last episode with its end."""
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        evaluates = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # private, as above
        goes_on = not (trainer.is_last_batch or evaluates or ends_by_itself(trainer))
        if goes_on and self._any_signalled(trainer):
            self._stop(trainer, self.save(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after the epoch's own checkpoint, unless the run ends by itself."""
        last = trainer.current_epoch + 1 == trainer.max_epochs or ends_by_itself(trainer)
        if self._any_signalled(trainer) and not last:
            self._stop(trainer, self.saved(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is nothing to stop: the last checkpoint is being written, and the end waits for it."""
        self._deferring = False

    def _any_signalled(self, trainer: Trainer) -> bool:
        """Whether any worker got a signal: all of them stop after the same episode."""
        return trainer.strategy.reduce_boolean_decision(self.signum is not None, all=False)

    def _stop(self, trainer: Trainer, path: Path | None) -> None:
        signum = self.signum or signal.SIGTERM
        where = "nothing is saved" if path is None else f"saved in {path}, continue with --ckpt_path last"
        name, steps = signal.Signals(signum).name, data_of(trainer).env_steps
        raise Interrupted(signum, f"interrupted by {name} after {steps} env steps; {where}")

    def save(self, trainer: Trainer) -> Path | None:
        """Save where the run stops, and return the file's path."""
        return None

    def saved(self, trainer: Trainer) -> Path | None:
        """Return the path of what was saved at the end of the epoch."""
        return None


class SavedInterruption(Interruption, Checkpoint):
    """Save before ending; the saved run resumes as if nothing had happened.

    It is a `Checkpoint` for Lightning, which calls those after all other callbacks.

    Args:
        checkpoint: the run's own; `trainer.checkpoint_callback` may be another that the user added.
    """

    def __init__(self, checkpoint: RunCheckpoint) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def save(self, trainer: Trainer) -> Path:
        """Write the run's last checkpoint."""
        self.checkpoint.save(trainer)
        return self.saved(trainer)

    def saved(self, trainer: Trainer) -> Path:
        """Return the path of the run's last checkpoint once it is written."""
        writer_of(trainer).wait()
        trainer.strategy.barrier()  # a worker that ended before would have the first one killed while it writes
        return self.checkpoint.last
