"""The paper's Figure 4: the goals that HER, CHER and MHER relabel an episode with, early and late in training.

    python benchmarks/figure_04.py [--tasks point2d reacher]

trains each method once and draws the last episode of an early and of the last epoch, with the mean distance of the new
goals to the episode's own. It goes on from what an earlier call has drawn (figure_04.json).
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from matplotlib.figure import Figure

from mher_pl.agent import Agent
from mher_pl.callbacks.goal_picture import coordinates
from mher_pl.data import data_of
from mher_pl.run.api import load

OUT = Path(__file__).parents[1] / "benchmarks" / "results" / "paper"
METHODS = "her", "cher", "mher"
EPOCHS = {"point2d": (1, 30), "reacher": (3, 30)}  # what is early depends on how long a task takes
EXTENT = {"point2d": 5.2, "reacher": 0.23}  # half the side of a picture
SEED = 0


class Relabelled(Callback):
    """Keeps the last episode of some epochs, and what it is relabelled with."""

    def __init__(self, epochs: tuple[int, ...]) -> None:
        self.epochs = epochs
        self.pictures: dict[int, dict[str, Any]] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Keep one."""
        epoch = trainer.current_epoch + 1
        if epoch not in self.epochs or pl_module.relabel is None:
            return
        batch = data_of(trainer).replay.last_episode(torch.Generator().manual_seed(epoch))
        relabelled = pl_module.relabel(batch, pl_module, torch.Generator().manual_seed(epoch))
        path = torch.cat([batch["achieved_goal"][:1], batch["next", "achieved_goal"]])
        self.pictures[epoch] = {
            "path": coordinates(path).round(4).tolist(),
            "own": coordinates(batch["desired_goal"][:1]).round(4).tolist(),
            "new": coordinates(relabelled["imitation_goal"][relabelled["relabelled"]]).round(4).tolist(),
        }


def train(task: str, method: str) -> dict[int, dict[str, Any]]:
    """Return what is drawn of a run, by epoch."""
    kept = Relabelled(EPOCHS[task])
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "seed_everything": SEED,
            "evaluation.episodes": 1,
            "relabel_goals.every_n_epochs": 0,
            "trainer.max_epochs": max(EPOCHS[task]),
            "trainer.enable_progress_bar": False,
            "trainer.enable_checkpointing": False,
            "trainer.default_root_dir": folder,
        }
        run = load(task, method, **settings)
        run.trainer.callbacks.append(kept)
        run.trainer.fit(run.model, run.datamodule)
    return kept.pictures


def draw(pictures: dict[str, Any]) -> Figure:
    """Draw a row for each task and epoch, a column for each method."""
    rows = [(task, str(epoch)) for task in EPOCHS if task in pictures for epoch in EPOCHS[task]]
    figure = Figure(figsize=(2.6 * len(METHODS), 2.8 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(METHODS), squeeze=False)
    for (task, epoch), row in zip(rows, axes, strict=True):
        for method, panel in zip(METHODS, row, strict=True):
            picture = pictures[task][method][epoch]
            extent = EXTENT[task]
            distance = np.linalg.norm(np.subtract(picture["new"], picture["own"]), axis=1).mean()
            panel.plot(*zip(*picture["path"], strict=True), ".-", color="tab:blue", linewidth=0.7, markersize=3)
            panel.plot(*zip(*picture["new"], strict=True), "o", color="gold", markersize=3.5, markeredgecolor="0.4")
            panel.plot(*zip(*picture["own"], strict=True), "*", color="tab:red", markersize=13, markeredgecolor="white")
            panel.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
            panel.set_title(f"{method}, {task}, epoch {epoch}\nmean distance {distance:.2g}", fontsize=8)
    figure.supxlabel("blue: achieved; star: the episode's goal; yellow: relabelled goals", fontsize="small")
    return figure


def main() -> None:
    """Train what is missing, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    options = parser.parse_args()
    path = OUT / "figure_04.json"
    pictures = json.loads(path.read_text()) if path.is_file() else {}
    for task in options.tasks:
        for method in METHODS:
            if method not in pictures.get(task, {}):
                pictures.setdefault(task, {})[method] = {str(key): value for key, value in train(task, method).items()}
        path.write_text(json.dumps(pictures) + "\n")
    draw({task: drawn for task, drawn in pictures.items() if len(drawn) == len(METHODS)}).savefig(
        OUT / "figure_04.png", dpi=150
    )


if __name__ == "__main__":
    main()
