"""What an agent must know of a goal-reaching task."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from mher_pl.envs import make
from mher_pl.errors import UserError

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")
PROBE_STEPS = 20  # real steps on which goals are looked for in observations: enough for every coordinate to move
PROBE_RESETS = 4  # and resets, for the desired goal to change


class Shape:
    """What the networks of an agent must know of a task: its sizes, and where the desired goal shows.

    Args:
        env: Gymnasium id.
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        goal_size: entries of a goal.
        desired_goal_indices: the observation entries that show the desired goal; none in most tasks.
    """

    # No dataclass: the command line would ask for each of its fields.
    def __init__(
        self,
        env: str,
        observation_size: int,
        action_size: int,
        goal_size: int,
        desired_goal_indices: Sequence[int] = (),
    ) -> None:
        self.env = env
        self.observation_size, self.action_size, self.goal_size = observation_size, action_size, goal_size
        self.desired_goal_indices = tuple(desired_goal_indices)

    def shape(self) -> dict[str, Any]:
        """Return the arguments of `Shape`, as plain data."""
        return {
            "env": self.env,
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "goal_size": self.goal_size,
            "desired_goal_indices": list(self.desired_goal_indices),
        }


class Task(Shape):
    """Sizes, episode length, state-to-goal map phi and reward function of a goal environment.

    Args:
        env: Gymnasium id.
        horizon: steps of an episode.
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        goal_size: entries of a goal.
        goal_indices: the observation entries that make the achieved goal, phi(s) = s[goal_indices]; None where the
            achieved goal is no part of the observation.
        compute_reward: the environment's own reward of achieved goals [B, goal] under desired goals [B, goal].
        goal_box: lowest and highest desired goals [2, goal] as the environment declares them; None where unbounded.
        best_reward: what `compute_reward` gives at the goal: 0 in the paper's tasks, 1 in gymnasium-robotics' mazes.
        desired_goal_indices: the observation entries that show the desired goal; none in most tasks.
    """

    def __init__(
        self,
        env: str,
        horizon: int,
        observation_size: int,
        action_size: int,
        goal_size: int,
        goal_indices: tuple[int, ...] | None,
        compute_reward: Callable[[np.ndarray, np.ndarray, dict], np.ndarray],
        goal_box: Tensor | None = None,
        best_reward: float = 0.0,
        desired_goal_indices: tuple[int, ...] = (),
    ) -> None:
        super().__init__(env, observation_size, action_size, goal_size, desired_goal_indices)
        self.horizon, self.goal_indices = horizon, goal_indices
        self.compute_reward, self.goal_box, self.best_reward = compute_reward, goal_box, best_reward

    def phi(self, states: Tensor) -> Tensor:
        """Map states [..., obs] to the goals they achieve [..., goal] (Section 3.1)."""
        return states[..., self.goal_indices]

    def reward(self, achieved_goal: Tensor, desired_goal: Tensor) -> Tensor:
        """Recompute the task's own reward [B] of achieved [B, goal] under desired goals [B, goal] (Eq. 1).

        Shifted to 0 at the goal, as the bounds of the critic's targets want it; what is best to do stays the same.
        """
        reward = self.compute_reward(achieved_goal.numpy(force=True), desired_goal.numpy(force=True), {})
        reward = reward - self.best_reward
        return torch.as_tensor(reward, dtype=torch.float32, device=achieved_goal.device)

    def require_phi(self, user: str) -> None:
        """Raise `UserError` if `user`, the setting that needs it, has no state-to-goal map to work with."""
        if self.goal_indices is None:
            raise UserError(
                f"{user} needs the state-to-goal map, but the achieved goal of {self.env} is no part of its "
                "observation; allowed: data.goal_indices naming the entries, or a relabeller without a model"
            )


def inspect_task(
    env: str, env_kwargs: dict, goal_indices: list[int] | None, desired_goal_indices: list[int] | None = None
) -> Task:
    """Make the environment once and read its `Task` off it.

    Raises:
        UserError: `env` is unknown, is no goal environment, has no fixed episode length, no vectorised `compute_reward`
            or rewards more than 1 below that at the goal, `goal_indices` do not give its achieved goal, or
            `desired_goal_indices` its desired one.
    """
    try:
        probe = make(env, **env_kwargs)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise UserError(f"data.env is {env!r}; allowed: the id of a Gymnasium goal environment ({error})") from error
    except TypeError as error:
        raise UserError(f"data.env_kwargs is {env_kwargs!r}; allowed: arguments of {env} ({error})") from error
    try:
        _require_goal_env(env, probe)
        sizes = {key: probe.observation_space[key].shape[0] for key in GOAL_KEYS}
        horizon = probe.spec.max_episode_steps if probe.spec is not None else None
        if horizon is None:
            raise UserError(f"data.env is {env!r}, whose episodes have no fixed length; allowed: max_episode_steps set")
        best_reward = _best_reward(env, probe, sizes["achieved_goal"])
        states, achieved, desired = _probe(probe)
        _require_bounded_rewards(env, probe, best_reward, achieved, desired)
        if desired_goal_indices != []:
            desired_goal_indices = _entries("data.desired_goal_indices", desired_goal_indices, states, desired)
        return Task(
            env=env,
            horizon=horizon,
            observation_size=sizes["observation"],
            action_size=probe.action_space.shape[0],
            goal_size=sizes["achieved_goal"],
            goal_indices=_entries("data.goal_indices", goal_indices, states, achieved),
            compute_reward=probe.unwrapped.compute_reward,
            goal_box=_goal_box(probe.observation_space["desired_goal"]),
            best_reward=best_reward,
            desired_goal_indices=tuple(desired_goal_indices or ()),
        )
    finally:
        probe.close()


def _require_goal_env(name: str, env: gym.Env) -> None:
    space = env.observation_space
    is_goal_env = isinstance(space, spaces.Dict) and all(
        key in space.spaces and isinstance(space[key], spaces.Box) and len(space[key].shape) == 1 for key in GOAL_KEYS
    )
    if not is_goal_env:
        raise UserError(
            f"data.env is {name!r}, which is no goal environment; allowed: one whose observation is a Dict of the "
            "vectors observation, achieved_goal and desired_goal"
        )
    if not isinstance(env.action_space, spaces.Box) or len(env.action_space.shape) != 1:
        raise UserError(f"data.env is {name!r} with {env.action_space}; allowed: an action space that is a vector Box")


def _best_reward(name: str, env: gym.Env, goal_size: int) -> float:
    """Return the reward at the goal, from the vectorised reward function that the environment must have."""
    goals = np.zeros((3, goal_size))
    try:
        rewards = np.asarray(env.unwrapped.compute_reward(goals, goals, {}), dtype=float)
    except Exception as error:
        raise UserError(
            f"data.env is {name!r}, whose compute_reward fails on a batch of goals ({type(error).__name__}: {error}); "
            "allowed: compute_reward(achieved [B, goal], desired [B, goal], info) -> [B]"
        ) from error
    if rewards.shape != (3,):
        raise UserError(
            f"data.env is {name!r}, whose compute_reward gives shape {rewards.shape} for 3 goals; allowed: a "
            "vectorised compute_reward(achieved [B, goal], desired [B, goal], info) -> [B]"
        )
    return float(rewards[0]) + 0.0  # no minus zero


def _goal_box(space: spaces.Box) -> Tensor | None:
    return torch.as_tensor(np.stack([space.low, space.high]), dtype=torch.float32) if space.is_bounded() else None


def _require_bounded_rewards(name: str, env: gym.Env, best: float, achieved: np.ndarray, desired: np.ndarray) -> None:
    """Raise `UserError` if some pair of the achieved and desired goals [N, goal] has a reward out of [best - 1, best].

    The critic's targets are clipped to what such rewards can add up to.
    """
    pairs = np.repeat(achieved, len(desired), axis=0), np.tile(desired, (len(achieved), 1))
    rewards = np.asarray(env.unwrapped.compute_reward(*pairs, {}))
    if rewards.min() < best - 1.0 or rewards.max() > best:
        raise UserError(
            f"data.env is {name!r}, whose rewards reach from {rewards.min():g} to {rewards.max():g}; allowed: from "
            f"{best - 1.0:g} to {best:g}, that at the goal, as sparse rewards do"
        )


def _probe(env: gym.Env) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observations [N, obs], achieved goals [N, goal] and desired ones [N, goal] of random steps and resets."""
    env.action_space.seed(0)
    seen = [env.reset(seed=seed)[0] for seed in range(PROBE_RESETS)]
    for _ in range(min(PROBE_STEPS, env.spec.max_episode_steps)):
        seen.append(env.step(env.action_space.sample())[0])
    states, achieved, desired = (np.stack([observation[key] for observation in seen]) for key in GOAL_KEYS)
    return states, achieved, desired


def _entries(setting: str, given: list[int] | None, states: np.ndarray, goals: np.ndarray) -> tuple[int, ...] | None:
    """Find the entries of the states [N, obs] that always equal the goals [N, goal], or check the `given` ones.

    Returns None where a goal's entry is in no state, and for goals that never change, which would be found anywhere.
    """
    if given is not None:
        in_range = len(given) == goals.shape[1] and all(0 <= i < states.shape[1] for i in given)
        if not in_range or not np.allclose(states[:, given], goals, atol=1e-6):
            raise UserError(
                f"{setting} is {given}; allowed: {goals.shape[1]} entries from 0 to {states.shape[1] - 1} at which the "
                "observation equals the goal"
            )
        return tuple(given)
    if not np.ptp(goals, axis=0).any():
        return None
    indices: list[int] = []
    for column in goals.T:
        equal = [i for i in range(states.shape[1]) if i not in indices and np.allclose(states[:, i], column, atol=1e-6)]
        if not equal:
            return None
        indices.append(equal[0])
    return tuple(indices)
