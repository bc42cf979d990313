"""Checks the settings of many fits in one process, which builds each and trains none: a line of arguments each."""

import json
import os
import sys
import tempfile
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, Timer

from mher_pl.errors import UserError, reason_of, require
from mher_pl.run.cli import MherCLI
from mher_pl.run.messages import quiet

# Where a fit runs is not for the machine that checks to judge.
HERE = {"trainer.accelerator": "cpu", "trainer.devices": 1, "trainer.num_nodes": 1}


def main() -> None:
    """Read the arguments of a `fit` from each line of the input, a JSON list; answer each by a line, empty if good."""
    quiet()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an environment prints, also from C, is no answer
    with tempfile.TemporaryDirectory() as folder:
        here = [f"--{key}={value}" for key, value in (HERE | {"trainer.default_root_dir": folder}).items()]
        for line in sys.stdin:
            reason = ""
            try:
                require_evaluations(MherCLI([*json.loads(line), *here], run=False).trainer)
            except UserError as error:
                reason = str(error)
            except Exception as error:
                reason = reason_of(error)
            print(" ".join(reason.split()), file=answers, flush=True)


def require_evaluations(trainer: Any) -> None:
    """Raise `UserError` if a run would not end, or without a curve."""
    require(not trainer.fast_dev_run, "trainer.fast_dev_run", trainer.fast_dev_run, "false where runs are compared")
    evaluated = "more than 0 where runs are compared"
    for name in ("limit_train_batches", "limit_val_batches"):
        require(getattr(trainer, name) != 0, f"trainer.{name}", getattr(trainer, name), evaluated)
    every, epochs = trainer.check_val_every_n_epoch, -1 if trainer.max_epochs is None else trainer.max_epochs
    by_itself = any(isinstance(callback, Timer | EarlyStopping) for callback in trainer.callbacks)  # Timer: `max_time`
    ends = epochs > 0 or (epochs != 0 and (by_itself or trainer.max_steps > 0))
    require(ends, "trainer.max_epochs", epochs, "more than 0, or max_steps or max_time, where runs are compared")
    if every is not None and epochs > 0:
        require(every <= epochs, "trainer.check_val_every_n_epoch", every, f"at most max_epochs, {epochs}")


if __name__ == "__main__":
    main()
