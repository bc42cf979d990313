"""Episodes in, batches out: collection, replay and the dataset that training iterates over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning import LightningDataModule, Trainer
from tensordict import TensorDict
from torch import nn
from torch.utils.data import IterableDataset

from mher_pl.agent import Agent
from mher_pl.data.episode import without_padding
from mher_pl.data.replay import EpisodeReplay
from mher_pl.data.source import EpisodeSource
from mher_pl.envs.registration import has_batch
from mher_pl.errors import UserError, require, require_int, require_multiple
from mher_pl.exploration import Exploration
from mher_pl.inspection import inspect_task
from mher_pl.memory import require_memory
from mher_pl.parallel.workers import gather_from_workers, worker_seed
from mher_pl.parts import Part, load_worker_states, require_same_parts, worker_states
from mher_pl.practice import Practice
from mher_pl.sampler import Sampler
from mher_pl.storage.metrics import MetricsTable
from mher_pl.streams import MAX_SEED

ENVIRONMENT_BYTES = 50_000_000  # of the process of a further environment


class EpisodeBatches(IterableDataset):
    """An epoch: for each of its episodes collect, store, then yield the batches to learn from.

    They are yielded together, so a step of Lightning's is an episode: its loop and the callbacks' hooks, which take a
    twentieth of an update's time, are run once for all of them.
    """

    def __init__(self, data: GoalDataModule) -> None:
        self.data = data

    def __iter__(self) -> Iterator[list[TensorDict]]:
        """Yield the batches of an episode; the next one is collected only after all of them were learned from.

        With several environments at a time it is their episodes, and as many times the batches. A run that was
        interrupted within an epoch goes on with the next episode of it.
        """
        if not self.data.warmed_up:
            raise UserError(
                "trainer has no warm-up and likely no evaluation; allowed: the one that mher_pl.load returned, whose "
                "callbacks and loggers can be added to"
            )
        start, self.data.start = self.data.start, 0
        for episode in range(start, self.data.episodes_per_epoch, self.data.num_envs):
            if self.data.source.collects:
                self.data.collect()
            else:
                self.data.pass_over()
            self.data.position = episode + self.data.num_envs
            yield self.data.replayed()

    def __len__(self) -> int:
        """Return how often episodes are collected in an epoch; with a length Lightning collects none ahead of time."""
        return self.data.episodes_per_epoch // self.data.num_envs


class GoalDataModule(LightningDataModule):
    """A goal environment as a stream of training batches.

    Args:
        env: id of a Gymnasium goal environment.
        env_kwargs: arguments of the environment.
        goal_indices: entries of the observation that make the achieved goal; null looks for them on real steps.
        desired_goal_indices: entries of the observation that show the desired goal, so that they are relabelled with
            it; null looks for them likewise, an empty list relabels none.
        num_envs: training episodes that are collected together, by as many environments.
        episodes_per_epoch: training episodes of an epoch.
        batches_per_episode: batches learned from after each episode; None is one for each step that it may have.
        batch_size: transitions of a batch.
        capacity: transitions that the replay holds; an episode that ends early takes the room of a whole one.
        source: where episodes come from.
        exploration: how the episodes explore.
        practice: which goals the episodes pursue.
        sampler: which episodes are replayed.
        seed: of environment, exploration and sampling.

    Raises:
        UserError: a value is out of range, or `env` is no usable goal environment.
    """

    def __init__(
        self,
        env: str,
        env_kwargs: dict[str, Any],
        goal_indices: list[int] | None,
        desired_goal_indices: list[int] | None,
        num_envs: int,
        episodes_per_epoch: int,
        batches_per_episode: int | None,
        batch_size: int,
        capacity: int,
        source: EpisodeSource,
        exploration: Exploration,
        practice: Practice,
        sampler: Sampler,
        seed: int,
    ) -> None:
        super().__init__()
        require_int("data.num_envs", num_envs, 1)
        require_int("data.episodes_per_epoch", episodes_per_epoch, 1)
        require_multiple("data.episodes_per_epoch", episodes_per_epoch, num_envs)
        require_int("data.batch_size", batch_size, 1)
        require_int("seed_everything", seed, 0, MAX_SEED)
        self.task = inspect_task(env, env_kwargs, goal_indices, desired_goal_indices)
        if batches_per_episode is None:
            batches_per_episode = self.task.horizon
        require_int("data.batches_per_episode", batches_per_episode, 1)
        if capacity < self.task.horizon:
            raise UserError(
                f"data.capacity is {capacity}; allowed: at least one episode of {env}, {self.task.horizon} transitions"
            )
        require_memory("data.capacity", capacity, capacity // self.task.horizon * self.task.episode_bytes)
        if not has_batch(env):
            require_memory("data.num_envs", num_envs, (num_envs - 1) * ENVIRONMENT_BYTES)
        self.env_kwargs, self.num_envs = env_kwargs, num_envs
        self.episodes_per_epoch, self.batches_per_episode = episodes_per_epoch, batches_per_episode
        self.batch_size, self.capacity, self.seed = batch_size, capacity, seed
        self.source, self.exploration, self.practice, self.sampler = source, exploration, practice, sampler
        names = ("source", "exploration", "practice", "sampler")
        self.parts: dict[str, Part] = {name: getattr(self, name) for name in names}
        for name, part in self.parts.items():
            stateless = "a part that is no nn.Module, whose weights a checkpoint would lack"
            require(not isinstance(part, nn.Module), f"data.{name}", type(part).__name__, stateless)
            part.check(self.task)
        self.env_steps = 0  # of all data-parallel workers
        self.episodes = 0  # of this worker
        self.position = 0  # episodes of the epoch so far
        self.start = 0  # episode with which the next epoch begins
        self.warmed_up = False  # set by what fills the replay before the first epoch
        self.table: MetricsTable | None = None  # of the run, where this process writes it

    @property
    def running(self) -> Trainer:
        """The trainer, which is there from `setup` on."""
        assert self.trainer is not None
        return self.trainer

    @property
    def agent(self) -> Agent:
        """What is trained on the episodes."""
        return cast(Agent, self.running.lightning_module)

    def meet(self, agent: Agent) -> None:
        """Refuse an agent that does not fit.

        Raises:
            UserError: batches are too small for it, or too large for memory, or the exploration needs a guide.
        """
        least, rows = agent.least_rows, self.batch_size * self.batches_per_episode * self.num_envs
        require(self.batch_size >= least, "data.batch_size", self.batch_size, f"at least {least} for this agent")
        require_memory("data.batch_size", self.batch_size, rows * self.task.transition_bytes * agent.path_length)
        self.exploration.meet(agent.guide)

    def setup(self, stage: str) -> None:
        """Create the replay and open the source for training.

        Raises:
            UserError: the agent does not fit.
        """
        if stage == "fit":
            self.meet(self.agent)
            seed = worker_seed(self.seed, self.running.global_rank)
            self.replay = EpisodeReplay(self.capacity, self.task.horizon, self.sampler, seed)
            act, practice = self.agent.act, self.practice
            self.source.open(self.task, self.env_kwargs, self.num_envs, self.exploration, practice, act, seed)

    def collect(self, random: bool = False) -> None:
        """Get an episode of each environment, of random actions if `random`, store it and show it to the agent."""
        agent = self.agent
        episodes = self.source.next(random)
        successes = episodes.pop("is_success")
        self.env_steps += int(agent.sum_over_workers(episodes["length"].sum().to(agent.device)))
        self.store(episodes)
        if not random:
            for is_success in successes:
                agent.track({"train/success_rate": is_success.float().to(agent.device)})

    def pass_over(self) -> None:
        """Count the steps that a run would take that collects an episode here, by which this one is measured."""
        self.env_steps += self.task.horizon * self.num_envs * self.running.world_size

    def store(self, episodes: TensorDict) -> None:
        """Store episodes [N], and show them to the agent.

        Raises:
            UserError: an episode shows the goals elsewhere than was found, or there are more than the replay holds.
        """
        agent = self.agent
        # All workers learn alike, whichever of them saw how episodes end.
        seen = torch.tensor(list(self.task.seen.values()), dtype=torch.int, device=agent.device)
        self.task.see(*map(bool, agent.sum_over_workers(seen).tolist()))
        if len(episodes) > self.capacity // self.task.horizon:
            raise UserError(
                f"data.capacity is {self.capacity}; allowed: at least {len(episodes) * self.task.horizon}, for the "
                f"{len(episodes)} episodes of data.source"
            )
        uses_phi = agent.dynamics is not None or any(part.uses_phi for part in agent.parts.values())
        for episode in episodes.unbind(0):
            taken = without_padding(episode)
            if uses_phi:
                self.task.check_achieved_goals(taken["observation"], taken["achieved_goal"], self.episodes)
            self.episodes += 1
            self.replay.add(episode)
            agent.observe(taken)

    def sample(self, size: int) -> TensorDict:
        """Sample a batch of `size` rows of what the agent learns from: transitions, or paths of them."""
        return self.replay.sample(size, self.agent.path_length)

    def replayed(self) -> list[TensorDict]:
        """Sample the batches to learn from after an episode, or after those of all environments."""
        return [self.sample(self.batch_size) for _ in range(self.batches_per_episode * self.num_envs)]

    def train_dataloader(self) -> EpisodeBatches:
        """Return the epoch's episodes."""
        return EpisodeBatches(self)

    def val_dataloader(self) -> range:
        """Return a single number as a batch, so that Lightning runs its loop and with it the `Evaluation` callback."""
        return range(1)

    test_dataloader = val_dataloader

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log metrics of the epoch against environment steps, warm-up included; `global_step` counts updates.

        They go to the run's table and to all loggers, and callbacks such as `EarlyStopping` can monitor them.
        """
        epoch = self.running.current_epoch
        self.agent.log_dict(metrics, logger=False)  # for callbacks; Lightning would log against its own steps
        for logger in self.running.loggers:
            logger.log_metrics(metrics | {"epoch": epoch}, step=self.env_steps)
        if self.table is not None:
            self.table.add(epoch + 1, self.env_steps, metrics)

    def teardown(self, stage: str) -> None:
        """Close the source."""
        if stage == "fit":
            self.source.close()

    def state_dict(self) -> dict[str, Any]:
        """Return counters, and every worker's replay and parts, as plain data."""
        if not hasattr(self, "replay"):
            raise UserError("trainer.save_checkpoint is called without trainer.fit; allowed: behind it")
        own = {"replay": self.replay.state_dict(), "parts": worker_states(self.parts)}
        return {
            "env_steps": self.env_steps,
            "episodes": self.episodes,
            "position": self.position,
            "env_kwargs": self.env_kwargs,
            "num_envs": self.num_envs,
            "workers": gather_from_workers(self.running, own),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; without training only the counter matters.

        Raises:
            UserError: the checkpoint is of another number of workers, form of the task, part or replay.
        """
        self.env_steps, self.episodes = state["env_steps"], state["episodes"]
        self.position = self.start = state["position"]
        if self.running.state.fn == "fit":
            self.require_own(state)
            workers = state["workers"]
            if len(workers) != self.running.world_size:
                raise UserError(
                    f"ckpt_path names a checkpoint of {len(workers)} workers, but this run has "
                    f"{self.running.world_size}; allowed: trainer.devices as when it was written"
                )
            own = workers[self.running.global_rank]
            self.replay.load_state_dict(own["replay"])
            load_worker_states(self.parts, own["parts"])

    def require_own(self, state: dict[str, Any]) -> None:
        """Raise `UserError` if what `state_dict` returned is of another form of the task or of other parts."""
        saved = state["env_kwargs"]
        require(self.env_kwargs == saved, "data.env_kwargs", self.env_kwargs, f"{saved}, as in the checkpoint")
        if position := state["position"]:  # within an epoch, whose rest is to be whole episodes of all environments
            within = f"as in the checkpoint, which is of the middle of an epoch, after {position} episodes"
            envs, episodes = state["num_envs"], self.episodes_per_epoch
            require(self.num_envs == envs, "data.num_envs", self.num_envs, f"{envs}, {within}")
            require(position < episodes, "data.episodes_per_epoch", episodes, f"more than {position}, {within}")
        for worker in state["workers"]:
            require_same_parts("data", self.parts, worker["parts"])


def data_of(trainer: Trainer) -> GoalDataModule:
    """Return the data module of a trainer, for which Lightning has no type."""
    return cast(Any, trainer).datamodule
