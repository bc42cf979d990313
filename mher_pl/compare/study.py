"""The trials of a search in a file that several processes and machines share: an Optuna study."""

import csv
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mher_pl.compare.grid import Cell, Sweep
from mher_pl.compare.search import Search
from mher_pl.errors import UserError
from mher_pl.storage.settings import as_text

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial


class Study:
    """Hands out trials: those that a killed process left behind, then new ones, until there are as many as asked for.

    Args:
        sweep: what its trials are fits of.
        search: where their settings come from.
    """

    def __init__(self, sweep: Sweep, search: Search) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise UserError("tune needs optuna, which is not installed; allowed: pip install 'mher_pl[tune]'") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        from optuna.storages.journal import JournalFileBackend

        self._optuna, self._states = optuna, optuna.trial.TrialState
        self._sweep, self._search, self.wanted = sweep, search, search.trials
        self._ask = threading.Lock()
        pruner = (
            optuna.pruners.NopPruner()
            if search.prune_from is None
            else optuna.pruners.MedianPruner(n_warmup_steps=search.prune_from)
        )
        with self._alone():
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(JournalFileBackend(str(sweep.out / "study.log"))),
                study_name="tune",
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
            self._require_same()

    def _require_same(self) -> None:
        """Raise `UserError` if earlier trials were of other settings, with which they cannot be compared."""
        (cell, *_) = self._sweep.cells_at("any", {})
        settings = {
            "tasks and algorithms": list(cell.configs.values()),
            "seeds": self._sweep.seeds,
            "overrides": {key: as_text(value) for key, value in self._sweep.overrides.items()},
            "search": {key: repr(setting) for key, setting in self._search.space.items()},
        }
        before = self._study.user_attrs
        for key, value in settings.items():
            if before.get(key, value) != value:
                raise UserError(
                    f"out is {self._sweep.out}, which holds a search with other {key}; allowed: the same as before, or "
                    "another out"
                )
            if key not in before:
                self._study.set_user_attr(key, value)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only thread of the only process that does this."""
        with self._ask, self._writing(), (self._sweep.out / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise `UserError` where the folder cannot be written."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"out is {self._sweep.out} ({error.strerror}); allowed: a folder that can be written, on a file system "
                "with locks"
            ) from None

    def end(self, trial: "Trial", value: float | None = None, *, pruned: bool = False) -> None:
        """Keep a trial's value, or that it was given up or, with neither, that it failed."""
        state = self._states.PRUNED if pruned else self._states.FAIL if value is None else None
        with self._alone():  # who looks for trials that were left behind sees it held or ended
            self._study.tell(trial, value, state)

    def trials(self) -> "list[FrozenTrial]":
        """Return all trials so far."""
        return self._study.get_trials(deepcopy=False)

    def count(self) -> int:
        """Return how many trials have ended."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def complete(self) -> "list[FrozenTrial]":
        """Return the trials that have a value, best first."""
        trials = [trial for trial in self.trials() if trial.state == self._states.COMPLETE]
        return sorted(trials, key=lambda trial: trial.value or 0.0, reverse=True)

    @contextmanager
    def next(self) -> "Iterator[tuple[Trial, list[Cell]] | None]":
        """Hold a trial that no other process runs, with its cells; None where there are enough."""
        with self._alone():
            self._require_same()  # a config may have been edited meanwhile
            held = self._left_behind() or self._new()
        if held is None:
            yield None
            return
        trial, descriptor = held
        try:
            yield trial, self._sweep.cells_at(name(trial.number), self._search.suggest(trial))
        finally:
            os.close(descriptor)

    def _left_behind(self) -> "tuple[Trial, int] | None":
        for frozen in self.trials():
            if frozen.state == self._states.RUNNING and (descriptor := self._hold(frozen.number)) is not None:
                # A trial of before, as what it was: `ask` gives new ones alone.
                return self._optuna.Trial(self._study, frozen._trial_id), descriptor
        return None

    def _new(self) -> "tuple[Trial, int] | None":
        if len(self.trials()) >= self.wanted:
            return None
        trial = self._study.ask()
        descriptor = self._hold(trial.number)
        assert descriptor is not None, "nobody else knows of it"
        return trial, descriptor

    def _hold(self, number: int) -> int | None:
        """Lock a trial until the descriptor is closed or this process ends; None where another holds it."""
        folder = self._sweep.out / "trials"
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def write_table(self, path: Path) -> None:
        """Write a line for each trial: its state, its value or what it had when it was given up, and its settings.

        Raises:
            UserError: it cannot be written.
        """
        with self._writing(), path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["trial", "state", "area_under_curve", "epochs", *self._search.space])
            for trial in self.trials():
                value = "" if trial.value is None else f"{trial.value:.6g}"
                settings = [as_text(trial.params.get(key, "")) for key in self._search.space]
                writer.writerow([name(trial.number), trial.state.name.lower(), value, trial.last_step, *settings])


def name(number: int) -> str:
    """Return what a trial is called, in its folder and in reports."""
    return f"trial_{number}"
