"""Memory and speed of a million environment steps of Point2D, with a replay that wraps ten times; then a resume.

    python benchmarks/long_run.py

The run is copied five epochs before its end and the copy goes on: what both end with must be the same, bit for bit.
Speed is in seconds of the processor, which a busy machine lengthens little. It takes 25 minutes of a core; after an
interruption the same command goes on, in `build/long_run`. Writes `benchmarks/results/long_run.json`, `.md` and `.png`.
"""

import csv
import shutil
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from lightning import Callback, Trainer
from matplotlib.figure import Figure
from output import Report

from mher_pl.__main__ import main as program
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import LAST

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "long_run.json"
EPOCHS, BEFORE_THE_END = 100, 5
SETTINGS = {
    "data.capacity": 100_000,
    "data.episodes_per_epoch": 100,  # 10,000 environment steps
    "evaluation.episodes": 5,
    "relabel_goals.every_n_epochs": 0,
    "trainer.callbacks": "long_run.Usage",
}


class Usage(Callback):
    """Notes what every epoch has taken, and copies the run's folder before the end."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin to count the processor's time."""
        self.seconds = time.process_time()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Note, and copy what the epochs so far have left; a checkpoint is written beside the epoch after it."""
        folder = Path(str(trainer.log_dir))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        before, self.seconds = self.seconds, time.process_time()
        with (folder / "usage.csv").open("a") as file:
            file.write(f"{trainer.current_epoch},{pages * 4096 / 2**20:.1f},{self.seconds - before:.2f}\n")
        if trainer.current_epoch == EPOCHS - BEFORE_THE_END + 1 and "parts" not in folder.parts:
            copy = Path(*[part if part != "whole" else "parts" for part in folder.parts])
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.part"), dirs_exist_ok=True)


def fit(root: Path) -> Path:
    """Begin a run in this process, or go on with it, and return its folder."""
    folders = list(root.glob("*/*/seed_0"))
    if not any(read_checkpoint(folder / LAST)["epoch"] == EPOCHS - 1 for folder in folders if (folder / LAST).exists()):
        settings = SETTINGS | {"trainer.max_epochs": EPOCHS, "trainer.default_root_dir": root, "ckpt_path": "last"}
        if program(["fit", "--config", "point2d", *(f"--{key}={value}" for key, value in settings.items())]) != 0:
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
    folder = ROOT / "build" / "long_run"
    whole, parts = fit(folder / "whole"), fit(folder / "parts")
    first, second = (read_checkpoint(run / LAST) for run in (whole, parts))
    equal = {key: same(first[key], second[key]) for key in ("state_dict", "optimizer_states", "GoalDataModule")}
    noted = reversed(list(csv.reader((whole / "usage.csv").open())))  # an epoch that was begun twice counts once
    usage = {int(epoch): (float(mebibytes), float(seconds)) for epoch, mebibytes, seconds in noted}
    epochs = sorted(usage)[1:]  # at the start of the first none has gone by
    memory, seconds = ([usage[epoch][index] for epoch in epochs] for index in (0, 1))
    rows = {
        name: {"memory, MiB": mean(memory[part]), "processor seconds an epoch": mean(seconds[part])}
        for name, part in {"first tenth": slice(10), "last tenth": slice(-10, None)}.items()
    }
    report.values |= {"memory_mb": memory, "seconds_an_epoch": seconds, "resumed_is_equal": equal}
    report.table("A million environment steps of Point2D, replay of 100,000.", "", rows)
    words = {key: "yes" if value else "no" for key, value in equal.items()}
    report.table("Resumed five epochs before the end, against uninterrupted.", "", {"equal": words})
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, values, name in zip(figure.subplots(1, 2), (memory, seconds), rows["first tenth"], strict=True):
        axes.plot([epoch / EPOCHS for epoch in epochs], values, color="#0072B2")
        axes.set(xlabel="environment steps, millions", ylabel=name, ylim=(0, 1.2 * max(values)))
        axes.grid(alpha=0.25)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=150)
    report.write()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
