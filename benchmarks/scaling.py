"""How cost grows with batch size, replay, batched environments, ensemble and length of the virtual path.

python benchmarks/scaling.py
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from output import Report
from tensordict import TensorDict
from updates import Learner

from mher_pl.data.replay import EpisodeReplay
from mher_pl.envs import make_vec
from mher_pl.sampler import Uniform

HORIZON = 100
SIZES = {
    "batch size": (64, 128, 256, 512, 1024, 2048, 4096),
    "transitions in the replay": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "environments in a batch": (1, 4, 16, 64, 256),
    "ensemble members": (1, 2, 4, 8),
    "virtual steps n": (0, 1, 2, 5, 10, 20),
}


def milliseconds(functions: dict[int, Callable[[], Any]], budget: float) -> list[float]:
    """Call the functions in turns for `budget` seconds, thrice at least, and return each one's median."""
    seconds: dict[int, list[float]] = {size: [] for size in functions}
    end, rounds = time.perf_counter() + budget, -1  # the first calls are slower and not counted
    while rounds < 3 or time.perf_counter() < end:
        for size, function in functions.items():
            function()  # the one before, of another size, has left the caches cold
            start = time.perf_counter()
            function()
            if rounds >= 0:
                seconds[size].append(time.perf_counter() - start)
        rounds += 1
    return [1e3 * median(values) for values in seconds.values()]


def learner(folder: str, **more: Any) -> Learner:
    """Return MHER on Point2D, whose episodes are collected in no time."""
    settings = {
        "trainer.max_epochs": 1,
        "trainer.enable_progress_bar": False,
        "trainer.default_root_dir": folder,
        "warmup.episodes": 2,
        "warmup.updates": 1,
        "evaluation.episodes": 1,
    }
    return Learner("mher", settings | more, task="point2d")


def batch_sizes(folder: str) -> Iterator[tuple[int, Callable]]:
    """Yield an update at every batch size."""
    mher = learner(folder)

    def update(size: int) -> None:
        mher.data.batch_size = size
        mher.update()

    for size in SIZES["batch size"]:
        yield size, lambda size=size: update(size)


def virtual_steps(folder: str) -> Iterator[tuple[int, Callable]]:
    """Yield an update at every length of the virtual path."""
    mher = learner(folder)

    def update(steps: int) -> None:
        mher.agent.relabel.steps = steps
        mher.update()

    for steps in SIZES["virtual steps n"]:
        yield steps, lambda steps=steps: update(steps)


def ensembles(folder: str) -> Iterator[tuple[int, Callable]]:
    """Yield an update with every number of members."""
    for members in SIZES["ensemble members"]:
        yield members, learner(folder, **{"model.init_args.dynamics.init_args.members": members}).update


def replays() -> Iterator[tuple[int, Callable]]:
    """Yield the sampling of 64 transitions from replays of every size, filled with FetchReach's shapes."""
    for size in SIZES["transitions in the replay"]:
        replay = EpisodeReplay(size, HORIZON, Uniform(), seed=0)
        episodes = size // HORIZON
        filling = TensorDict(
            {
                "observation": torch.randn(episodes, HORIZON + 1, 10),
                "achieved_goal": torch.randn(episodes, HORIZON + 1, 3),
                "desired_goal": torch.randn(episodes, HORIZON, 3),
                "action": torch.randn(episodes, HORIZON, 4),
                "length": torch.full((episodes,), HORIZON),
                "failed": torch.zeros(episodes, dtype=torch.bool),
            },
            batch_size=[episodes],
        )
        for episode in filling:
            replay.add(episode)
        yield size, lambda replay=replay: replay.sample(64)


def batches(task: str) -> Iterator[tuple[int, Callable]]:
    """Yield the step of a batch of every size."""
    for size in SIZES["environments in a batch"]:
        env = make_vec(task, num_envs=size, max_episode_steps=100_000)
        env.reset(seed=0)
        actions = np.random.default_rng(0).uniform(-1, 1, env.action_space.shape).astype(np.float32)
        yield size, lambda env=env, actions=actions: env.step(actions)


def draw(curves: dict[str, dict[str, list[float]]]) -> Figure:
    """Draw one panel for each quantity that grows."""
    figure = Figure(figsize=(15, 3.4), dpi=100, layout="constrained")
    for axes, (quantity, lines) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        for label, values in lines.items():
            axes.plot(SIZES[quantity], values, "o-", markersize=4, label=label)
        axes.set(xlabel=quantity, ylabel="ms", xscale="log" if max(SIZES[quantity]) > 50 else "linear")
        if quantity in ("batch size", "environments in a batch"):
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.5 * max(values))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing per curve")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report(args.out / "scaling.json", sizes=SIZES)
    with tempfile.TemporaryDirectory() as folder:
        curves = {
            "batch size": {"update": batch_sizes(folder)},
            "transitions in the replay": {"sampling 64": replays()},
            "environments in a batch": {
                "step, FetchReach": batches("FetchReach-v4"),
                "step, Point2D": batches("mher_pl/Point2DLarge-v1"),
            },
            "ensemble members": {"update": ensembles(folder)},
            "virtual steps n": {"update": virtual_steps(folder)},
        }
        curves = {
            quantity: {label: milliseconds(dict(functions), args.seconds) for label, functions in lines.items()}
            for quantity, lines in curves.items()
        }
    for quantity, lines in curves.items():
        for label, values in lines.items():
            cells = (f"{size:,}: {value:.3g}" for size, value in zip(SIZES[quantity], values, strict=True))
            print(f"{quantity}, ms of {label}: " + "; ".join(cells))
    report.values["milliseconds"] = curves
    report.write()
    draw(curves).savefig(args.out / "scaling.png")


if __name__ == "__main__":
    main()
