"""The first steps of an environment, tried out before any training."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.inspection.goal_entries import Array, matches

PROBE_STEPS = 20  # real steps on which goals are looked for in observations, at least
PROBE_MAX_STEPS = 200  # and at most, where some entry of the goal has not moved or several observation entries match
PROBE_RESETS = 8  # and resets, for the desired goal to change


@dataclass(frozen=True)
class Probe:
    """What an environment showed on N states and M steps, in its own types."""

    states: Array  # [N, obs]
    achieved: Array  # [N, goal]
    desired: Array  # [N, goal]
    after: Array  # [M, goal] achieved goals after a step
    under: Array  # [M, goal] desired goals it was taken under
    rewards: Array  # [M]


def take_probe(env: gym.Env, max_steps: int) -> Probe:
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
                len(entries) == 1 for entries in matches(states, achieved)
            ):
                break
    states, achieved, desired = (np.stack(column) for column in zip(*seen, strict=True))
    after, under, rewards = zip(*steps, strict=True)
    return Probe(states, achieved, desired, np.stack(after), np.stack(under), np.array(rewards))
