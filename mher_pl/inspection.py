"""Reading a `Task` off a goal environment: tried out on real steps before any training."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mher_pl.envs import make
from mher_pl.errors import UserError
from mher_pl.task import RewardFunction, Task

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")
PROBE_STEPS = 20  # real steps on which goals are looked for in observations, at least
PROBE_MAX_STEPS = 200  # and at most, where some entry of the goal has not moved or several observation entries match
PROBE_RESETS = 8  # and resets, for the desired goal to change
DIFFERENT_REWARDS = 0.01  # share of goals whose reward float32 may change; next to none do that lie near zero

Array = NDArray[Any]


@dataclass(frozen=True)
class Probe:
    """What an environment showed on N states and M steps, in its own types."""

    states: Array  # [N, obs]
    achieved: Array  # [N, goal]
    desired: Array  # [N, goal]
    after: Array  # [M, goal] achieved goals after a step
    under: Array  # [M, goal] desired goals it was taken under
    rewards: Array  # [M]


def inspect_task(
    env: str,
    env_kwargs: dict[str, Any],
    goal_indices: list[int] | None,
    desired_goal_indices: list[int] | None = None,
) -> Task:
    """Make the environment once and read its `Task` off it.

    Raises:
        UserError: `env` is unknown or no goal environment, has no fixed episode length, no vectorised `compute_reward`,
            rewards that are not sparse, that `step` gives otherwise or that float32 goals change, `goal_indices` do not
            give its achieved goal, or `desired_goal_indices` its desired one.
    """
    try:
        if ":" in env:
            import_module(env.partition(":")[0])
    except Exception as error:  # whatever a user's module does
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"data.env is {env!r}; allowed: the id of a Gymnasium goal environment ({reason})") from error
    try:
        env_made = make(env, **env_kwargs)
    except (gym.error.UnregisteredEnv, ModuleNotFoundError) as error:
        raise UserError(f"data.env is {env!r}; allowed: the id of a Gymnasium goal environment ({error})") from error
    except gym.error.Error as error:
        raise UserError(f"data.env is {env!r} with data.env_kwargs {env_kwargs!r}: {error}") from error
    except Exception as error:  # whatever the environment says of its arguments
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"data.env_kwargs is {env_kwargs!r}; allowed: arguments of {env} ({reason})") from error
    try:
        with np.errstate(over="raise"):
            return _read_task(env, env_made, goal_indices, desired_goal_indices)
    except FloatingPointError as error:
        raise UserError(f"data.env is {env!r} with data.env_kwargs {env_kwargs!r}: {error}; allowed: less") from error
    finally:
        env_made.close()


def _read_task(name: str, env: gym.Env, goal_indices: list[int] | None, desired_goal_indices: list[int] | None) -> Task:
    observation_space, action_space = _require_vectors(name, env)
    horizon = env.spec.max_episode_steps if env.spec is not None else None
    if horizon is None:
        raise UserError(f"data.env is {name!r}, whose episodes have no fixed length; allowed: max_episode_steps set")
    try:
        probe = _probe(env, min(horizon, PROBE_MAX_STEPS))
    except FloatingPointError:  # of arguments that are too large
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"data.env is {name!r}, which fails on its first steps ({reason})") from error
    compute_reward: RewardFunction = env.get_wrapper_attr("compute_reward")
    _require_vectorised(name, compute_reward, probe)
    require_same_rewards(name, "its first random steps", compute_reward, probe.after, probe.under, probe.rewards)
    rewards = _sparse_rewards(name, compute_reward, probe)
    _require_told_apart(name, compute_reward, probe)
    phi, unclear = _goal_entries("data.goal_indices", goal_indices, probe.states, probe.achieved)
    shown: tuple[int, ...] | None = ()
    if desired_goal_indices != []:
        shown, unclear_shown = _goal_entries(
            "data.desired_goal_indices", desired_goal_indices, probe.states, probe.desired
        )
        if unclear_shown:
            raise UserError(
                f"data.desired_goal_indices is null, and {unclear_shown}; allowed: the observation entry for each "
                "entry of the desired goal, or an empty list for none"
            )
    if desired_goal_indices is None:
        _require_no_trace_of_goals(name, probe, shown or ())
    goal_space = observation_space["desired_goal"]
    return Task(
        env=name,
        horizon=horizon,
        observation_size=probe.states.shape[1],
        action_size=action_space.shape[0],
        goal_size=probe.achieved.shape[1],
        goal_indices=phi,
        compute_reward=compute_reward,
        goal_box=_goal_box(goal_space),
        rewards=rewards,
        goal_dtype=goal_space.dtype,
        desired_goal_indices=shown or (),
        unclear_phi=unclear,
    )


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


def _probe(env: gym.Env, max_steps: int) -> Probe:
    """Take random steps: until it is clear where observations show the achieved goal, but no more than `max_steps`."""
    env.action_space.seed(0)
    seen: list[list[Array]] = []
    steps: list[tuple[Array, Array, float]] = []

    def note(observation: dict[str, Array]) -> None:
        seen.append([np.array(observation[key]) for key in GOAL_KEYS])  # copies: some environments reuse their arrays

    for seed in range(PROBE_RESETS):
        note(env.reset(seed=seed)[0])
    while len(steps) < max_steps:
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        steps.append((np.array(observation["achieved_goal"]), seen[-1][2], float(reward)))
        note(observation)
        if terminated or truncated:
            note(env.reset()[0])
        if len(steps) % PROBE_STEPS == 0:
            states, achieved, _ = (np.stack(column) for column in zip(*seen, strict=True))
            if np.ptp(achieved.astype(float), axis=0).all() and all(
                len(entries) == 1 for entries in _matches(states, achieved)
            ):
                break
    states, achieved, desired = (np.stack(column) for column in zip(*seen, strict=True))
    after, under, rewards = zip(*steps, strict=True)
    return Probe(states, achieved, desired, np.stack(after), np.stack(under), np.array(rewards))


def _require_vectorised(name: str, compute_reward: RewardFunction, probe: Probe) -> None:
    goals = probe.achieved[:3]
    try:
        rewards = np.asarray(compute_reward(goals, goals, {}), dtype=float)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(
            f"data.env is {name!r}, whose compute_reward fails on a batch of goals ({reason}); allowed: "
            "compute_reward(achieved [B, goal], desired [B, goal], info) -> [B], where info is empty"
        ) from error
    if rewards.shape != (3,):
        raise UserError(
            f"data.env is {name!r}, whose compute_reward gives shape {rewards.shape} for 3 goals; allowed: a "
            "vectorised compute_reward(achieved [B, goal], desired [B, goal], info) -> [B]"
        )


def require_same_rewards(
    name: str, where: str, compute_reward: RewardFunction, achieved: Array, desired: Array, given: Array
) -> None:
    """Raise `UserError` if `compute_reward` gives other rewards [T] of goals [T, goal] than those that `step` gave.

    At the very edge of a goal they may differ: some environments judge in float64 what they show in float32.
    """

    def same(achieved: Array) -> tuple[Array, NDArray[np.bool_]]:
        rewards = np.asarray(compute_reward(achieved, desired, {}), dtype=float) + 0.0  # no minus zero
        return rewards, np.isclose(rewards, given, rtol=1e-5, atol=1e-6)

    recomputed, equal = same(achieved)
    if not equal.all() and np.issubdtype(achieved.dtype, np.floating):
        rounding = 4.0 * np.spacing(np.maximum(np.abs(achieved), np.abs(desired)).astype(np.float32))  # [T, goal]
        towards = (rounding * np.sign(desired - achieved)).astype(achieved.dtype)
        equal = equal | same(achieved + towards)[1] | same(achieved - towards)[1]
    differ = ~equal
    if differ.any():
        step = int(differ.argmax())
        raise UserError(
            f"data.env is {name!r}, whose step gave the reward {given[step]:g} where its compute_reward gives "
            f"{recomputed[step]:g} (step {step} of {where}); allowed: rewards of the achieved goal after a step and "
            "the desired one before it alone, for a relabelled transition is rewarded by compute_reward"
        )


def _all_pairs(probe: Probe) -> tuple[Array, Array]:
    """Pair every achieved goal with every goal that was desired or achieved, two arrays [K, goal]."""
    goals = np.unique(np.concatenate([probe.desired, probe.achieved]), axis=0)
    return np.repeat(probe.achieved, len(goals), axis=0), np.tile(goals, (len(probe.achieved), 1))


def _sparse_rewards(name: str, compute_reward: RewardFunction, probe: Probe) -> tuple[float, float]:
    """Return the rewards away from the goal and at it, read from the goals that were seen."""
    at_goal = np.unique(np.asarray(compute_reward(probe.achieved, probe.achieved, {}), dtype=float))
    rewards = np.unique(np.asarray(compute_reward(*_all_pairs(probe), {}), dtype=float))
    if not np.isfinite(rewards).all():
        raise UserError(f"data.env is {name!r}, whose compute_reward gives NaN or infinity; allowed: finite numbers")
    if len(at_goal) == 1 and len(rewards) == 2 and rewards.max() > at_goal[0]:
        raise UserError(
            f"data.env is {name!r}, whose reward at the goal, {at_goal[0]:g}, is lower than the "
            f"{rewards.max() + 0.0:g} elsewhere; allowed: one value at the goal and a lower one elsewhere"
        )
    if len(at_goal) > 1 or len(rewards) > 2:
        raise UserError(
            f"data.env is {name!r}, whose rewards are dense, {len(rewards)} values from {rewards.min():g} to "
            f"{rewards.max():g}; allowed: sparse ones, one value at the goal and a lower one elsewhere, such as by "
            "reward_type: sparse in data.env_kwargs or the id without Dense"
        )
    best = float(at_goal[0]) + 0.0  # no minus zero
    away = float(rewards.min()) + 0.0
    if away == best:  # everything seen so far is within the tolerance of everything else
        raise UserError(
            f"data.env is {name!r}, whose reward was {best:g} for all pairs of achieved and desired goals of "
            f"{len(probe.achieved)} random states; allowed: one that is lower away from the goal"
        )
    return away, best


def _require_told_apart(name: str, compute_reward: RewardFunction, probe: Probe) -> None:
    """Raise `UserError` if goals have other rewards once they are float32 numbers, as which they are stored."""
    achieved, desired = _all_pairs(probe)
    stored = achieved.astype(np.float32).astype(achieved.dtype), desired.astype(np.float32).astype(desired.dtype)
    exact, rounded = compute_reward(achieved, desired, {}), compute_reward(stored[0], stored[1], {})
    differ = np.mean(np.asarray(exact) != np.asarray(rounded))
    if differ > DIFFERENT_REWARDS:
        raise UserError(
            f"data.env is {name!r}, whose goals, up to {np.abs(probe.achieved).max():g}, differ by so little that "
            "float32 numbers cannot tell them apart; allowed: goals near zero, for example measured from the middle"
        )


def _require_no_trace_of_goals(name: str, probe: Probe, shown: tuple[int, ...]) -> None:
    """Raise `UserError` if observations follow the desired goal, such as the way to it, in other entries than `shown`.

    Such an entry is found as c0 + c1 x achieved + c2 x desired with one entry of the goals.
    """
    states, one = probe.states.astype(float), np.ones(len(probe.states))
    rounding = 1e-5 * np.ptp(states, axis=0) + 1e-6 * np.abs(states).max(axis=0)  # [obs]

    def errors(*columns: Array) -> Array:
        known = np.stack([one, *columns], axis=1).astype(float)
        return np.abs(states - known @ np.linalg.lstsq(known, states, rcond=None)[0]).max(axis=0)  # [obs]

    follow = np.zeros(states.shape[1], dtype=bool)
    for achieved, desired in zip(probe.achieved.T, probe.desired.T, strict=True):
        if len(np.unique(desired)) > 3:  # of fewer anything that an episode keeps is a function
            follow |= (errors(achieved, desired) <= rounding) & (errors(achieved) > 10.0 * rounding)
    entries = [int(entry) for entry in np.flatnonzero(follow) if entry not in shown]
    if entries:
        raise UserError(
            f"data.env is {name!r}, whose observation entries {entries} follow the desired goal, as the way to it "
            "does, and would be wrong under a relabelled one; allowed: an observation without them (model.inputs: "
            "RelativeGoals shows the way), or data.desired_goal_indices: [] to leave them wrong"
        )


def _goal_box(space: spaces.Box) -> Tensor | None:
    return torch.as_tensor(np.stack([space.low, space.high]), dtype=torch.float32) if space.is_bounded() else None


def _equal(one: Array, other: Array) -> bool:
    return np.allclose(one, other, rtol=1e-6, atol=1e-6)  # one may be float32 and the other float64


def _matches(states: Array, goals: Array) -> list[list[int]]:
    """Return for each entry of the goals [N, goal] the entries of the states [N, obs] that always equal it."""
    return [[i for i in range(states.shape[1]) if _equal(states[:, i], column)] for column in goals.T]


def _goal_entries(
    setting: str, given: list[int] | None, states: Array, goals: Array
) -> tuple[tuple[int, ...] | None, str]:
    """Find the entries of the states [N, obs] that always equal the goals [N, goal], or check the `given` ones.

    Returns:
        The entries, None where a goal's entry is in no state and for goals that never change; and what is unclear where
        several entries match, else nothing.
    """
    if given is not None:
        in_range = len(given) == goals.shape[1] and all(0 <= i < states.shape[1] for i in given)
        if not in_range or not _equal(states[:, given], goals):
            raise UserError(
                f"{setting} is {given}; allowed: {goals.shape[1]} entries from 0 to {states.shape[1] - 1} at which the "
                "observation equals the goal"
            )
        return tuple(given), ""
    if not np.ptp(goals.astype(float), axis=0).any():
        return None, ""
    matches = _matches(states, goals)
    if not all(matches):
        return None, ""
    for entry, indices in enumerate(matches):
        if len(indices) > 1:
            return None, f"entries {indices} of the observation equalled entry {entry} of the goal on all steps tried"
    return tuple(indices[0] for indices in matches), ""
