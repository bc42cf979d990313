"""Reading a `Task` off a goal environment, or saying in a line why it is none."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from mher_pl.envs import make
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.errors import UserError, reason_of
from mher_pl.inspection.goal_entries import goal_entries, require_no_trace
from mher_pl.inspection.probe import PROBE_MAX_STEPS, Probe, take_probe
from mher_pl.inspection.rewards import require_same_rewards, require_told_apart, require_vectorised, sparse_rewards
from mher_pl.task import RewardFunction, Task

LARGEST_SEEN = 1e18  # whose square is a 32-bit number


def inspect_task(
    env: str,
    env_kwargs: dict[str, Any],
    goal_indices: list[int] | None,
    desired_goal_indices: list[int] | None = None,
) -> Task:
    """Make the environment once and read its `Task` off it.

    Raises:
        UserError: `env` is unknown or no goal environment, has no fixed episode length, no vectorised `compute_reward`
            or one that ends with the environment, shows what is no number or a huge one, has rewards that are not
            sparse, that `step` gives otherwise or that float32 goals change, `goal_indices` do not give its achieved
            goal, or `desired_goal_indices` its desired one.
    """
    try:
        if ":" in env:
            import_module(env.partition(":")[0])
    except Exception as error:  # whatever a user's module does
        allowed = "the id of a Gymnasium goal environment"
        raise UserError(f"data.env is {env!r}; allowed: {allowed} ({reason_of(error)})") from error
    if "render_mode" in env_kwargs:
        raise UserError(f"data.env_kwargs is {env_kwargs!r}; allowed: no render_mode, which `watch` and Video set")
    try:
        env_made = make(env, **env_kwargs)
    except (gym.error.UnregisteredEnv, ModuleNotFoundError) as error:
        raise UserError(f"data.env is {env!r}; allowed: the id of a Gymnasium goal environment ({error})") from error
    except gym.error.Error as error:
        raise UserError(f"data.env is {env!r} with data.env_kwargs {env_kwargs!r}: {error}") from error
    except Exception as error:  # whatever the environment says of its arguments
        raise UserError(
            f"data.env_kwargs is {env_kwargs!r}; allowed: arguments of {env} ({reason_of(error)})"
        ) from error
    try:
        task, probe = _read_task(env, env_kwargs, env_made, goal_indices, desired_goal_indices)
    finally:
        env_made.close()
    _require_reward_of_closed(task, probe)
    return task


def _read_task(
    name: str,
    env_kwargs: dict[str, Any],
    env: gym.Env,
    goal_indices: list[int] | None,
    desired_goal_indices: list[int] | None,
) -> tuple[Task, Probe]:
    """Return the task, and what it was read off."""
    observation_space, action_space = _require_vectors(name, env)
    horizon = env.spec.max_episode_steps if env.spec is not None else None
    if horizon is None:
        raise UserError(f"data.env is {name!r}, whose episodes have no fixed length; allowed: max_episode_steps set")
    compute_reward: RewardFunction = env.get_wrapper_attr("compute_reward")
    made = f"{name!r} with data.env_kwargs {env_kwargs!r}" if env_kwargs else repr(name)
    try:
        with np.errstate(over="ignore"):  # what is too large is refused
            achieved = np.array(env.reset(seed=0)[0]["achieved_goal"])
            require_vectorised(name, compute_reward, achieved)
            probe = take_probe(env, min(horizon, PROBE_MAX_STEPS))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"data.env is {made}, which fails on its first steps ({reason_of(error)})") from error
    for key, seen in zip(GOAL_KEYS, (probe.states, probe.achieved, probe.desired), strict=True):
        usable = np.abs(seen.astype(float)) <= LARGEST_SEEN  # [N, size], not of NaN
        if not usable.all():
            entries = [int(entry) for entry in np.flatnonzero(~usable.all(axis=0))]
            raise UserError(
                f"data.env is {made}, whose {key} has NaN, infinity or numbers above {LARGEST_SEEN:g} in its entries "
                f"{entries}; allowed: numbers whose squares are 32-bit numbers"
            )
    require_same_rewards(name, "its first random steps", compute_reward, probe.after, probe.under, probe.rewards)
    rewards = sparse_rewards(name, compute_reward, probe)
    require_told_apart(name, compute_reward, probe)
    phi, unclear = goal_entries("data.goal_indices", goal_indices, probe.states, probe.achieved)
    shown: tuple[int, ...] | None = ()
    if desired_goal_indices != []:
        shown, unclear_shown = goal_entries(
            "data.desired_goal_indices", desired_goal_indices, probe.states, probe.desired
        )
        if unclear_shown:
            raise UserError(
                f"data.desired_goal_indices is null, and {unclear_shown}; allowed: the observation entry for each "
                "entry of the desired goal, or an empty list for none"
            )
    if desired_goal_indices is None:
        require_no_trace(name, probe.states, probe.achieved, probe.desired, shown or ())
    goal_space = observation_space["desired_goal"]
    goal_dtype = np.promote_types(probe.achieved.dtype, probe.desired.dtype)
    task = Task(
        env=name,
        horizon=horizon,
        observation_size=probe.states.shape[1],
        action_size=action_space.shape[0],
        goal_size=probe.achieved.shape[1],
        goal_indices=phi,
        compute_reward=compute_reward,
        goal_box=_goal_box(goal_space),
        rewards=rewards,
        goal_dtype=goal_dtype,
        desired_goal_indices=shown or (),
        unclear_phi=unclear,
    )
    return task, probe


def _require_vectors(name: str, env: gym.Env) -> tuple[dict[str, spaces.Box], spaces.Box]:
    """Return the spaces of observations, by key, and of actions."""
    space, action_space = env.observation_space, env.action_space
    entries = space.spaces if isinstance(space, spaces.Dict) else {}
    vectors = {
        key: entry
        for key, entry in entries.items()
        if key in GOAL_KEYS and isinstance(entry, spaces.Box) and len(entry.shape) == 1
    }
    if len(vectors) < len(GOAL_KEYS):
        raise UserError(
            f"data.env is {name!r}, which is no goal environment; allowed: one whose observation is a Dict of the "
            "vectors observation, achieved_goal and desired_goal"
        )
    achieved, desired = (vectors[key].shape[0] for key in ("achieved_goal", "desired_goal"))
    if achieved != desired:
        raise UserError(
            f"data.env is {name!r}, whose achieved_goal has {achieved} entries and desired_goal {desired}; allowed: as "
            "many"
        )
    if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1:
        raise UserError(f"data.env is {name!r} with {action_space}; allowed: an action space that is a vector Box")
    return vectors, action_space


def _require_reward_of_closed(task: Task, probe: Probe) -> None:
    """Raise `UserError` if `compute_reward` needs what closing the environment frees: it is asked without one."""
    try:
        task.raw_reward(probe.after, probe.under)
    except Exception as error:
        raise UserError(
            f"data.env is {task.env!r}, whose compute_reward fails once it is closed ({reason_of(error)}); allowed: "
            "one that works without what close frees, for it relabels beside the environments that are stepped"
        ) from error


def _goal_box(space: spaces.Box) -> Tensor | None:
    bounds = np.stack([space.low, space.high])  # [2, goal]
    bounded = np.abs(bounds.astype(float)).max(initial=0.0) <= LARGEST_SEEN  # some write the largest number for none
    return torch.as_tensor(bounds, dtype=torch.float32) if bounded else None
