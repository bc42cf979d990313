"""Success against environment steps and seconds of Stable-Baselines3's DDPG, SAC and TQC with HER, on our tasks.

    pip install stable-baselines3 sb3-contrib
    python benchmarks/rivals.py fetch --steps 3000 --every 500

The settings of SAC and TQC are those of RL Zoo for FetchReach, DDPG's the same with 3 x 256 units and noise of 0.2: one
update an environment step, batches of 256. Evaluated as ours are, by the same function: whole batched episodes without
exploration, from seeds that the run's seed and its steps decide. A run's rows are appended to
`benchmarks/results/rivals/curves.csv`, whose columns are those of `report`, but for a run that it has already.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sb3_contrib import TQC
from stable_baselines3 import DDPG, SAC, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor

from mher_pl import load
from mher_pl.compare.runs import CurvePoint, task_name
from mher_pl.envs import make, make_vec
from mher_pl.evaluate import rollout
from mher_pl.task import Task

CURVES = Path(__file__).resolve().parent / "results" / "rivals" / "curves.csv"
SHARED = {"batch_size": 256, "gamma": 0.95, "learning_rate": 1e-3, "learning_starts": 1000}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddpg": (DDPG, {"policy_kwargs": {"net_arch": [256, 256, 256]}}),
    "sac": (SAC, {"ent_coef": "auto", "policy_kwargs": {"net_arch": [64, 64]}}),
    "tqc": (TQC, {"ent_coef": "auto", "policy_kwargs": {"net_arch": [64, 64], "n_critics": 1}}),
}


class Evaluate(BaseCallback):
    """Evaluates every so many steps, and keeps the curve."""

    def __init__(self, task: Task, env_kwargs: dict[str, Any], every: int, episodes: int, seed: int) -> None:
        super().__init__()
        self.task, self.every, self.episodes, self.seed = task, every, episodes, seed
        self.envs = make_vec(task.env, num_envs=episodes, **env_kwargs)
        self.curve: list[CurvePoint] = []

    def _on_training_start(self) -> None:
        self.start = time.perf_counter()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            seeds = np.random.SeedSequence([self.seed, self.num_timesteps]).generate_state(self.episodes).tolist()
            success = rollout(self.act, self.envs, self.task, seeds).success.mean()
            seconds = time.perf_counter() - self.start
            self.curve.append(CurvePoint(len(self.curve) + 1, self.num_timesteps, float(success), seconds))
        return True

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the policy's actions [N, action] without noise."""
        achieved_goal = self.task.phi(self.task.state(observation, goal))
        seen = {"observation": observation, "achieved_goal": achieved_goal, "desired_goal": goal}
        normalizer = self.model.get_vec_normalize_env()
        action, _ = self.model.predict(
            normalizer.normalize_obs({key: value.numpy() for key, value in seen.items()}), deterministic=True
        )
        return torch.as_tensor(action)


def train(
    task: Task, env_kwargs: dict[str, Any], algorithm: str, seed: int, options: argparse.Namespace
) -> list[CurvePoint]:
    """Train one of them and return the curve."""
    env = DummyVecEnv([lambda: make(task.env, **env_kwargs)])
    cls, settings = ALGORITHMS[algorithm]
    if cls is DDPG:
        size = task.action_size
        settings = settings | {"action_noise": NormalActionNoise(np.zeros(size), 0.2 * np.ones(size))}
    model = cls(
        "MultiInputPolicy",
        VecNormalize(env),
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
        seed=seed,
        device="cpu",
        **(SHARED | settings),
    )
    evaluate = Evaluate(task, env_kwargs, options.every, options.episodes, seed)
    model.learn(options.steps, callback=evaluate)
    return evaluate.curve


def main() -> None:
    """Train, and write each curve when it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="config of the task, by name")
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[2000, 2001, 2002, 2003, 2004])
    parser.add_argument("--steps", type=int, default=3000, help="environment steps of a run")
    parser.add_argument("--every", type=int, default=100, help="environment steps between evaluations")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of an evaluation")
    parser.add_argument("--set", nargs="*", default=[], help="settings of fit, such as data.env_kwargs.boundary_dist=4")
    options = parser.parse_args()
    options.set = {key: yaml.safe_load(value) for key, value in (setting.split("=", 1) for setting in options.set)}
    torch.set_num_threads(1)
    CURVES.parent.mkdir(parents=True, exist_ok=True)
    if not CURVES.exists():
        CURVES.write_text(",".join(["task", "algorithm", "seed", *CurvePoint._fields]) + "\n")
    data = load(options.task, "her", **options.set).datamodule
    env_kwargs = dict(data.env_kwargs)
    name = task_name({"env": data.task.env, "env_kwargs": env_kwargs})
    for algorithm in options.algorithms:
        for seed in options.seeds:
            with CURVES.open(newline="") as file:
                known = {tuple(row[:3]) for row in csv.reader(file)}
            if (name, f"sb3_{algorithm}", str(seed)) in known:
                print(algorithm, seed, f"is in {CURVES.name} already", flush=True)
                continue
            curve = train(data.task, env_kwargs, algorithm, seed, options)
            with CURVES.open("a", newline="") as file:
                csv.writer(file).writerows([name, f"sb3_{algorithm}", seed, *point] for point in curve)
            print(algorithm, seed, " ".join(f"{p.env_steps}:{p.success_rate:.2f}" for p in curve), flush=True)


if __name__ == "__main__":
    main()
