"""Collecting whole episodes with exploration around the actor."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase

from mher_pl.data.source import EpisodeSource
from mher_pl.envs import make
from mher_pl.errors import NonFiniteError, UserError
from mher_pl.exploration import Act, Exploration
from mher_pl.task import GOAL_KEYS, Task


class SeededEpisodes(gym.Wrapper):
    """Reset episode k of a run from a seed that only the run's seed and k decide.

    So the environment has no state to save between episodes: a resumed run continues with the same episodes. A reset
    before any step repeats the episode instead of skipping it, which makes the collector's early resets harmless.
    """

    def __init__(self, env: gym.Env, seed: int) -> None:
        super().__init__(env)
        self.seed, self.episode, self._started = seed, 0, False
        self.is_success = False  # after the last step

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Begin the next episode; `seed` is ignored in favour of the episode's own."""
        if self._started:
            self.episode += 1
            self._started = False
        episode_seed = np.random.SeedSequence([self.seed, self.episode]).generate_state(1)[0]
        return self.env.reset(seed=int(episode_seed), options=options)

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Step the environment."""
        self._started = True
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.is_success = bool(info["is_success"])
        return observation, reward, terminated, truncated, info


class EpisodeEnv(EnvBase):
    """A goal environment for TorchRL, one episode after another, its vectors as float32.

    In place of `GymWrapper`, whose general reading and checking of every step costs as much as a step of a small task:
    here the keys are known, and nothing is checked that Gymnasium has not checked already.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__()
        self.env = env
        self.observation_spec = Composite({key: Unbounded(env.observation_space[key].shape) for key in GOAL_KEYS})
        self.action_spec = Bounded(-1.0, 1.0, env.action_space.shape, dtype=torch.float32)
        self.reward_spec = Unbounded(1)
        self.done_spec = Composite({key: Binary(1, dtype=torch.bool) for key in ("done", "terminated", "truncated")})
        self.no, self.yes = torch.tensor([False]), torch.tensor([True])

    def step_and_maybe_reset(self, step: TensorDictBase) -> tuple[TensorDictBase, TensorDictBase]:
        """Return the step with what came `next`, and what the next step begins with: a new episode after the last."""
        following = self._step(step)
        begins_with = self._reset() if following["done"] else following.exclude("reward")
        return step.set("next", following), begins_with

    def _step(self, step: TensorDictBase) -> TensorDictBase:
        observation, reward, terminated, truncated, _ = self.env.step(step["action"].numpy())
        following = self._state(observation, terminated, truncated)
        return following.set("reward", _float32([reward]))

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        return self._state(self.env.reset()[0], False, False)

    def _state(self, observation: dict[str, np.ndarray], terminated: bool, truncated: bool) -> TensorDict:
        state = {key: _float32(observation[key]) for key in GOAL_KEYS}
        state["done"] = self.yes if terminated or truncated else self.no
        state["terminated"] = self.yes if terminated else self.no
        state["truncated"] = self.yes if truncated else self.no
        return TensorDict(state)

    def _set_seed(self, seed: int | None) -> None:
        """Leave the seed to `SeededEpisodes`."""

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the environment."""
        self.env.close()
        super().close(raise_if_closed=raise_if_closed)


class ExploringPolicy(nn.Module):
    """An exploration around the actor, as TorchRL calls it."""

    def __init__(self, exploration: Exploration, act: Act, action_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.exploration, self.action_size, self.generator = exploration, action_size, generator
        self.act = act  # a bound method, so that the agent is no submodule that the collector would copy
        self.random = False

    def forward(self, step: TensorDictBase) -> TensorDictBase:
        """Write `action` [action] for the current `observation` and `desired_goal`."""
        observation, goal = step["observation"], step["desired_goal"]
        action = self.exploration(self.act, observation, goal, self.action_size, self.generator, self.random)
        return step.set("action", action)


class Collected(EpisodeSource):
    """Episodes of the environment, collected by TorchRL's `Collector`, one whole episode at a time."""

    def open(self, task: Task, env_kwargs: dict[str, Any], exploration: Exploration, act: Act, seed: int) -> None:
        """Make the environment; the first episode is collected when it is asked for."""
        self.task = task
        self.env = SeededEpisodes(make(task.env, **env_kwargs), seed)
        self.policy = ExploringPolicy(exploration, act, task.action_size, torch.Generator().manual_seed(seed))
        self.collector: Collector | None = None

    def next(self, random: bool = False) -> TensorDict:
        """Run one episode, with uniformly random actions if `random`.

        Raises:
            UserError: the environment ended the episode before its time limit.
            NonFiniteError: an observation or action is NaN or infinite.
        """
        if self.collector is None:
            state = self.policy.generator.get_state()
            self.collector = Collector(
                EpisodeEnv(self.env),
                self.policy,
                frames_per_batch=self.task.horizon,
                total_frames=-1,
                trust_policy=True,
                track_traj_ids=False,
                auto_register_policy_transforms=False,
            )
            self.frames = iter(self.collector)
            self.policy.generator.set_state(state)  # the collector tried the policy out
        self.policy.random = random
        try:
            frames = next(self.frames)  # [T]
        except gym.error.InvalidAction as error:
            raise NonFiniteError(f"action of training episode {self.env.episode} is NaN or infinite") from error
        if frames["next", "done"][:-1].any():
            raise UserError(
                f"data.env is {self.task.env!r}, which ended an episode before its {self.task.horizon} steps; "
                "allowed: environments whose episodes end by the time limit alone"
            )
        episode = TensorDict(
            {
                "observation": _states(frames, "observation"),
                "achieved_goal": _states(frames, "achieved_goal"),
                "desired_goal": frames["desired_goal"][0],
                "action": frames["action"],
                "is_success": torch.tensor(self.env.is_success),
            }
        )
        for key, value in episode.items():
            if not torch.isfinite(value).all():
                # The next episode is reset already.
                raise NonFiniteError(f"{key} of training episode {self.env.episode - 1} is NaN or infinite")
        return episode

    def worker_state(self) -> dict[str, Any]:
        """Return the number of the next episode and the state of the exploration's generator."""
        # The next episode is already reset, but not stepped, once a whole one was collected.
        return {"episode": self.env.episode, "generator": self.policy.generator.get_state()}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned, before the first episode is collected."""
        self.env.episode = state["episode"]
        self.policy.generator.set_state(state["generator"])

    def close(self) -> None:
        """Close the environment."""
        if self.collector is None:
            self.env.close()
        else:
            self.collector.shutdown()


def _states(frames: TensorDictBase, key: str) -> torch.Tensor:
    """Join the T states before the actions and the last one after them, [T+1, size]."""
    return torch.cat([frames[key], frames["next", key][-1:]])


def _float32(vector: ArrayLike) -> Tensor:
    """Copy a vector to a tensor of its own."""
    return torch.from_numpy(np.array(vector, dtype=np.float32))
