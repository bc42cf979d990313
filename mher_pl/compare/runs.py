"""Runs as they lie on disk: where they are, and the learning curve each of them recorded."""

import math
import re
from dataclasses import dataclass
from os import walk
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mher_pl.errors import UserError
from mher_pl.storage.settings import flatten

CONFIG_FILE = "config.yaml"
EVENT_FILES = "events.out.tfevents.*"
SUCCESS_TAG = "eval/success_rate"


class IncompleteRun(Exception):
    """Why a folder does not hold one whole run, in words that follow the folder's name."""


class CurvePoint(NamedTuple):
    """One point of a learning curve."""

    epoch: int  # from 1: after the first epoch
    env_steps: int  # environment steps of training so far
    success_rate: float
    wall_s: float  # seconds of training until this evaluation, start-up included, pauses between resumes not


@dataclass(frozen=True)
class Run:
    """One finished run and its learning curve."""

    folder: Path
    task: str
    algorithm: str
    seed: int
    curve: list[CurvePoint]
    settings: dict[str, Any]  # what it learned and was evaluated with, by dotted key
    ended: float  # Unix time of its last evaluation


def find_runs(paths: list[Path]) -> list[Path]:
    """Return the folders at or below `paths` that hold a configuration or event files, each once.

    A run's own subfolders belong to the run and are not searched.

    Raises:
        UserError: one of `paths` is not a folder.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"RUN is {path}; allowed: an existing folder that is a run or contains runs")
        for folder, subfolders, files in walk(path):
            subfolders.sort()
            if CONFIG_FILE in files or any(Path(file).match(EVENT_FILES) for file in files):
                found.setdefault(Path(folder).resolve(), Path(folder))
                subfolders.clear()
    return list(found.values())


def read_run(folder: Path) -> Run:
    """Read one run from its configuration and its TensorBoard events.

    Raises:
        IncompleteRun: it is unfinished, unreadable or lacks a part.
    """
    config = _read_config(folder)
    points = _read_points(folder)
    curve = _number_epochs(points, config["trainer"])
    return Run(
        folder=folder,
        task=task_name(config["data"]),
        algorithm=str(config["algorithm"]),
        seed=int(config["seed_everything"]),
        curve=curve,
        settings=dict(flatten({key: config.get(key) for key in ("data", "model", "warmup", "evaluation")})),
        ended=max(point.wall_time for point in points.values()),
    )


def task_name(data: dict[str, Any]) -> str:
    """Name the task of a `data` section: its id without the namespace, and whatever else its environment was given."""
    name = re.split("[/:]", data["env"])[-1]
    changed = {key: value for key, value in (data.get("env_kwargs") or {}).items() if key != "max_episode_steps"}
    text = ", ".join(f"{key}={_plain(value)}" for key, value in sorted(changed.items()))
    return f"{name} ({text})" if text else name


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration, with every entry that a report needs present."""
    try:
        config = yaml.safe_load((folder / CONFIG_FILE).read_text())
    except FileNotFoundError:
        raise IncompleteRun(f"has no {CONFIG_FILE}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise IncompleteRun(f"has an unreadable {CONFIG_FILE}: {' '.join(str(error).split())[:120]}") from error
    for key in ("algorithm", "seed_everything", "data.env", "trainer.max_epochs"):
        value = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise IncompleteRun(f"has no {key} in its {CONFIG_FILE}")
        if key in ("seed_everything", "trainer.max_epochs") and (isinstance(value, bool) or not isinstance(value, int)):
            raise IncompleteRun(f"has {key} {value!r} in its {CONFIG_FILE}, which is not an integer")
    if config["trainer"]["max_epochs"] < 1:
        raise IncompleteRun("has no end: its trainer.max_epochs is below 1")
    return config


class _Point(NamedTuple):
    success_rate: float
    wall_s: float
    wall_time: float  # Unix time
    epoch: float | None  # as logged, from 0


def _read_points(folder: Path) -> dict[int, _Point]:
    """Read every evaluation, keyed by environment steps, from the event files of all sessions of the run."""
    # TensorBoard takes a second to import: only where events are read.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sessions = []
    for path in folder.glob(EVENT_FILES):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False)
        try:
            events.Reload()
            sessions.append((events.FirstEventTimestamp(), events))
        except Exception:  # a foreign or damaged file: whatever its parser raises, its points are missing
            continue
    if not sessions:
        raise IncompleteRun("has no readable TensorBoard events")

    points: dict[int, _Point] = {}
    for start, events in sorted(sessions, key=lambda session: session[0]):
        tags = events.Tags()["scalars"]
        if SUCCESS_TAG not in tags:
            continue
        epochs = {event.step: event.value for event in events.Scalars("epoch")} if "epoch" in tags else {}
        # The table of hyperparameters writes a success rate at step 0, without an epoch: no evaluation.
        scalars = [
            event for event in events.Scalars(SUCCESS_TAG) if event.step in epochs or (event.step and not epochs)
        ]
        if not scalars:
            continue
        # A session that went on from a checkpoint replaces whatever an earlier one recorded after that checkpoint.
        points = {step: point for step, point in points.items() if step < scalars[0].step}
        before = max((point.wall_s for point in points.values()), default=0.0)
        for event in scalars:
            wall_s = before + event.wall_time - start
            points[event.step] = _Point(event.value, wall_s, event.wall_time, epochs.get(event.step))
    if not points:
        raise IncompleteRun(f"has no {SUCCESS_TAG} in its TensorBoard events")
    return dict(sorted(points.items()))


def _number_epochs(points: dict[int, _Point], trainer: dict[str, Any]) -> list[CurvePoint]:
    """Turn the points into a curve over epochs from 1, and check that it is whole.

    The logged epoch counts where every point has one; otherwise the evaluations are numbered in their order.
    """
    max_epochs, every = trainer["max_epochs"], trainer.get("check_val_every_n_epoch") or 1
    expected = list(range(every, max_epochs + 1, every))
    epochs = [round(point.epoch) + 1 for point in points.values() if point.epoch is not None]
    if len(set(epochs)) < len(points):
        epochs = [every * number for number in range(1, len(points) + 1)]
    curve = [
        CurvePoint(epoch, steps, point.success_rate, point.wall_s)
        for epoch, (steps, point) in zip(epochs, points.items(), strict=True)
    ]
    if curve[-1].epoch < expected[-1]:
        raise IncompleteRun(f"is unfinished: {curve[-1].epoch} of {max_epochs} epochs")
    missing = sorted(set(expected) - set(epochs))
    if missing:
        raise IncompleteRun(f"has no evaluation of epoch {', '.join(map(str, missing))}")
    for point in curve:
        if not math.isfinite(point.success_rate):
            raise IncompleteRun(f"has success rate {point.success_rate} after epoch {point.epoch}")
    return curve
