"""Memory and speed of a million environment steps of Point2D, with a replay that wraps ten times; then a resume.

    python benchmarks/long_run.py

The run is copied five epochs before its end and the copy goes on: what both end with must be the same, bit for bit.
Writes `benchmarks/results/long_run.json` and `.png`. About a quarter of an hour.
"""

import csv
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from matplotlib.figure import Figure
from output import Report

from mher_pl.__main__ import main as program
from mher_pl.storage.checkpoint import read_checkpoint

RESULTS = Path(__file__).resolve().parent / "results" / "long_run.json"
EPOCHS, BEFORE_THE_END = 100, 5
SETTINGS = {
    "data.capacity": 100_000,
    "data.episodes_per_epoch": 100,  # 10,000 environment steps
    "evaluation.episodes": 5,
    "relabel_goals.every_n_epochs": 0,
    "trainer.callbacks": "long_run.Memory",
}


class Memory(Callback):
    """Notes the resident memory after every epoch, and copies the run's folder before the end."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Note, and copy what the epochs so far have left; a checkpoint is written beside the epoch after it."""
        folder = Path(str(trainer.log_dir))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        with (folder / "memory.csv").open("a") as file:
            file.write(f"{trainer.current_epoch},{pages * 4096 / 2**20:.1f}\n")
        if trainer.current_epoch == EPOCHS - BEFORE_THE_END + 1 and "parts" not in folder.parts:
            copy = Path(*[part if part != "whole" else "parts" for part in folder.parts])
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.part"))


def fit(root: Path, *more: str) -> Path:
    """Run the program in this process and return the run's folder."""
    settings = SETTINGS | {"trainer.max_epochs": EPOCHS, "trainer.default_root_dir": root}
    words = [f"--{key}={value}" for key, value in settings.items()]
    if program(["fit", "--config", "point2d", *words, *more]) != 0:
        sys.exit("the run failed")
    (folder,) = root.glob("*/*/seed_0")
    return folder


def same(first: Any, second: Any) -> bool:
    """Tell whether two checkpoints hold the same, times apart."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def main() -> None:
    """Run, resume, compare, draw and write."""
    report = Report(RESULTS)
    with tempfile.TemporaryDirectory() as folder:
        whole = fit(Path(folder) / "whole")
        parts = fit(Path(folder) / "parts", "--ckpt_path=last")
        first, second = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (whole, parts))
        equal = {key: same(first[key], second[key]) for key in ("state_dict", "optimizer_states", "GoalDataModule")}
        memory = [float(row[1]) for row in csv.reader((whole / "memory.csv").open())][1:]
        times = [row for row in csv.DictReader((whole / "metrics.csv").open()) if row["metric"] == "time/wall"]
    steps, wall = ([float(row[key]) for row in times] for key in ("env_steps", "value"))
    seconds = [after - before for before, after in pairwise(wall)]  # of an epoch
    tenths = {
        "first tenth": (memory[len(memory) // 10], sum(seconds[:10]) / 10),
        "last tenth": (memory[-1], sum(seconds[-10:]) / 10),
    }
    rows = {name: {"memory, MiB": mebibytes, "seconds an epoch": taken} for name, (mebibytes, taken) in tenths.items()}
    report.values |= {"memory_mb": memory, "seconds_an_epoch": seconds, "resumed_is_equal": equal}
    report.table("A million environment steps of Point2D, replay of 100,000.", "", rows)
    report.table("Resumed five epochs before the end, against uninterrupted.", "equal", {"": equal})
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, values, name in zip(figure.subplots(1, 2), (memory, seconds), rows["first tenth"], strict=True):
        axes.plot(steps[-len(values) :], values, color="#0072B2")
        axes.set(xlabel="environment steps", ylabel=name, ylim=(0, 1.2 * max(values)))
        axes.grid(alpha=0.25)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=150)
    report.write()


if __name__ == "__main__":
    main()
