"""Steps a second of collecting episodes, by `data.num_envs`, on FetchReach (one batch) and AntMaze (processes).

    python benchmarks/num_envs.py

Episodes of the untrained actor with the paper's exploration. Numbers of environments take turns, and medians are kept.
Writes `benchmarks/results/num_envs.json` and `.md`. About four minutes.
"""

import statistics
import time
from pathlib import Path

import torch
from output import Report

from mher_pl import load
from mher_pl.data import Collected

RESULTS = Path(__file__).resolve().parent / "results" / "num_envs.json"
TASKS = {"FetchReach-v4": 100, "AntMaze_UMaze-v5": 200}  # id: steps of an episode
NUMBERS = 1, 2, 4, 8
ROUNDS = 5


def collector(env: str, steps: int, num_envs: int) -> Collected:
    """Return a source of episodes, whose first ones are collected, so that its processes run."""
    settings = {"data.env": env, "data.env_kwargs": f"{{max_episode_steps: {steps}}}"}
    parts = load("fetch", "her", **settings)
    data, agent = parts.datamodule, parts.model
    source = Collected()
    source.open(data.task, data.env_kwargs, num_envs, data.exploration, data.practice, agent.act, seed=0)
    source.next()
    return source


def main() -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    report = Report(RESULTS)
    rows: dict[str, dict[str, float]] = {}
    for env, steps in TASKS.items():
        sources = {number: collector(env, steps, number) for number in NUMBERS}
        seconds: dict[int, list[float]] = {number: [] for number in NUMBERS}
        for _ in range(ROUNDS):
            for number, source in sources.items():
                start = time.perf_counter()
                source.next()
                seconds[number].append(time.perf_counter() - start)
        rows[env] = {str(n): n * steps / statistics.median(times) for n, times in seconds.items()}
        for source in sources.values():
            source.close()
    report.values["steps_per_second"] = rows
    report.table(f"Environment steps a second of collecting, by data.num_envs, medians of {ROUNDS}.", "task", rows)
    report.write()


if __name__ == "__main__":
    main()
