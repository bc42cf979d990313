"""The trainer's settings: which of those that Lightning knows a run can have."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from mher_pl.callbacks.evaluation import METRICS
from mher_pl.errors import UserError, require, require_int, shown
from mher_pl.memory import require_memory
from mher_pl.parallel.cluster import count_devices
from mher_pl.parallel.seeds import SeedParallelStrategy
from mher_pl.storage.folder import BEST, LAST

LEAST = {  # of whole numbers; -1 is endless
    "max_epochs": -1,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": 0,
    "num_nodes": 1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
}
NAMES = {
    "accelerator": ("auto", "cpu", "gpu", "cuda"),
    "strategy": ("auto", "ddp", SeedParallelStrategy.strategy_name),
}
SHARES = "limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches", "val_check_interval"
OTHER_METRICS = "train/", "guide/", "relabel/", "time/"  # which of them there are depends on the method
PROCESS_BYTES = 300_000_000  # of one more process that trains, libraries in memory already


def require_trainer_settings(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for trainer settings that Lightning takes and fails with later, or that no test covers."""
    for name, least in LEAST.items():
        if config[name] is not None:
            require_int(f"trainer.{name}", config[name], least)
    for name in SHARES:
        value = config[name]
        if isinstance(value, int | float):
            whole, none = isinstance(value, int) and value >= 1, value == 0 and name != "val_check_interval"
            share = "a share of an epoch up to 1.0, or a whole number of at least 1"
            require(whole or none or 0.0 < value <= 1.0, f"trainer.{name}", value, share)
    devices = config["devices"]
    for name, names in NAMES.items():
        value = config[name]
        require(not isinstance(value, str) or value in names, f"trainer.{name}", value, ", ".join(names))
    # Replay and environments hold 32-bit numbers, no gradient is scaled, and autocast would keep copies of the weights
    # for all of a training step, in which they change.
    require(config["precision"] in (None, "32-true", "32", 32), "trainer.precision", config["precision"], "32-true")
    for name, only in (("gradient_clip_val", None), ("accumulate_grad_batches", 1)):  # the agent has its own optimisers
        require(config[name] in (None, only), f"trainer.{name}", config[name], shown(only))
    if isinstance(devices, int | str) and re.fullmatch(r"\d+", str(devices)) and int(devices) > 1:
        require_memory("trainer.devices", devices, (count_devices(devices) - 1) * PROCESS_BYTES)


def require_monitors(callbacks: Sequence[Callback]) -> None:
    """Raise `UserError` if a callback of Lightning's monitors what no run logs; the user's own may log anything."""
    own = [
        callback for callback in callbacks if type(callback).__module__.split(".")[0] not in ("lightning", "mher_pl")
    ]
    for callback in callbacks if not own else []:
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in METRICS and not monitor.startswith(OTHER_METRICS):
            raise UserError(f"{name}.monitor is {shown(monitor)}; allowed: {', '.join(METRICS)}, or train/...")


def require_other_names(callbacks: Sequence[Callback]) -> None:
    """Raise `UserError` if a checkpoint callback of Lightning's would write the run's `best.ckpt` or `last.ckpt`."""
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            taken = callback.filename if callback.filename in (LAST.stem, BEST.stem) else None
            require(taken is None, "ModelCheckpoint.filename", taken, "another name, or a dirpath of its own")
            allowed = f"false, for {LAST} is there after every epoch, or a dirpath of its own"
            require(not callback.save_last, "ModelCheckpoint.save_last", callback.save_last, allowed)


def about_setting(error: Exception, config: Mapping[str, Any]) -> UserError | None:
    """Return what Lightning has against one of the trainer's settings, which it names by its name or value alone."""
    text = " ".join(str(error).split())
    words = [word.strip(".:") for word in re.findall(r"[\w./:-]+", text)]
    values = {str(value): name for name, value in config.items() if value not in (None, True, False)}
    for name in [word for word in words if word in config] + [values[word] for word in words if word in values]:
        return UserError(f"trainer.{name} is {shown(config[name])}; Lightning says: {text}")
    return None
