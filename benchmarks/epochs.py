"""Where the time of an epoch goes."""

import io
import statistics
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from clock import Clock
from lightning import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from updates import BareUpdate

from mher_pl.callbacks import Evaluation, GoalMap, RelabelGoalLogger, RunCheckpoint
from mher_pl.data import GoalDataModule
from mher_pl.mher import MHER
from mher_pl.run.api import load

ROOT = Path(__file__).parent.parent
BARE_UPDATES = 5  # of an epoch
PARTS = (  # of an epoch, and the methods that are their whole work
    ("collect", GoalDataModule, "collect"),
    ("sample", GoalDataModule, "replayed"),
    ("update", MHER, "training_step"),
    ("hooks", LightningOptimizer, "step"),  # of callbacks, around those steps of an update that Lightning counts
    ("update", torch.optim.Adam, "step"),
    ("evaluate", Evaluation, "on_validation_epoch_end"),
    ("log", GoalDataModule, "log_metrics"),
    ("log", RelabelGoalLogger, "on_train_epoch_end"),  # with its picture every tenth epoch
    ("goal map", GoalMap, "on_validation_end"),  # every tenth epoch
    ("checkpoint", RunCheckpoint, "on_train_epoch_end"),
)


def settings(folder: str, epochs: int, **more: Any) -> dict[str, Any]:
    """Return what a short run sets differently from the config."""
    return {
        "trainer.max_epochs": epochs,
        "trainer.enable_progress_bar": False,
        "trainer.default_root_dir": folder,
        "warmup.episodes": 2,
        "warmup.updates": 5,
    } | more


class Screen(io.StringIO):
    """A terminal that nobody looks at, on which the progress bar draws itself."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


class Epochs(Callback):
    """Keeps what a clock counted in each epoch, its checkpoint included, beside the epoch's total.

    Behind the first episode it times bare updates too: the speed of the machine in this epoch.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.rows = clock, []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Prepare the bare updates."""
        self.bare = BareUpdate(pl_module, trainer.datamodule.batch_size)
        self.bare.update()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """End the epoch before, and begin."""
        self.on_train_end(trainer, pl_module)
        self.clock.spent.clear()
        self.start = perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Time bare updates, which count for themselves alone."""
        if batch_idx == 0:
            for _ in range(BARE_UPDATES):
                with self.clock.part("bare"):
                    self.bare.update()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End an epoch."""
        if self.clock.spent and trainer.current_epoch > 0:  # what was counted before the first one was the warm-up
            self.rows.append(self.clock.spent | {"total": perf_counter() - self.start})


def epoch_split(task: str, epochs: int, **overrides: Any) -> dict[str, float]:
    """Return the mean milliseconds of an epoch by part, over `epochs` epochs behind a first one.

    `rest` is what no part took: Lightning's loops, the progress bar and the other callbacks. `added an update` is what
    `rest`, `hooks`, `log` and `checkpoint` come to for each of the epoch's updates, goal maps not counted; `bare
    update` is the time of one's bare products in the same epochs.
    """
    clock = Clock()
    recorder = Epochs(clock)
    methods = [(owner, name, getattr(owner, name)) for _, owner, name in PARTS]
    for (part, owner, name), (*_, method) in zip(PARTS, methods, strict=True):
        setattr(owner, name, clock.timed(part, method))
    try:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(Screen()):
            options = settings(folder, 1 + epochs) | {"trainer.enable_progress_bar": True} | overrides
            cli = load(ROOT / "configs" / f"{task}.yaml", **options)
            cli.trainer.callbacks.insert(0, recorder)
            cli.trainer.fit(cli.model, cli.datamodule)
    finally:
        for owner, name, method in methods:
            setattr(owner, name, method)
    rows = recorder.rows[1:]
    assert len(rows) == epochs
    split = {part: 1e3 * statistics.fmean(row[part] for row in rows) for part, *_ in PARTS}
    total = 1e3 * statistics.fmean(row["total"] - row["bare"] for row in rows)
    split |= {"rest": total - sum(split.values()), "total": total}
    updates = cli.datamodule.episodes_per_epoch * cli.datamodule.batches_per_episode
    added = sum(split[part] for part in ("rest", "hooks", "log", "checkpoint")) / updates
    bare = 1e3 * statistics.fmean(row["bare"] for row in rows) / BARE_UPDATES
    return split | {"updates": updates, "added an update": added, "bare update": bare, "added / bare": added / bare}
