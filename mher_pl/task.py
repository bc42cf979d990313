"""What an agent must know of a goal-reaching task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from mher_pl.errors import UserError

RewardFunction = Callable[[np.ndarray, np.ndarray, dict], np.ndarray]


class Shape:
    """What the networks of an agent must know of a task: its sizes, and where the desired goal shows.

    Args:
        env: Gymnasium id.
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        goal_size: entries of a goal.
        goal_indices: the observation entries that make the achieved goal, phi(s) = s[goal_indices]; None where the
            achieved goal is no part of the observation, or where it is not clear which entries make it.
        desired_goal_indices: the observation entries that show the desired goal; none in most tasks.
    """

    # No dataclass: the command line would ask for each of its fields.
    def __init__(
        self,
        env: str,
        observation_size: int,
        action_size: int,
        goal_size: int,
        goal_indices: Sequence[int] | None,
        desired_goal_indices: Sequence[int] = (),
    ) -> None:
        self.env = env
        self.goal_indices = None if goal_indices is None else tuple(goal_indices)
        self.observation_size, self.action_size, self.goal_size = observation_size, action_size, goal_size
        self.desired_goal_indices = tuple(desired_goal_indices)

    def shape(self) -> dict[str, Any]:
        """Return the arguments of `Shape`, as plain data."""
        return {
            "env": self.env,
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "goal_size": self.goal_size,
            "goal_indices": None if self.goal_indices is None else list(self.goal_indices),
            "desired_goal_indices": list(self.desired_goal_indices),
        }


class Task(Shape):
    """Sizes, episode length, state-to-goal map phi and reward function of a goal environment.

    A model's state is the observation where phi reads the achieved goal off it, and else the observation joined with
    the achieved goal.

    Args:
        env: Gymnasium id.
        horizon: steps of an episode, at most.
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        goal_size: entries of a goal.
        goal_indices: the observation entries that make the achieved goal, phi(s) = s[goal_indices]; None where the
            achieved goal is no part of the observation, or where it is not clear which entries make it.
        compute_reward: the environment's own reward of achieved goals [B, goal] under desired goals [B, goal].
        goal_box: lowest and highest desired goals [2, goal] as the environment declares them; None where unbounded.
        rewards: what `compute_reward` gives away from the goal and at it: -1 and 0 in the paper's tasks, 0 and 1 in
            gymnasium-robotics' mazes.
        goal_dtype: NumPy type of the environment's goals.
        desired_goal_indices: the observation entries that show the desired goal; none in most tasks.
        unclear_phi: why `goal_indices` is None although some entries could make the achieved goal; empty else.
    """

    def __init__(
        self,
        env: str,
        horizon: int,
        observation_size: int,
        action_size: int,
        goal_size: int,
        goal_indices: tuple[int, ...] | None,
        compute_reward: RewardFunction,
        goal_box: Tensor | None = None,
        rewards: tuple[float, float] = (-1.0, 0.0),
        goal_dtype: DTypeLike = np.float32,
        desired_goal_indices: tuple[int, ...] = (),
        unclear_phi: str = "",
    ) -> None:
        super().__init__(env, observation_size, action_size, goal_size, goal_indices, desired_goal_indices)
        self.horizon, self.unclear_phi = horizon, unclear_phi
        self.compute_reward, self.goal_box, self.rewards = compute_reward, goal_box, rewards
        self.goal_dtype = np.dtype(goal_dtype)
        self.ended_at_goal = False  # whether an episode was seen to end, and not by its time, at its goal
        self.went_on_at_goal = False  # whether one was seen to go on there; an end at a goal then had another cause

    def __str__(self) -> str:
        """Return what was read off the environment, in a line."""
        entries = ", ".join(map(str, self.goal_indices or ()))
        some = "entry" if self.goal_size == 1 else "entries"
        shown = f"{some} {entries} of the observation" if entries else "no part of the observation"
        if self.unclear_phi:
            shown = "unclear, as several entries of the observation equal it"
        (away, at_goal), length = self.rewards, f"{self.horizon} steps an episode"
        return f"{self.env}, {length}, achieved goal: {shown}, reward {at_goal:g} at the goal, else {away:g}"

    # The model's states

    @property
    def episode_bytes(self) -> int:
        """Bytes of an episode in the replay, 32-bit numbers for the most part."""
        states, steps = self.observation_size + self.goal_size, self.goal_size + self.action_size
        return 4 * ((self.horizon + 1) * states + self.horizon * steps)

    @property
    def transition_bytes(self) -> int:
        """Bytes of a replayed transition: the states before, after and later on, the goals, the action."""
        return 4 * (3 * (self.observation_size + self.goal_size) + self.goal_size + self.action_size)

    @property
    def state_size(self) -> int:
        """Entries of a model's state."""
        return self.observation_size + (self.goal_size if self.goal_indices is None else 0)

    def state(self, observation: Tensor, achieved_goal: Tensor) -> Tensor:
        """Return a model's states [..., state] of observations [..., obs] and achieved goals [..., goal]."""
        return torch.cat([observation, achieved_goal], dim=-1) if self.goal_indices is None else observation

    def observation(self, state: Tensor) -> Tensor:
        """Return the observations [..., obs] in a model's states [..., state]."""
        return state[..., : self.observation_size] if self.goal_indices is None else state

    def phi(self, state: Tensor) -> Tensor:
        """Map a model's states [..., state] to the goals they achieve [..., goal] (Section 3.1)."""
        if self.goal_indices is None:
            return state[..., self.observation_size :]
        return state[..., self.goal_indices]

    def keep_shown_goal(self, state: Tensor, before: Tensor) -> Tensor:
        """Return generated states [..., state] that show the desired goal of those before them.

        A generator does not know it: where observations show one, it is given the goal that it is to go to instead.
        """
        shown = list(self.desired_goal_indices)
        return state.index_copy(-1, torch.tensor(shown, device=state.device), before[..., shown]) if shown else state

    # Rewards

    def raw_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Return the environment's own reward [B] of achieved [B, goal] under desired goals [B, goal], in its dtype."""
        if np.issubdtype(self.goal_dtype, np.integer):
            achieved_goal, desired_goal = np.rint(achieved_goal), np.rint(desired_goal)
        goals = achieved_goal.astype(self.goal_dtype), desired_goal.astype(self.goal_dtype)
        return np.asarray(self.compute_reward(*goals, {}))

    def reward(self, achieved_goal: Tensor, desired_goal: Tensor) -> Tensor:
        """Recompute the reward [B] of achieved [B, goal] under desired goals [B, goal] (Eq. 1).

        It is the task's own, shifted and scaled to -1 away from the goal and 0 at it, as the bounds of the critic's
        targets want it; what is best to do stays the same.
        """
        away, at_goal = self.rewards
        reward = self.raw_reward(achieved_goal.numpy(force=True), desired_goal.numpy(force=True))
        reward = (reward - at_goal) / (at_goal - away)
        return torch.as_tensor(reward, dtype=torch.float32, device=achieved_goal.device)

    @property
    def reward_after_end(self) -> float:
        """What a step after the end is worth, on the scale of `reward`: nothing more comes, that is the task's own 0.

        0 in the paper's tasks, and -1 where a task gives 1 at the goal and 0 elsewhere.
        """
        away, at_goal = self.rewards
        return min((0.0 - at_goal) / (at_goal - away), 0.0)

    def ends(self, reward: Tensor) -> Tensor:
        """Tell which steps with these rewards [B] end an episode because they reach its goal [B]."""
        return (reward == 0.0) & self.ends_at_goal

    @property
    def ends_at_goal(self) -> bool:
        """Whether episodes end because their goal is reached, as far as was seen."""
        return self.ended_at_goal and not self.went_on_at_goal

    def see(self, ended_at_goal: bool = False, went_on_at_goal: bool = False) -> None:
        """Take note of what episodes did at their goals."""
        self.ended_at_goal |= ended_at_goal
        self.went_on_at_goal |= went_on_at_goal

    @property
    def seen(self) -> dict[str, bool]:
        """The arguments of `see` that tell all that was seen."""
        return {"ended_at_goal": self.ended_at_goal, "went_on_at_goal": self.went_on_at_goal}

    # What each training episode must keep to

    def check_achieved_goals(self, observation: Tensor, achieved_goal: Tensor, episode: int) -> None:
        """Raise `UserError` if observations [t, obs] do not show the achieved goals [t, goal] where they did so far."""
        self._check_shown("achieved", "data.goal_indices", self.goal_indices or (), observation, achieved_goal, episode)

    def check_desired_goals(self, observation: Tensor, desired_goal: Tensor, episode: int) -> None:
        """Raise `UserError` if observations [t, obs] do not show the environment's goals [t, goal] where they did."""
        setting = "data.desired_goal_indices"
        self._check_shown("desired", setting, self.desired_goal_indices, observation, desired_goal, episode)

    def _check_shown(
        self, kind: str, setting: str, indices: Sequence[int], observation: Tensor, goals: Tensor, episode: int
    ) -> None:
        shown = observation[:, list(indices)]
        if len(indices) > 0 and not torch.allclose(shown, goals, atol=1e-6):
            step = int((shown - goals).abs().amax(dim=1).argmax())
            raise UserError(
                f"{setting} is {list(indices)}, but at step {step} of training episode {episode} these entries of "
                f"the observation are not the {kind} goal; allowed: the entries that always are"
            )

    def require_phi(self, user: str) -> None:
        """Raise `UserError` if it is not clear to `user` which goals states achieve."""
        if self.unclear_phi:
            raise UserError(
                f"data.goal_indices is null, but {user} must know the achieved goal of {self.env}, and "
                f"{self.unclear_phi}; allowed: the observation entry for each entry of the goal"
            )
