"""Evaluating a policy over whole episodes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mher_pl.envs import has_batch, make_vec
from mher_pl.envs.episodes import WholeEpisodes
from mher_pl.errors import EnvironmentFailed, NonFiniteError
from mher_pl.task import Task

COPIES = 10  # at once of a task without a batched form: more save little time, and each may take 100 MB


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


def evaluation_envs(env: str, episodes: int, **env_kwargs: Any) -> gym.vector.VectorEnv:
    """Make copies of a task for so many episodes: one for each in a batched form, else a few, which take turns.

    Raises:
        EnvironmentFailed: it cannot be made so often.
    """
    turns = 1 if has_batch(env) else math.ceil(episodes / COPIES)
    copies = math.ceil(episodes / turns)
    try:
        return make_vec(env, num_envs=copies, **env_kwargs)
    except Exception as error:
        raise EnvironmentFailed(f"the making of {copies} copies for an evaluation", error) from error


def rollout(
    policy: Callable[[Tensor, Tensor], Tensor], envs: gym.vector.VectorEnv, task: Task, seeds: Sequence[int]
) -> Episodes:
    """Run one episode from each of `seeds`, as many at once as `envs` has copies, with one policy call a step for them.

    Args:
        policy: maps observations [N, obs] and desired goals [N, goal] to actions [N, action].
        envs: batched environment without autoreset.
        task: of `envs`; its horizon ends the episodes that have not ended before.
        seeds: reset seed of each episode.

    Raises:
        NonFiniteError: an observation or action is NaN or infinite.
        EnvironmentFailed: the environment raised an error.
    """
    whole, copies = WholeEpisodes(envs), envs.num_envs
    begins = range(0, len(seeds), copies)
    turns = [_turn(policy, whole, task, [int(seed) for seed in seeds[begin : begin + copies]]) for begin in begins]
    ends, steps = zip(*turns, strict=True)
    success, success_any, episode_return, final_distance = (
        np.concatenate(parts)[: len(seeds)] for parts in zip(*ends, strict=True)
    )
    # Those of all turns side by side, [T, turns x N, ...].
    taken, *seen = (pad_sequence(list(parts)).flatten(1, 2) for parts in zip(*steps, strict=True))
    observations, desired_goals, actions = (parts[taken] for parts in seen)
    return Episodes(
        success=success,
        success_any=success_any,
        episode_return=episode_return,
        final_distance=final_distance,
        observations=observations,
        desired_goals=desired_goals,
        actions=actions,
    )


def _turn(
    policy: Callable[[Tensor, Tensor], Tensor], envs: WholeEpisodes, task: Task, seeds: list[int]
) -> tuple[list[np.ndarray], list[Tensor]]:
    """Run an episode in every copy, those beyond `seeds` for nothing.

    Return how the episodes went, each [N], and their steps, each [T, N, ...], the first of which says which ones count.
    """
    counted = torch.arange(envs.num_envs) < len(seeds)  # [N]
    try:
        observation, _ = envs.reset(seed=[*seeds, *seeds[-1:] * (envs.num_envs - len(seeds))])
    except Exception as error:
        raise EnvironmentFailed("the reset of an evaluation", error) from error
    steps, rewards, successes = [], [], []
    for step in range(task.horizon):
        going = torch.from_numpy(~envs.ended) & counted
        if not going.any():
            break
        state = torch.as_tensor(observation["observation"], dtype=torch.float32)
        goal = torch.as_tensor(observation["desired_goal"], dtype=torch.float32)
        action = policy(state, goal)
        _require_finite({"action": action}, step)
        steps.append((going, state, goal, action))
        try:
            observation, reward, _, _, info = envs.step(action.numpy())
        except Exception as error:
            raise EnvironmentFailed(f"step {step} of an evaluation", error) from error
        _require_finite(observation, step)
        rewards.append(reward)
        successes.append(info["is_success"])
    achieved, desired = (np.asarray(observation[key], dtype=float) for key in ("achieved_goal", "desired_goal"))
    distance = np.linalg.norm(achieved - desired, axis=-1)
    ends = [successes[-1], np.any(successes, axis=0), np.sum(rewards, axis=0), distance]
    return ends, [torch.stack(parts) for parts in zip(*steps, strict=True)]


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
