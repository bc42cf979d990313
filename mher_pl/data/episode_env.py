"""A goal environment as TorchRL steps it, one whole episode after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase

from mher_pl.envs.episodes import WholeEpisodes
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.errors import EnvironmentFailed, NonFiniteError
from mher_pl.inspection import require_same_rewards
from mher_pl.streams import Stream, stream_seed
from mher_pl.task import Task


@dataclass(frozen=True)
class FinishedEpisodes:
    """What TorchRL's frames do not tell of N episodes, in the environment's own types; padded after their ends."""

    number: int  # of the first one
    achieved: NDArray[Any]  # [T, N, goal] after each step
    desired: NDArray[Any]  # [T, N, goal] that each step was taken under
    rewards: NDArray[Any]  # [T, N]
    lengths: NDArray[np.int64]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    is_success: NDArray[np.bool_]  # [N] of the step that ended each

    def rewarded(self, reward: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell which episodes [N] ended with a step of this reward, and which [N] had one before."""
        alike, step = np.isclose(self.rewards, reward), np.arange(len(self.rewards))[:, None]
        return (alike & (step == self.lengths - 1)).any(axis=0), (alike & (step < self.lengths - 1)).any(axis=0)

    def check(self, task: Task, observations: torch.Tensor) -> None:
        """Raise `UserError` if the episodes, with observations [N, T+1, obs], break what relabelling them rests on.

        That is, some step gave another reward than `compute_reward`, or does not show its goal where others did.
        """
        for copy, length in enumerate(self.lengths):
            achieved, desired, rewards = (
                values[:length, copy] for values in (self.achieved, self.desired, self.rewards)
            )
            number = self.number + copy
            where = f"training episode {number}"
            require_same_rewards(task.env, where, task.compute_reward, achieved, desired, rewards)
            goals = torch.from_numpy(np.asarray(desired, dtype=np.float32))
            task.check_desired_goals(observations[copy, :length], goals, number)


@dataclass
class RunningEpisodes:
    """What was seen of N episodes so far, in the environment's own types."""

    achieved: list[NDArray[Any]] = field(default_factory=list)  # [N, goal] after each step
    desired: list[NDArray[Any]] = field(default_factory=list)  # [N, goal] at the reset and after each step
    rewards: list[NDArray[Any]] = field(default_factory=list)  # [N] of each step
    steps: int = 0  # also those in which all copies stood still


class EpisodeEnv(EnvBase):
    """N copies of a goal environment for TorchRL, one episode after another in each, their vectors as float32.

    All copies begin together and are done after `horizon` steps; one that ends earlier stands still until then.
    Episode k of a run is reset from a seed that only the run's seed and k decide. So the environment has no state to
    save between episodes: a resumed run continues with the same episodes. A reset before any step repeats the episodes
    instead of skipping them, which makes the collector's early resets harmless.

    In place of `GymWrapper`, whose general reading and checking of every step costs as much as a step of a small task:
    here the keys are known, and nothing is checked that Gymnasium has not checked already.
    """

    def __init__(self, envs: gym.vector.VectorEnv, horizon: int, seed: int) -> None:
        super().__init__(batch_size=[envs.num_envs])
        self.envs, self.horizon, self.seed = WholeEpisodes(envs), horizon, seed
        self.episode = 0  # number of the first copy's episode
        self.running = RunningEpisodes()
        count = envs.num_envs
        space = cast(gym.spaces.Dict, envs.single_observation_space)
        vectors = {key: Unbounded((count, *(space[key].shape or ()))) for key in GOAL_KEYS}
        self.observation_spec = Composite(vectors, shape=[count])
        self.action_spec = Bounded(-1.0, 1.0, envs.action_space.shape, dtype=torch.float32)
        self.reward_spec = Unbounded((count, 1))
        flags = ("done", "terminated", "truncated")
        self.done_spec = Composite({key: Binary(shape=(count, 1), dtype=torch.bool) for key in flags}, shape=[count])
        self.not_done, self.done = torch.zeros(count, 1, dtype=torch.bool), torch.ones(count, 1, dtype=torch.bool)
        self.finished: FinishedEpisodes  # the last ones

    @property
    def place(self) -> str:
        """The running episodes, in words."""
        last = self.episode + self.envs.num_envs - 1
        return f"training episode {last}" if last == self.episode else f"training episodes {self.episode} to {last}"

    def step_and_maybe_reset(self, step: TensorDictBase) -> tuple[TensorDictBase, TensorDictBase]:
        """Return the step with what came `next`, and what the next step begins with: a new episode after the last."""
        following = self._step(step)
        begins_with = self._reset() if self.running.steps == self.horizon else following.exclude("reward")
        return step.set("next", following), begins_with

    def _step(self, step: TensorDictBase) -> TensorDictBase:
        running = self.running
        if not self.envs.all_ended:
            try:
                observation, reward, *_ = self.envs.step(step["action"].numpy())
            except Exception as error:
                for key, values in self.envs.observation.items():  # from which the actor makes such actions
                    if not np.isfinite(values).all():
                        raise NonFiniteError(f"{key} of {self.place} is NaN or infinite") from error
                if isinstance(error, gym.error.InvalidAction):
                    raise NonFiniteError(f"action of {self.place} is NaN or infinite") from error
                raise EnvironmentFailed(f"{self.place}, step {running.steps}", error) from error
            running.achieved.append(observation["achieved_goal"])
            running.desired.append(observation["desired_goal"])
            running.rewards.append(reward)
        running.steps += 1
        following = self._state(self.done if running.steps == self.horizon else self.not_done)
        return following.set("reward", torch.from_numpy(running.rewards[-1].astype(np.float32)).unsqueeze(-1))

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        if self.running.steps > 0:
            self.finished = self._finish()
            self.episode += self.envs.num_envs
        numbers = range(self.episode, self.episode + self.envs.num_envs)
        seeds: list[int | None] = [stream_seed(self.seed, Stream.EPISODES, number) for number in numbers]
        try:
            observation, _ = self.envs.reset(seed=seeds)
        except Exception as error:
            raise EnvironmentFailed(f"the reset of {self.place}", error) from error
        self.running = RunningEpisodes(desired=[observation["desired_goal"]])
        return self._state(self.not_done)

    def _finish(self) -> FinishedEpisodes:
        """Note what TorchRL's frames do not tell of the episodes that have ended, in the environment's own types."""
        running, ends = self.running, self.envs
        return FinishedEpisodes(
            self.episode,
            np.stack(running.achieved),
            np.stack(running.desired[:-1]),  # the goals that were acted for
            np.stack(running.rewards),
            ends.lengths,
            ends.terminated,
            ends.is_success,
        )

    def _state(self, done: torch.Tensor) -> TensorDict:
        state = {key: torch.from_numpy(np.array(self.envs.observation[key], dtype=np.float32)) for key in GOAL_KEYS}
        flags = {"done": done, "terminated": self.not_done, "truncated": done}
        return TensorDict(state | flags, batch_size=self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        """Leave the seed to the episodes."""

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the environments."""
        self.envs.close()
        super().close(raise_if_closed=raise_if_closed)
