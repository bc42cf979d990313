"""Whether an environment's rewards are sparse, and of the goals alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mher_pl.errors import UserError, reason_of
from mher_pl.inspection.goal_entries import Array
from mher_pl.inspection.probe import Probe
from mher_pl.task import RewardFunction

DIFFERENT_REWARDS = 0.01  # share of goals whose reward float32 may change; next to none do that lie near zero


def require_vectorised(name: str, compute_reward: RewardFunction, goal: Array) -> None:
    """Raise `UserError` if `compute_reward` does not take several goals at once, here copies of one [goal]."""
    count = 4 if len(goal) == 3 else 3  # another number than entries, by which some index that take one goal alone
    goals = np.tile(goal, (count, 1))
    try:
        rewards = np.asarray(compute_reward(goals, goals, {}), dtype=float)
    except Exception as error:
        raise UserError(
            f"data.env is {name!r}, whose compute_reward fails on a batch of goals ({reason_of(error)}); allowed: "
            "compute_reward(achieved [B, goal], desired [B, goal], info) -> [B], where info is empty"
        ) from error
    if rewards.shape != (count,):
        raise UserError(
            f"data.env is {name!r}, whose compute_reward gives shape {rewards.shape} for {count} goals; allowed: a "
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


def sparse_rewards(name: str, compute_reward: RewardFunction, probe: Probe) -> tuple[float, float]:
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


def require_told_apart(name: str, compute_reward: RewardFunction, probe: Probe) -> None:
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


def _all_pairs(probe: Probe) -> tuple[Array, Array]:
    """Pair every achieved goal with every goal that was desired or achieved, two arrays [K, goal]."""
    goals = np.unique(np.concatenate([probe.desired, probe.achieved]), axis=0)
    return np.repeat(probe.achieved, len(goals), axis=0), np.tile(goals, (len(probe.achieved), 1))
