"""Success of MHER on four rooms (b = 4) after each of the first epochs, by the length n of the virtual paths.

    python benchmarks/virtual_steps.py [--seeds 32] [--out benchmarks/results/virtual_steps.json]

Beside it stand policies that know the dynamics and go straight at the goal, at most so far in a step: what can be
reached without learning the walls.
"""

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from lightning import Callback, LightningModule, Trainer
from output import Report

from mher_pl.envs import make_vec
from mher_pl.envs.batch import CORES
from mher_pl.run.api import load

ROOT = Path(__file__).parents[1]
STEPS = 0, 1, 2, 3, 5, 8
FIRST_SEED = 1000  # not among those that the curves of docs/results.md are made with
EPOCHS = 5
EPISODES = 200  # of each evaluation
STRIDES = 0.1, 0.3, 1.0


class Curve(Callback):
    """Keeps the success rate after each epoch."""

    def __init__(self) -> None:
        self.success: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep one."""
        self.success.append(float(trainer.callback_metrics["eval/success_rate"]))


def learn(steps: int, seed: int) -> list[float]:
    """Return the success rates of a run."""
    curve = Curve()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "seed_everything": seed,
            "data.env_kwargs.boundary_dist": 4.0,
            "model.init_args.relabel.init_args.steps": steps,
            "evaluation.episodes": EPISODES,
            "relabel_goals.every_n_epochs": 0,
            "trainer.max_epochs": EPOCHS,
            "trainer.enable_progress_bar": False,
            "trainer.enable_checkpointing": False,
            "trainer.logger": False,
            "trainer.default_root_dir": folder,
        }
        run = load(ROOT / "configs" / "four_room.yaml", **settings)
        run.trainer.callbacks.append(curve)
        run.trainer.fit(run.model, run.datamodule)
    return curve.success


def straight(stride: float) -> float:
    """Return the success rate of going straight at the goal."""
    env = make_vec("mher_pl/Point2DFourRoom-v1", num_envs=10_000, boundary_dist=4.0)
    observation, _ = env.reset(seed=0)
    for _ in range(100):
        way = observation["desired_goal"] - observation["achieved_goal"]
        distance = np.linalg.norm(way, axis=-1, keepdims=True).clip(1e-9)
        action = way / distance * np.minimum(distance, stride)
        observation, reward, *_ = env.step(action.astype(np.float32))
    return float((reward == 0.0).mean())


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "virtual_steps.json")
    options = parser.parse_args()
    report = Report(options.out, seeds=options.seeds, first_seed=FIRST_SEED)
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    with ProcessPoolExecutor(CORES, get_context("spawn")) as processes:
        curves = {steps: np.array(list(processes.map(partial(learn, steps), seeds))) for steps in STEPS}
    report.values["curves"] = {steps: curve.tolist() for steps, curve in curves.items()}
    report.values["straight"] = {stride: straight(stride) for stride in STRIDES}
    rows = {
        f"{steps}": {f"epoch {epoch + 1}": float(curve[:, epoch].mean()) for epoch in range(EPOCHS)}
        | {
            f"median of epoch {EPOCHS}": float(np.median(curve[:, -1])),
            "standard error": float(curve[:, -1].std(ddof=1) / np.sqrt(len(curve))),
        }
        for steps, curve in curves.items()
    }
    report.table(f"Mean success over {options.seeds} seeds on four rooms (b = 4), by virtual steps.", "n", rows)
    rows = {f"{stride:g}": {"success": success} for stride, success in report.values["straight"].items()}
    report.table("Going straight at the goal, the walls unknown.", "longest step", rows)
    report.write()


if __name__ == "__main__":
    main()
