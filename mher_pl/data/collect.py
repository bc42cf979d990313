"""Collecting whole episodes with exploration around the actor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase

from mher_pl.data.source import EpisodeSource
from mher_pl.envs import make_vec
from mher_pl.envs.episodes import WholeEpisodes
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.errors import EnvironmentFailed, NonFiniteError, UserError
from mher_pl.exploration import Act, Exploration
from mher_pl.inspection import require_same_rewards
from mher_pl.practice import Practice
from mher_pl.streams import Stream, go_on, stream_generator, stream_seed
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

    @property
    def last_rewards(self) -> NDArray[Any]:
        """The rewards [N] of the steps that ended the episodes."""
        return self.rewards[self.lengths - 1, np.arange(len(self.lengths))]

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
        self.no, self.yes = torch.zeros(count, 1, dtype=torch.bool), torch.ones(count, 1, dtype=torch.bool)

    @property
    def place(self) -> str:
        """The running episodes, in words."""
        last = self.episode + len(self.no) - 1
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
            except gym.error.InvalidAction as error:
                raise NonFiniteError(f"action of {self.place} is NaN or infinite") from error
            except Exception as error:
                raise EnvironmentFailed(f"{self.place}, step {running.steps}", error) from error
            running.achieved.append(observation["achieved_goal"])
            running.desired.append(observation["desired_goal"])
            running.rewards.append(reward)
        running.steps += 1
        following = self._state(self.yes if running.steps == self.horizon else self.no)
        return following.set("reward", torch.from_numpy(running.rewards[-1].astype(np.float32)).unsqueeze(-1))

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        if self.running.steps > 0:
            self.finished = self._finish()
            self.episode += len(self.no)
        numbers = range(self.episode, self.episode + len(self.no))
        seeds: list[int | None] = [stream_seed(self.seed, Stream.EPISODES, number) for number in numbers]
        try:
            observation, _ = self.envs.reset(seed=seeds)
        except Exception as error:
            raise EnvironmentFailed(f"the reset of {self.place}", error) from error
        self.running = RunningEpisodes(desired=[observation["desired_goal"]])
        return self._state(self.no)

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
        flags = {"done": done, "terminated": self.no, "truncated": done}
        return TensorDict(state | flags, batch_size=self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        """Leave the seed to the episodes."""

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the environments."""
        self.envs.close()
        super().close(raise_if_closed=raise_if_closed)


class ExploringPolicy(nn.Module):
    """An exploration around the actor under the practised goals, as TorchRL calls it."""

    def __init__(
        self,
        task: Task,
        exploration: Exploration,
        practice: Practice,
        act: Act,
        env: EpisodeEnv,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.task, self.exploration, self.practice, self.generator = task, exploration, practice, generator
        self.act = act  # a bound method, so that the agent is no submodule that the collector would copy
        self.standing_still = lambda: env.envs.all_ended  # likewise
        self.begins = lambda: env.running.steps == 0
        self.nothing = torch.zeros(env.action_spec.shape)  # [N, action]
        self.random = False

    def forward(self, step: TensorDictBase) -> TensorDictBase:
        """Write the `desired_goal` [N, goal] that is pursued, and the `action` [N, action]."""
        if self.standing_still():
            return step.set("action", self.nothing.clone())
        begins, size = self.begins(), self.nothing.shape[-1]
        goal = self.practice(self.task, step["achieved_goal"], step["desired_goal"], begins, self.generator)
        action = self.exploration(self._act, step["observation"], goal, size, self.generator, self.random, begins)
        return step.set("desired_goal", goal).set("action", action)

    def _act(self, observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        if len(observation) == 1:  # as a vector, which takes less time than a matrix of one row
            return self.act(observation[0], goal[0]).unsqueeze(0)
        return self.act(observation, goal)


class Collected(EpisodeSource):
    """Episodes of the environment, collected by TorchRL's `Collector`, one whole episode of each copy at a time."""

    def open(
        self,
        task: Task,
        env_kwargs: dict[str, Any],
        num_envs: int,
        exploration: Exploration,
        practice: Practice,
        act: Act,
        seed: int,
    ) -> None:
        """Make the environments; the first episodes are collected when they are asked for.

        Raises:
            UserError: their processes ended as they began.
        """
        self.task = task
        try:
            envs = make_vec(task.env, num_envs=num_envs, processes=num_envs > 1, **env_kwargs)
        except (EOFError, ConnectionError) as error:
            raise UserError(
                f"data.num_envs is {num_envs}, whose processes ended at their start; allowed: 1, or an id that they "
                "can import, module:Name-v0, and in a script all that trains below if __name__ == '__main__'"
            ) from error
        self.env = EpisodeEnv(envs, task.horizon, seed)
        self.practice = practice
        generator = stream_generator(seed, Stream.EXPLORATION)
        self.policy = ExploringPolicy(task, exploration, practice, act, self.env, generator)
        self.collector: Collector | None = None

    def next(self, random: bool = False) -> TensorDict:
        """Run an episode in every copy, with uniformly random actions if `random`.

        Raises:
            UserError: a step gave another reward than `compute_reward`.
            NonFiniteError: an observation or action is NaN or infinite.
            EnvironmentFailed: the environment raised an error.
        """
        if self.collector is None:
            state, goals = self.policy.generator.get_state(), self.practice.worker_state()
            self.collector = Collector(
                self.env,
                self.policy,
                frames_per_batch=self.task.horizon * self.env.envs.num_envs,
                total_frames=-1,
                trust_policy=True,
                track_traj_ids=False,
                auto_register_policy_transforms=False,
            )
            self.frames = iter(self.collector)
            self.policy.generator.set_state(state)  # the collector tried the policy out
            self.practice.load_worker_state(goals)
        self.policy.random = random
        frames, finished = next(self.frames), self.env.finished  # [N, T]
        at_goal = np.isclose(finished.last_rewards, self.task.rewards[1])
        episodes = TensorDict(
            {
                "observation": _states(frames, "observation"),
                "achieved_goal": _states(frames, "achieved_goal"),
                "desired_goal": frames["desired_goal"],
                "action": frames["action"],
                "length": torch.from_numpy(finished.lengths.copy()),
                "failed": torch.from_numpy(finished.terminated & ~at_goal),
                "is_success": torch.from_numpy(finished.is_success.copy()),
            },
            batch_size=[len(at_goal)],
        )
        for key in ("observation", "achieved_goal", "desired_goal", "action"):
            finite = torch.isfinite(episodes[key]).flatten(1).all(dim=1)  # [N]
            if not finite.all():
                number = finished.number + int(finite.int().argmin())
                raise NonFiniteError(f"{key} of training episode {number} is NaN or infinite")
        finished.check(self.task, episodes["observation"])
        self.task.ends_at_goal |= bool((finished.terminated & at_goal).any())
        return episodes

    def worker_state(self) -> dict[str, Any]:
        """Return the number of the next episode and the state of the exploration's generator."""
        # The next episode is already reset, but not stepped, once a whole one was collected.
        return {
            "episode": self.env.episode,
            "generator": self.policy.generator.get_state(),
            "ends_at_goal": self.task.ends_at_goal,
        }

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned, before the first episode is collected."""
        self.env.episode, self.task.ends_at_goal = state["episode"], state["ends_at_goal"]
        go_on(self.policy.generator, state["generator"])

    def close(self) -> None:
        """Close the environment."""
        if self.collector is None:
            self.env.close()
        else:
            self.collector.shutdown()


def _states(frames: TensorDictBase, key: str) -> torch.Tensor:
    """Join the T states before the actions and the last one after them, [N, T+1, size]."""
    return torch.cat([frames[key], frames["next", key][:, -1:]], dim=1)
