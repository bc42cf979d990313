"""Evaluation of the deterministic policy."""

import gymnasium as gym
import torch
from lightning import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mher_pl.agent import Agent
from mher_pl.data import data_of
from mher_pl.errors import require, require_int
from mher_pl.evaluate import Episodes, evaluation_envs, rollout, wilson_interval
from mher_pl.memory import require_memory
from mher_pl.streams import Stream, stream_seeds

SHARES = "eval/success_rate", "eval/success_any"  # metrics that are shares of the episodes
METRICS = "eval/success_rate", "eval/success_any", "eval/return", "eval/final_distance", "eval/q_mean"


class Evaluation(Callback):
    """Run whole episodes without exploration and log `eval/*`.

    Runs in Lightning's validation loop: after every epoch of `fit`, and once in `validate` and `test`. The run's seed
    and the number of environment steps so far decide the episodes, so each evaluation is new, and `validate` repeats
    it. Those of `test` the seed alone decides: no checkpoint was chosen by them, and all of a run are tested alike.

    Args:
        episodes: evaluation episodes.
    """

    def __init__(self, episodes: int) -> None:
        require_int("evaluation.episodes", episodes, 1)
        self.episodes = episodes
        self.envs: gym.vector.VectorEnv | None = None
        self.outcome: Episodes  # of the last evaluation

    def setup(self, trainer: Trainer, pl_module: Agent, stage: str) -> None:
        """Refuse fewer episodes than workers, and more than memory holds.

        Raises:
            UserError: some worker would have none, or there would be too many.
        """
        workers = f"an integer of at least {trainer.world_size}, one for each worker"
        require(self.episodes >= trainer.world_size, "evaluation.episodes", self.episodes, workers)
        require_memory("evaluation.episodes", self.episodes, self.episodes * data_of(trainer).task.episode_bytes)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Forget the last evaluation: an epoch without one has no success rate."""
        metrics = trainer.callback_metrics  # puts them together anew at every access
        for name in [name for name in metrics if name.startswith("eval/")]:
            del metrics[name]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Evaluate, and log in `fit` or print a table in `validate` and `test`."""
        if trainer.sanity_checking:  # before training there is nothing to tell
            return
        outcome = self.outcome = self.evaluate(trainer, pl_module)
        metrics = outcome.means()
        value = pl_module.value(outcome.observations, outcome.desired_goals, outcome.actions)
        if value is not None:
            metrics["eval/q_mean"] = value.mean().item()
        metrics = self._mean_over_workers(trainer, metrics, len(outcome.success), len(outcome.actions))
        if trainer.state.fn == TrainerFn.FITTING:
            data_of(trainer).log_metrics(metrics)
            return
        pl_module.log_dict(metrics, logger=False)  # what `trainer.test` returns
        if trainer.is_global_zero:
            print(f"{self.episodes} episodes of {pl_module.task.env}; in brackets the 95 % interval (Wilson)")
            for name, mean in metrics.items():
                interval = ""
                if name in SHARES:
                    low, high = wilson_interval(round(mean * self.episodes), self.episodes)
                    interval = f"  [{low:.3f}, {high:.3f}]"
                print(f"  {name.removeprefix('eval/'):<16}{mean:>9.3f}{interval}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Evaluate and print the table."""
        self.on_validation_epoch_end(trainer, pl_module)

    def evaluate(self, trainer: Trainer, pl_module: Agent) -> Episodes:
        """Run the episodes, or this worker's share of them."""
        data = data_of(trainer)
        if trainer.testing:
            seeds = stream_seeds(self.episodes, data.seed, Stream.TEST)
        else:
            seeds = stream_seeds(self.episodes, data.seed, Stream.EVALUATION, data.env_steps)
        seeds = seeds[trainer.global_rank :: trainer.world_size]
        if self.envs is None:
            self.envs = evaluation_envs(data.task.env, len(seeds), **data.env_kwargs)
        return rollout(pl_module.act, self.envs, data.task, seeds)

    @staticmethod
    def _mean_over_workers(trainer: Trainer, metrics: dict[str, float], episodes: int, steps: int) -> dict[str, float]:
        """Join the means over each worker's share of the episodes, that of Q over their steps."""
        if trainer.world_size == 1:
            return metrics
        counts = [steps if name == "eval/q_mean" else episodes for name in metrics]
        sums = torch.tensor([[value * n, n] for value, n in zip(metrics.values(), counts, strict=True)])
        joined = trainer.strategy.reduce(sums.double().to(trainer.strategy.root_device), reduce_op="sum").tolist()
        return {name: total / count for name, (total, count) in zip(metrics, joined, strict=True)}

    def teardown(self, trainer: Trainer, pl_module: Agent, stage: str) -> None:
        """Close the environments."""
        if self.envs is not None:
            self.envs.close()
            self.envs = None
