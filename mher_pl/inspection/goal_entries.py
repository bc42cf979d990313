"""Where observations show the goals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mher_pl.errors import UserError

Array = NDArray[Any]

FEWEST_GOALS = 4  # that differ: of fewer any entry that an episode keeps could be a function
CLEAR = 10.0  # times the rounding error by which an entry must differ from what it is no function of


def _equal(one: Array, other: Array) -> bool:
    return np.allclose(one, other, rtol=1e-6, atol=1e-6)  # one may be float32 and the other float64


def matches(states: Array, goals: Array) -> list[list[int]]:
    """Return for each entry of the goals [N, goal] the entries of the states [N, obs] that always equal it."""
    return [[i for i in range(states.shape[1]) if _equal(states[:, i], column)] for column in goals.T]


def goal_entries(
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
    found = matches(states, goals)
    if not all(found):
        return None, ""
    for entry, indices in enumerate(found):
        if len(indices) > 1:
            return None, f"entries {indices} of the observation equalled entry {entry} of the goal on all steps tried"
    return tuple(indices[0] for indices in found), ""


def require_no_trace(name: str, states: Array, achieved: Array, desired: Array, shown: tuple[int, ...]) -> None:
    """Raise `UserError` if observations follow the desired goal, such as the way to it, in other entries than `shown`.

    An entry of the states [N, obs] does if it is c0 + c1 x place + c2 x desired, where desired is an entry of the
    desired goals [N, goal], and place one of the achieved goals [N, goal] or another of the states.
    """
    states = states.astype(float)
    rounding = 1e-5 * np.ptp(states, axis=0) + 1e-6 * np.abs(states).max(axis=0)  # [obs]

    def errors(*columns: Array) -> Array:
        known = np.stack([np.ones(len(states)), *columns], axis=1).astype(float)
        return np.abs(states - known @ np.linalg.lstsq(known, states, rcond=None)[0]).max(axis=0)  # [obs]

    follow = np.zeros(states.shape[1], dtype=bool)
    others = np.all([errors(column) > CLEAR * rounding for column in achieved.T], axis=0)  # [obs] not the achieved goal
    changing = [column for column in desired.T if len(np.unique(column)) >= FEWEST_GOALS]
    for place in np.concatenate([achieved, states], axis=1).T if changing else ():
        alone = others & (errors(place) > CLEAR * rounding)  # [obs] nor the place itself
        for column in changing:
            follow |= alone & (errors(place, column) <= rounding)
    entries = [int(entry) for entry in np.flatnonzero(follow) if entry not in shown]
    if entries:
        raise UserError(
            f"data.env is {name!r}, whose observation entries {entries} follow the desired goal, as the way to it "
            "does, and may be wrong under a relabelled one; allowed: an observation without them (model.inputs: "
            f"RelativeGoals shows the way), or data.desired_goal_indices: {list(shown)} to leave them as they are"
        )
