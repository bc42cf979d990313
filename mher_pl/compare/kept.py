"""The table of kept runs: the success rates of many runs, small enough for a repository."""

import csv
import fcntl
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import nan
from pathlib import Path

from mher_pl.compare.runs import CurvePoint
from mher_pl.errors import UserError

FIELDS = ("task", "algorithm", "seed", "epoch", "env_steps", "metric", "value")
METRIC = "eval/success_rate"

KeptRuns = dict[str, list[CurvePoint]]  # by the name of a cell, `task/algorithm/seed_0`


def read_kept(path: Path) -> KeptRuns:
    """Read a table; one that does not exist holds no run.

    Raises:
        UserError: it is no such table.
    """
    curves: dict[str, list[CurvePoint]] = defaultdict(list)
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] == METRIC:
                    task, algorithm, seed = row["task"], row["algorithm"], int(row["seed"])
                    if not task or not algorithm or "/" in task + algorithm:
                        raise ValueError(f"task {task!r} and algorithm {algorithm!r}, which name no cell")
                    point = CurvePoint(int(row["epoch"]), int(row["env_steps"]), float(row["value"]), nan)
                    curves[f"{task}/{algorithm}/seed_{seed}"].append(point)
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"--kept is {path} ({reason}); allowed: a CSV file, with columns {', '.join(FIELDS)}") from None
    return dict(curves)


def add_kept(path: Path, curves: KeptRuns) -> None:
    """Add runs to a table, in the place of those that it has of the same cells; other sweeps may add at the same time.

    Raises:
        UserError: it cannot be written, or is no such table.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _write(path, read_kept(path) | curves)
    except OSError as error:
        raise UserError(f"--kept is {path} ({error.strerror}); allowed: a file that can be written") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same table."""
    # A file of its own: the table is replaced, and of folders NFS keeps no locks between machines.
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, curves: KeptRuns) -> None:
    """Write a table, sorted, so that a run more is some lines more."""
    keys = {name: name.split("/") for name in curves}
    names = sorted(keys, key=lambda name: (*keys[name][:2], int(keys[name][2].removeprefix("seed_"))))
    part = path.with_name(f".{path.name}.part")  # takes the table's place once it is whole
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for name in names:
            task, algorithm, seed = keys[name]
            for point in curves[name]:
                place = (task, algorithm, seed.removeprefix("seed_"), point.epoch, point.env_steps)
                writer.writerow([*place, METRIC, f"{point.success_rate:.6g}"])
    part.replace(path)
