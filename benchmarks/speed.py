"""Where the time goes: epochs, updates, environment steps, start-up, memory, beside the floors they cannot go below.

What is compared is timed in turns within this one run, and medians are printed, so that a busy machine slows both sides
alike. Results are written as JSON, the hardware named.

    python benchmarks/speed.py [--quick]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import envs
import gymnasium
import lightning
import mujoco
import numpy as np
import torch
import torchrl
from processes import start_up, whole_fit
from updates import BareUpdate, Learner, on_cuda, peer

from callbacks import Evaluation, RelabelGoalLogger, RunCheckpoint
from mher_pl.cli import load, quiet
from mher_pl.collect import EpisodeCollector, SeededEpisodes
from mher_pl.data import GoalDataModule
from mher_pl.envs import make, make_vec
from mher_pl.evaluate import rollout
from mher_pl.mher import MHER
from mher_pl.replay import EpisodeReplay

ROOT = Path(__file__).parent.parent
TASKS = "point2d", "four_room", "reacher", "sawyer", "fetch"
TARGETS = {  # name: limit, and whether the value must stay below it
    "fetch fit / physics floor": (1.5, True),
    "fetch evaluation / physics floor": (1.25, True),
    "MHER updates / bare products": (0.5, False),
    "collector adds, ms a step": (0.25, True),
    "Lightning adds, ms an update": (0.5, True),
    "point2d fit, s": (15.0, True),
    "--help, s": (2.0, True),
    "start to first step, s": (6.0, True),
}


def in_turns(budget: float, **functions: Callable[[], Any]) -> dict[str, float]:
    """Call the functions in turns for `budget` seconds, thrice at least, and return the median seconds of each."""
    seconds = defaultdict(list)
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(next(iter(seconds.values()))) < 3:
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def epoch_split(task: str, epochs: int) -> dict[str, float]:
    """Return median milliseconds of an epoch in each part of `fit`; `lightning` is what no other part took."""
    spent: dict[str, float] = defaultdict(float)
    rows = []
    parts = [
        ("collect", GoalDataModule, "collect"),
        ("update", MHER, "training_step"),
        ("sample", EpisodeReplay, "sample"),
        ("evaluate", Evaluation, "on_validation_epoch_end"),
        ("log", GoalDataModule, "log_metrics"),
        ("log", RelabelGoalLogger, "on_train_epoch_end"),
        ("checkpoint", RunCheckpoint, "on_train_epoch_end"),
    ]

    def timed(part: str, method: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            inside, start = sum(spent.values()), time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                inside = sum(spent.values()) - inside  # parts that this one called, which count for themselves
                spent[part] += time.perf_counter() - start - inside

        return call

    class Epochs(lightning.Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            now = time.perf_counter()
            if trainer.current_epoch > 0:  # an epoch's checkpoint comes last, so look at the next start
                rows.append(dict(spent) | {"total": now - self.start})
            spent.clear()
            self.start = now

    methods = [(owner, name, getattr(owner, name)) for _, owner, name in parts]
    for (part, owner, name), (*_, method) in zip(parts, methods, strict=True):
        setattr(owner, name, timed(part, method))
    try:
        with tempfile.TemporaryDirectory() as folder:
            cli = load(ROOT / "configs" / f"{task}.yaml", **settings(folder, epochs + 1))
            cli.trainer.callbacks.append(Epochs())
            cli.trainer.fit(cli.model, cli.datamodule)
    finally:
        for owner, name, method in methods:
            setattr(owner, name, method)
    split = {part: 1e3 * statistics.median(row.get(part, 0.0) for row in rows) for part in rows[0]}
    split["lightning"] = 2 * split["total"] - sum(split.values())  # what is left of the total
    split["updates"] = len(cli.datamodule.train_dataloader())
    return split


def settings(folder: str, epochs: int, **more: Any) -> dict[str, Any]:
    """Return what a short run sets differently from the config."""
    return {
        "trainer.max_epochs": epochs,
        "trainer.enable_progress_bar": False,
        "trainer.default_root_dir": folder,
        "warmup.episodes": 2,
        "warmup.updates": 5,
    } | more


def collector_adds(learner: Learner, budget: float) -> dict[str, float]:
    """Return milliseconds a step of collecting, and of the bare environment step plus actor call."""
    agent, data = learner.agent, learner.data
    task, kwargs = agent.task, data.env_kwargs
    # Without random actions, which call no actor.
    collector = EpisodeCollector(task, kwargs, agent, data.noise, 0.0, seed=0)
    env = SeededEpisodes(make(task.env, **kwargs), seed=0)

    def bare() -> None:
        observation, _ = env.reset()
        for _ in range(task.horizon):
            state, goal = (
                torch.as_tensor(observation[key], dtype=torch.float32) for key in ("observation", "desired_goal")
            )
            observation, *_ = env.step(agent.act(state, goal).numpy())

    collector.collect()
    seconds = in_turns(budget, collect=collector.collect, bare=bare)
    collector.close()
    return {name: 1e3 * value / task.horizon for name, value in seconds.items()}


def evaluation(learner: Learner, episodes: int) -> dict[str, float]:
    """Time the evaluation of FetchReach and, step by step beside it, the physics of the same steps alone."""
    task = learner.agent.task
    batch = make_vec(task.env, num_envs=episodes, **learner.data.env_kwargs)
    floor = envs.Floor(batch)
    floor_seconds, step = [], batch.step

    def step_beside_floor(actions: np.ndarray) -> Any:
        if not floor_seconds:
            floor.start()
        result = step(actions)
        start = time.perf_counter()
        floor.follow()
        floor.step()
        floor_seconds.append(time.perf_counter() - start)
        return result

    batch.step = step_beside_floor
    start = time.perf_counter()
    rollout(learner.agent.act, batch, task, range(episodes))
    seconds = time.perf_counter() - start - sum(floor_seconds)
    batch.close()
    return {"seconds": seconds, "floor_seconds": sum(floor_seconds), "steps": episodes * task.horizon}


def memory(learner: Learner) -> dict[str, float]:
    """Return resident megabytes of this process, and bytes of a stored transition beside those of its fields."""
    episode = learner.data.replay.episodes[0]
    stored = sum(value.numel() * value.element_size() for value in episode.values())
    task = learner.agent.task
    fields = 4 * (task.observation_size + task.action_size + 2 * task.goal_size)  # each state counted once
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return {
        "resident_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "bytes_per_transition": stored / task.horizon,
        "bytes_of_fields": fields,
    }


def hardware() -> dict[str, Any]:
    """Name the machine and the versions."""
    packages = (torch, lightning, torchrl, gymnasium, mujoco)
    return {
        "processor": envs.processor(),
        "cores": envs.CORES,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version()} | {p.__name__: p.__version__ for p in packages},
    }


def table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    columns = list(next(iter(rows.values())))
    print(f"\n| {title} | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        cells = (f"{v:,.3g}" if isinstance(v, float) and abs(v) < 100 else f"{v:,.0f}" for v in row.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats; FetchReach's fit from 3 epochs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    args = parser.parse_args()
    quick = args.quick
    quiet()
    torch.set_num_threads(1)
    print(json.dumps(hardware()))
    result: dict[str, Any] = {"hardware": hardware(), "quick": quick}

    with tempfile.TemporaryDirectory() as folder:
        learners = {
            name: Learner(name, settings(folder, 1, **{"data.episodes_per_epoch": 1, "evaluation.episodes": 1}))
            for name in ("mher", "her", "ddpg")
        }
    mher = learners["mher"]
    bare, updates = BareUpdate(mher.agent, mher.data.batch_size), {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        functions = {name: learner.update for name, learner in learners.items()} | {"bare products": bare.update}
        seconds = in_turns(4.0 if quick else 30.0, **functions)
        updates[f"{threads} thread{'s' * (threads > 1)}"] = {name: 1.0 / value for name, value in seconds.items()}
    torch.set_num_threads(1)
    result["updates_per_second"] = updates
    table("updates/s", updates)
    result["peer_updates_per_second"] = peer()
    result["cuda_updates_per_second"] = on_cuda()

    result["collector_ms_per_step"] = collector = collector_adds(mher, 4.0 if quick else 20.0)
    result["evaluation"] = evaluate = evaluation(mher, 100)
    result["memory"] = memory(mher)
    table("FetchReach", {"collector, ms a step": collector} | {"evaluation": evaluate} | {"memory": result["memory"]})

    tasks = [task for task in envs.TARGETS if not quick or not task.startswith(("FetchP", "FetchS"))]
    keys = "steps_per_second", "single_steps_per_second", "sync_steps_per_second", "floor_steps_per_second"
    steps = {task: envs.measure(task, 100, 1.0 if quick else 6.0) for task in tasks}
    result["environment_steps"] = {task: {key: row[key] or 0.0 for key in keys} for task, row in steps.items()}
    table("environment steps/s, 100 in a batch", result["environment_steps"])

    result["epoch_ms"] = {task: epoch_split(task, 2 if quick else 5) for task in TASKS}
    table("ms of an epoch", result["epoch_ms"])
    result["start_up_s"] = start = start_up(1 if quick else 3)
    table("start-up, s", {"": start})

    fits = {"point2d": whole_fit("point2d")}
    if quick:  # start-up, warm-up and the first epochs, then more of the epochs timed above
        fits["fetch"] = (
            whole_fit("fetch", **{"trainer.max_epochs": 3}) + 27 * result["epoch_ms"]["fetch"]["total"] / 1e3
        )
    else:
        fits["fetch"] = whole_fit("fetch")
    floor_rate = evaluate["steps"] / evaluate["floor_seconds"]
    fetch_floor = (30 * 100 + 30 * 5 + 20) * 100 / floor_rate
    result["fit_s"] = fits | {"fetch_floor": fetch_floor}

    split = result["epoch_ms"]["fetch"]
    values = {
        "fetch fit / physics floor": fits["fetch"] / fetch_floor,
        "fetch evaluation / physics floor": evaluate["seconds"] / evaluate["floor_seconds"],
        "MHER updates / bare products": updates["1 thread"]["mher"] / updates["1 thread"]["bare products"],
        "collector adds, ms a step": collector["collect"] - collector["bare"],
        "Lightning adds, ms an update": (split["lightning"] + split["log"]) / split["updates"],
        "point2d fit, s": fits["point2d"],
        "--help, s": start["help"],
        "start to first step, s": start["first_step"],
    }
    print("\n| target | value | limit | |\n|---|---|---|---|")
    for name, (limit, below) in TARGETS.items():
        met = values[name] <= limit if below else values[name] >= limit
        print(f"| {name} | {values[name]:.2f} | {'<=' if below else '>='} {limit} | {'met' if met else 'MISSED'} |")
    result["targets"] = {name: {"value": values[name], "limit": limit} for name, (limit, _) in TARGETS.items()}
    result["hardware"]["load_average_at_end"] = os.getloadavg()[0]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
    main()
