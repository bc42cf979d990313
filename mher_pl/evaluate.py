"""Evaluating a policy over whole episodes, all at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mher_pl.errors import NonFiniteError
from mher_pl.task import Task


@dataclass(frozen=True)
class Episodes:
    """Outcome of N evaluation episodes of T steps, each an array [N] unless noted.

    `success`: the goal is reached at the last step; `success_any`: at any step; `episode_return`: undiscounted sum of
    rewards; `final_distance`: between achieved and desired goal at the last step; `observations` [T, N, obs] and
    `desired_goals` [T, N, goal]: what the policy saw; `actions` [T, N, action]: what it did.
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
        task: of `envs`; its horizon ends the episodes.
        seeds: reset seed of each episode.

    Raises:
        NonFiniteError: an action is NaN.
    """
    observation, _ = envs.reset(seed=[int(seed) for seed in seeds])
    observations, desired_goals, actions, rewards, successes = [], [], [], [], []
    for _ in range(task.horizon):
        state = torch.as_tensor(observation["observation"], dtype=torch.float32)
        goal = torch.as_tensor(observation["desired_goal"], dtype=torch.float32)
        observations.append(state)
        desired_goals.append(goal)
        actions.append(policy(state, goal))
        try:
            observation, reward, _, _, info = envs.step(actions[-1].numpy())
        except gym.error.InvalidAction as error:
            raise NonFiniteError("an action in the evaluation is NaN or infinite") from error
        rewards.append(reward)
        successes.append(info["is_success"].astype(bool))
    distance = np.linalg.norm(observation["achieved_goal"] - observation["desired_goal"], axis=-1)
    return Episodes(
        success=successes[-1],
        success_any=np.any(successes, axis=0),
        episode_return=np.sum(rewards, axis=0),
        final_distance=distance,
        observations=torch.stack(observations),
        desired_goals=torch.stack(desired_goals),
        actions=torch.stack(actions),
    )
