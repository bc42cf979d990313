"""Where training episodes come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tensordict import TensorDict

from mher_pl.exploration import Act, Exploration
from mher_pl.parts import Part
from mher_pl.task import Task


class EpisodeSource(Part, ABC):
    """Gives the data module one training episode after another."""

    @abstractmethod
    def open(self, task: Task, env_kwargs: dict[str, Any], exploration: Exploration, act: Act, seed: int) -> None:
        """Get ready to train.

        Args:
            task: what is learned.
            env_kwargs: arguments of its environment.
            exploration: acts in the episodes.
            act: the deterministic actor, which goes on learning between episodes.
            seed: of all randomness.
        """

    @abstractmethod
    def next(self, random: bool = False) -> TensorDict:
        """Return an episode, of uniformly random actions if `random`.

        It holds `observation` [T+1, obs], `achieved_goal` [T+1, goal], `desired_goal` [goal], `action` [T, action] and
        `is_success` [], that of its last step.
        """

    def close(self) -> None:
        """Free what the source holds."""
