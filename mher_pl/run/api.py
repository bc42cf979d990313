"""A config as Python objects."""

import multiprocessing
from datetime import date
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from lightning import Trainer

from mher_pl.agent import Agent
from mher_pl.data import GoalDataModule
from mher_pl.errors import UserError, shown
from mher_pl.run.cli import MherCLI
from mher_pl.storage.settings import as_text


class Loaded(NamedTuple):
    """What a config describes, built and not yet run."""

    model: Agent
    datamodule: GoalDataModule
    trainer: Trainer


def plain(key: str, value: Any) -> Any:
    """Return a setting's value with lists and numbers in place of NumPy's; what no config holds is refused."""
    if isinstance(value, dict):
        return {name: plain(f"{key}.{name}", entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(key, entry) for entry in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if not isinstance(value, str | int | float | PurePath | date | None):
        allowed = "what a config can hold; callbacks and loggers are added to the trainer that load returns"
        raise UserError(f"{key} is {shown(value)}; allowed: {allowed}")
    return value


def load(*configs: str | Path, **overrides: Any) -> Loaded:
    """Build module, data module and trainer from config files or their names, as `fit` does: `load("fetch", "her")`.

    `overrides` are settings with their dotted keys: `**{"trainer.max_epochs": 3}`. With `ckpt_path="last"`, or a
    checkpoint's path, `trainer.fit` goes on from there as the command does.

    Raises:
        UserError: a config is missing, or a setting has a value that is not allowed; or a process that an earlier call
            started imports the script that calls.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UserError("load runs again in a process of its own; allowed: below if __name__ == '__main__' in a script")
    if not configs:
        raise UserError("load has no config; allowed: the config of a task first, such as mher_pl.load('fetch')")
    args = [word for config in configs for word in ("--config", str(config))]
    args += [f"--{key}={as_text(plain(key, value))}" for key, value in overrides.items()]
    cli = MherCLI(args, run=False)
    cli.tell_start()
    return Loaded(cli.model, cli.datamodule, cli.trainer)
