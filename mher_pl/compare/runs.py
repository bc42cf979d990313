"""Runs as they lie on disk: where they are, and the learning curve each of them recorded."""

import math
import re
from dataclasses import dataclass
from os import walk
from pathlib import Path
from typing import Any, NamedTuple

from mher_pl.errors import UserError, shown
from mher_pl.storage.configs import read_config
from mher_pl.storage.folder import CONFIG
from mher_pl.storage.metrics import ENDED, METRICS_FILE, Metric, read_metrics
from mher_pl.storage.settings import flatten

NEEDED = {"algorithm": str, "data.env": str, "trainer": dict, "seed_everything": int, "evaluation.episodes": int}
OPTIONAL = {"data.env_kwargs": dict, "trainer.check_val_every_n_epoch": int}  # settings that a run need not have
NAMES = {str: "a text", int: "an integer", dict: "settings"}


class IncompleteRun(Exception):
    """Why a folder does not hold one whole run, in words that follow the folder's name."""


class CurvePoint(NamedTuple):
    """One point of a learning curve."""

    epoch: int  # from 1: after the first epoch
    env_steps: int  # environment steps of training so far
    success_rate: float
    wall_s: float  # seconds of the run until this epoch's end, pauses between resumes not included


@dataclass(frozen=True)
class Run:
    """One finished run and its learning curve."""

    folder: Path
    task: str
    algorithm: str
    seed: int
    curve: list[CurvePoint]
    episodes: int  # of each evaluation
    settings: dict[str, Any]  # what it learned and was evaluated with, by dotted key
    ended: float  # Unix time of its last evaluation


def find_runs(paths: list[Path]) -> dict[Path, Path]:
    """Return the folders that hold a configuration or a table of metrics, each once, and by which of `paths`.

    A run's own subfolders belong to the run and are not searched; links are followed.

    Raises:
        UserError: one of `paths` is not a folder.
    """
    found: dict[Path, Path] = {}
    seen: set[Path] = set()  # with links resolved, which may lead to a folder twice, or in circles
    for path in paths:
        if not path.is_dir():
            raise UserError(f"RUN is {path}; allowed: an existing folder that is a run or contains runs")
        for folder, subfolders, files in walk(path, followlinks=True):
            subfolders.sort()
            resolved = Path(folder).resolve()
            if resolved in seen:
                subfolders.clear()
            elif CONFIG in files or METRICS_FILE in files:
                found[Path(folder)] = path
                subfolders.clear()
            seen.add(resolved)
    return found


def read_run(folder: Path) -> Run:
    """Read one run from its configuration and its table of metrics.

    Raises:
        IncompleteRun: it is unfinished, unreadable or lacks a part.
    """
    config = _read_config(folder)
    try:
        metrics = read_metrics(folder)
    except OSError as error:
        raise IncompleteRun(f"has an unreadable {METRICS_FILE}: {error.strerror}") from error
    curve = _curve(metrics, config["trainer"])
    return Run(
        folder=folder,
        task=task_name(config["data"]),
        algorithm=config["algorithm"],
        seed=config["seed_everything"],
        curve=curve,
        episodes=config["evaluation"]["episodes"],
        settings=dict(flatten({key: config.get(key) for key in ("data", "model", "warmup", "evaluation")})),
        ended=max(line.unix_time for line in metrics),
    )


def task_name(data: dict[str, Any]) -> str:
    """Name the task of a `data` section: its id without the namespace, and whatever else its environment was given."""
    name = re.split("[/:]", data["env"])[-1]
    changed = {key: value for key, value in (data.get("env_kwargs") or {}).items() if key != "max_episode_steps"}
    text = ", ".join(sorted(f"{key}={_plain(value)}" for key, value in changed.items()))
    return f"{name} ({text})" if text else name


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration, with every entry that a report needs present, and of the type that it needs."""
    try:
        config = read_config("its config", folder / CONFIG)
    except UserError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise IncompleteRun(f"has no {CONFIG}" if missing else f"cannot be read: {error}") from None
    for key, kind in (NEEDED | OPTIONAL).items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None and key in NEEDED:
            raise IncompleteRun(f"has no {key} in its {CONFIG}")
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise IncompleteRun(f"has {key} {shown(value)} in its {CONFIG}, which is not {NAMES[kind]}")
    return config


def curve_so_far(metrics: list[Metric]) -> list[CurvePoint]:
    """Return what there is of a run's curve; of several evaluations within an epoch the last counts."""
    seconds = {line.epoch: line.value for line in metrics if line.metric == "time/wall"}
    points = {
        line.epoch: CurvePoint(line.epoch, line.env_steps, line.value, seconds.get(line.epoch, math.nan))
        for line in metrics
        if line.metric == "eval/success_rate"
    }
    return [points[epoch] for epoch in sorted(points)]


def _curve(metrics: list[Metric], trainer: dict[str, Any]) -> list[CurvePoint]:
    """Return the curve over epochs, checked to be whole."""
    curve = curve_so_far(metrics)
    if not curve:
        raise IncompleteRun(f"has no eval/success_rate in a {METRICS_FILE}")
    max_epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch", 1) or 0  # null: by steps
    max_epochs = max_epochs if isinstance(max_epochs, int) else -1
    last, ended = curve[-1].epoch, metrics[-1].metric == ENDED
    interval = trainer.get("val_check_interval")  # 1 is after every episode, 1.0 after every epoch
    within = interval is not None and not (isinstance(interval, float) and interval == 1.0)
    whole = every > 0 and 0 < max_epochs - max_epochs % every <= last
    if not ended and (within or not whole):
        raise IncompleteRun(f"is unfinished: {last} of {max_epochs if max_epochs > 0 else 'any number of'} epochs")
    due = range(every, last + 1, every) if every > 0 else []
    missing = sorted(set(due) - {point.epoch for point in curve})
    if missing:
        raise IncompleteRun(f"has no evaluation of epoch {', '.join(map(str, missing))}")
    for point in curve:
        if not math.isfinite(point.success_rate):
            raise IncompleteRun(f"has success rate {point.success_rate} after epoch {point.epoch}")
    return curve
