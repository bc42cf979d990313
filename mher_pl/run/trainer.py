"""Lightning's trainer for a single run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from lightning import Trainer

from mher_pl.errors import Interrupted, UserError, require
from mher_pl.run.output import Output
from mher_pl.run.start import Start
from mher_pl.run.threads import cpu_threads
from mher_pl.signals import signals_given_back


class RunTrainer(Trainer):
    """A trainer that takes its CPU threads while it works alone, goes on where it was built to, and tells evaluations.

    The attributes are set by whoever builds it.
    """

    threads: int | None = None  # see `cpu_threads`
    start = Start()  # where it was built to start
    output: Output | None = None  # where it writes
    tells_interruptions = False  # whether nobody else says that a signal ended it, as in a script
    fitted = False
    evaluated: str | None = None  # the last checkpoint, not its own, whose weights an evaluation left in the module

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, from the checkpoint that it was built to start from unless another file is named.

        Raises:
            UserError: it trained before, and would throw the replay away; which run is the last was not said when it
                was built, with a folder of its own; it goes on with a run, and another file is named; its module has
                the weights of another checkpoint, which was evaluated; the checkpoint has weights alone; another
                process trains the run, or has done so meanwhile.
        """
        if self.fitted:
            raise UserError("trainer.fit is called again; allowed: once, then mher_pl.load(..., ckpt_path='last')")
        path = self._begin_with(ckpt_path)
        if self.evaluated is not None and path is None:
            raise UserError(
                f"trainer.fit is called with the weights of {self.evaluated}, which was evaluated; allowed: with "
                "another mher_pl.load(...)"
            )
        if self.start.resumed and os.path.realpath(path) != os.path.realpath(str(self.start.checkpoint)):
            allowed = (
                f"none here, for the run goes on from {self.start.checkpoint}, or mher_pl.load(..., ckpt_path=FILE)"
            )
            raise UserError(f"ckpt_path is {str(path)!r}; allowed: {allowed}")
        if self.start.weights_alone and str(path) == str(self.start.checkpoint):
            whole = "a checkpoint with the states of optimisers, where this one has weights alone"
            raise UserError(f"ckpt_path is {str(path)!r}; allowed: {whole}")
        with nullcontext() if self.output is None else self.output.held(), self._taken():
            self.fitted = True
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, path, weights_only)

    def validate(
        self, model: Any = None, dataloaders: Any = None, ckpt_path: Any = None, *args: Any, **kwargs: Any
    ) -> list[dict[str, float]]:
        """Repeat the evaluation of an epoch and return its means; before `fit` that of the checkpoint it starts from.

        Raises:
            UserError: which run is the last was not said when the trainer was built.
        """
        with self._taken():
            super().validate(model, dataloaders, self._begin_with(ckpt_path), *args, **kwargs)
        return [self._evaluated()]

    def test(
        self, model: Any = None, dataloaders: Any = None, ckpt_path: Any = None, *args: Any, **kwargs: Any
    ) -> list[dict[str, float]]:
        """Evaluate on episodes of `test`'s own and return the means, of the same weights as `validate`.

        Raises:
            UserError: which run is the last was not said when the trainer was built.
        """
        with self._taken():
            super().test(model, dataloaders, self._begin_with(ckpt_path), *args, **kwargs)
        return [self._evaluated()]

    def _begin_with(self, ckpt_path: Any) -> Any:
        """Return the checkpoint to read, before `fit` where none is named the one that it was built to start from."""
        if self.fitted or ckpt_path not in (None, "last"):
            self.evaluated = ckpt_path
            return ckpt_path
        asked = ckpt_path is None or self.start.asked
        require(asked, "ckpt_path", ckpt_path, "a file, or mher_pl.load(..., ckpt_path='last')")
        return self.start.checkpoint

    def _evaluated(self) -> dict[str, float]:
        # Lightning returns what goes to the loggers, which count environment steps and not as Lightning does.
        return {name: value.item() for name, value in self.callback_metrics.items() if name.startswith("eval/")}

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """Take threads and signals, and give them back; say what a signal ended."""
        with cpu_threads(self.threads, self.num_devices), signals_given_back():
            try:
                yield
            except Interrupted as interruption:
                if self.tells_interruptions:
                    print(interruption.message, file=sys.stderr)
                raise
