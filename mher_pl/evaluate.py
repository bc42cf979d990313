"""Evaluating a policy over whole episodes, all at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mher_pl.envs.episodes import WholeEpisodes
from mher_pl.errors import EnvironmentFailed, NonFiniteError
from mher_pl.task import Task


@dataclass(frozen=True)
class Episodes:
    """Outcome of N evaluation episodes of at most T steps, each an array [N] unless noted.

    `success`: the goal is reached at the step that ended the episode; `success_any`: at any step; `episode_return`:
    undiscounted sum of rewards; `final_distance`: between achieved and desired goal at the last step; `observations`
    [S, obs] and `desired_goals` [S, goal]: what the policy saw in all S steps, the first N of which are those that
    began the episodes; `actions` [S, action]: what it did.
    """

    success: np.ndarray
    success_any: np.ndarray
    episode_return: np.ndarray
    final_distance: np.ndarray
    observations: Tensor
    desired_goals: Tensor
    actions: Tensor

    def means(self) -> dict[str, float]:
        """Return the logged metrics: means over the episodes."""
        return {
            "eval/success_rate": float(self.success.mean()),
            "eval/success_any": float(self.success_any.mean()),
            "eval/return": float(self.episode_return.mean()),
            "eval/final_distance": float(self.final_distance.mean()),
        }


def rollout(
    policy: Callable[[Tensor, Tensor], Tensor], envs: gym.vector.VectorEnv, task: Task, seeds: Sequence[int]
) -> Episodes:
    """Run one episode from each of `seeds` (as many as `envs` has copies), with one policy call a step for all.

    Args:
        policy: maps observations [N, obs] and desired goals [N, goal] to actions [N, action].
        envs: batched environment without autoreset.
        task: of `envs`; its horizon ends the episodes that have not ended before.
        seeds: reset seed of each episode.

    Raises:
        NonFiniteError: an observation or action is NaN or infinite.
        EnvironmentFailed: the environment raised an error.
    """
    whole = WholeEpisodes(envs)
    try:
        observation, _ = whole.reset(seed=[int(seed) for seed in seeds])
    except Exception as error:
        raise EnvironmentFailed("the reset of an evaluation", error) from error
    observations, desired_goals, actions, rewards, successes, taken = [], [], [], [], [], []
    for step in range(task.horizon):
        going = torch.from_numpy(~whole.ended)  # [N]
        if not going.any():
            break
        state = torch.as_tensor(observation["observation"], dtype=torch.float32)
        goal = torch.as_tensor(observation["desired_goal"], dtype=torch.float32)
        action = policy(state, goal)
        _require_finite({"action": action}, step)
        observations.append(state)
        desired_goals.append(goal)
        actions.append(action)
        taken.append(going)
        try:
            observation, reward, _, _, info = whole.step(action.numpy())
        except Exception as error:
            raise EnvironmentFailed(f"step {step} of an evaluation", error) from error
        _require_finite(observation, step)
        rewards.append(reward)
        successes.append(info["is_success"])
    achieved, desired = (np.asarray(observation[key], dtype=float) for key in ("achieved_goal", "desired_goal"))
    mask = torch.stack(taken)  # [T, N]
    return Episodes(
        success=successes[-1],
        success_any=np.any(successes, axis=0),
        episode_return=np.sum(rewards, axis=0),
        final_distance=np.linalg.norm(achieved - desired, axis=-1),
        observations=torch.stack(observations)[mask],
        desired_goals=torch.stack(desired_goals)[mask],
        actions=torch.stack(actions)[mask],
    )


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share of independent episodes (Wilson 1927), of use at 0 and 1 too."""
    # SciPy takes a second to import: only where an interval is shown.
    from scipy.stats import binomtest

    interval = binomtest(successes, episodes).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _require_finite(vectors: Mapping[str, ArrayLike], step: int) -> None:
    for name, values in vectors.items():
        if not np.isfinite(values).all():
            raise NonFiniteError(f"{name} at step {step} of an evaluation is NaN or infinite")
