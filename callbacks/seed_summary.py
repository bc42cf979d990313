"""The seeds that train side by side, at a glance."""

import os
import shutil
import tempfile
import zlib
from pathlib import Path
from time import monotonic, sleep
from typing import cast

import numpy as np
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from mher_pl.callbacks.interruption import Interruption
from mher_pl.callbacks.progress import Progress
from mher_pl.data import data_of
from mher_pl.errors import Interrupted
from mher_pl.parallel.board import FAILED, FINISHED, RUNNING, SeedBoard, SeedRecord, launch_id
from mher_pl.parallel.seeds import SeedParallelStrategy

PATIENCE_S = 1800  # without a word, after which a seed on another node counts as lost, once the first has ended
POLL_S = 0.5


class SeedSummary(Callback):
    """Log the median and quartiles over seeds of each epoch's success rate, in the run of the first seed.

    Every seed writes its success rates to a file of its own; the first one reads them after each of its epochs and logs
    `seeds/success_median`, `seeds/success_q25`, `seeds/success_q75` and `seeds/count` for every epoch that all seeds
    which still train have reached, of those that reached it. Nobody waits during training. A seed that fails is named
    at once and left out from there on. After its own training the first seed waits for the rest.

    Args:
        run: the folder of this seed's run, with its file in it; of a trial, which has none, None.
        seed: of this process.
    """

    strategy: SeedParallelStrategy  # it, the rank and the board: from `setup` on
    rank: int
    board: SeedBoard

    def __init__(self, run: Path | None, seed: int) -> None:
        self.run, self.seed = run, seed
        self.logged = -1  # the last epoch whose summary is logged
        self._failures: dict[int, str] = {}  # by rank, why it is out
        self._started = False
        self._ended = False  # whether this seed has, and waits for the others
        self._words: dict[int, tuple[object, float]] = {}  # by rank, its last word's stamp and when that was first seen
        self._latest = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin this seed's file; only the first seed shows a progress bar."""
        self.strategy = cast(SeedParallelStrategy, trainer.strategy)
        self.rank = self.strategy.seed_rank
        launch = launch_id(self.strategy.cluster_environment)
        run = trial_folder(launch, self.seed) if self.run is None else self.run
        reused = "SLURM_STEP_ID" not in os.environ  # every `srun` has its own
        self.board = SeedBoard(run, self.seed - self.rank, self.strategy.seeds, launch, reused)
        if self.rank > 0 and trainer.progress_bar_callback is not None:
            trainer.progress_bar_callback.disable()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell that this seed trains."""
        self._start(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell this seed's success rate, and log what all have reached."""
        success = trainer.callback_metrics.get("eval/success_rate")
        if success is None:
            self.board.live()
        else:
            self.board.report(trainer.current_epoch, data_of(trainer).env_steps, float(success))
        if self.rank == 0:
            self._log(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell that this seed is done; as the first one, wait for the others and log the rest."""
        self._start(trainer.current_epoch)  # where a resumed run was complete already, nothing trained
        self.board.end(FINISHED)
        if self.rank == 0:
            self._wait(trainer)
            tqdm.write(self._latest)  # `print` would break a progress bar

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell that this seed failed; see the others through where its end would take them along."""
        before_setup = not hasattr(self, "board")
        if before_setup or isinstance(exception, Interrupted | KeyboardInterrupt):
            return
        reason = f"{type(exception).__name__}: {(str(exception).splitlines() or [''])[0]}"
        self._start(None)
        self.board.end(FAILED, reason)
        self._drop(self.rank, reason)
        # A cluster's launcher kills all processes of a job once one of them has failed: this one fails last.
        if self.rank == 0 or not isinstance(self.strategy.cluster_environment, LightningEnvironment):
            self._wait(trainer)

    def state_dict(self) -> dict[str, int]:
        """Return the last epoch whose summary is logged."""
        return {"logged": self.logged}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the next epoch's."""
        self.logged = state_dict["logged"]

    def failures(self) -> dict[int, str]:
        """Return the reasons of the seeds that are out, by seed."""
        return {self.board.first + rank: reason for rank, reason in sorted(self._failures.items())}

    def _start(self, epoch: int | None) -> None:
        if not self._started:
            self.board.start(epoch)
            self._started = True

    def _wait(self, trainer: Trainer) -> None:
        """Log as the others go on, until all have ended."""
        self._ended = True
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        interruption = next((c for c in callbacks if isinstance(c, Interruption)), None)
        while True:
            records = self._log(trainer) if self.rank == 0 else self._read(trainer)
            if all(record.state != RUNNING for rank, record in records.items() if rank not in self._failures):
                if self.run is None and self.rank == 0 and not self._failures:
                    shutil.rmtree(self.board.file.parent.parent, ignore_errors=True)
                return
            if interruption is not None and interruption.signum is not None:
                raise Interrupted(interruption.signum, "interrupted while other seeds were training; they saved")
            sleep(POLL_S)

    def _read(self, trainer: Trainer) -> dict[int, SeedRecord]:
        """Read all records, and take out the seeds that failed, died or fell silent."""
        exit_codes = self.strategy.launcher.exit_codes()
        records = {}
        for rank in range(self.board.seeds):
            code = exit_codes.get(rank)  # asked for first: what a process told before its end is then in its file
            record = records[rank] = self.board.read(rank)
            if rank in self._failures or rank == self.rank or record.state == FINISHED:
                continue
            if record.state == FAILED:
                self._drop(rank, record.reason)
            elif code == 0:  # it told so before it could be heard: a resumed run that was complete already
                record.state = FINISHED
            elif code is not None:
                self._drop(rank, f"exit code {code}")
            elif self._ended and rank not in exit_codes and self._silence(rank, record) > PATIENCE_S:
                self._drop(rank, f"nothing heard for {PATIENCE_S} s")
        return records

    def _silence(self, rank: int, record: SeedRecord) -> float:
        """Return the seconds since a seed's last word, as far as this seed has waited for it."""
        if rank not in self._words or self._words[rank][0] != record.stamp:
            self._words[rank] = record.stamp, monotonic()
        return monotonic() - self._words[rank][1]

    def _drop(self, rank: int, reason: str) -> None:
        self._failures[rank] = reason
        if self.rank == 0:
            tqdm.write(f"seed {self.board.first + rank} failed ({reason}); the other seeds go on")

    def _log(self, trainer: Trainer) -> dict[int, SeedRecord]:
        """Log every further epoch that all living seeds have reached."""
        records = self._read(trainer)
        while further := [epoch for record in records.values() for epoch in record.rates if epoch > self.logged]:
            epoch = min(further)
            running = [r for rank, r in records.items() if r.state == RUNNING and rank not in self._failures]
            if any(epoch not in record.rates for record in running):
                break
            reached = [record.rates[epoch] for record in records.values() if epoch in record.rates]
            q25, median, q75 = np.quantile([rate for _, rate in reached], [0.25, 0.5, 0.75])
            metrics = {"success_median": median, "success_q25": q25, "success_q75": q75, "count": len(reached)}
            for logger in trainer.loggers:
                logger.log_metrics({f"seeds/{key}": float(value) for key, value in metrics.items()}, step=reached[0][0])
            self.logged = epoch
            self._latest = f"{len(reached)} seeds after epoch {epoch + 1}: {median:.2f} [{q25:.2f}, {q75:.2f}]"
        bar = trainer.progress_bar_callback
        if isinstance(bar, Progress):
            bar.note = self._latest and f", {self._latest}"
        return records


def trial_folder(launch: str, seed: int) -> Path:
    """Return where a seed of a trial has its file, the same for all processes of a machine."""
    return Path(tempfile.gettempdir()) / f"mher_pl_trial_{zlib.crc32(launch.encode()):08x}" / f"seed_{seed}"
