"""Where training episodes come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tensordict import TensorDict

from mher_pl.exploration import Act, Exploration
from mher_pl.parts import Part
from mher_pl.practice import Practice
from mher_pl.task import Task


class EpisodeSource(Part, ABC):
    """Gives the data module training episodes, N at a time, or all before the first epoch where it collects none."""

    collects = True  # whether there are ever new episodes: `next` is asked, or `all`

    @abstractmethod
    def open(
        self,
        task: Task,
        env_kwargs: dict[str, Any],
        num_envs: int,
        exploration: Exploration,
        practice: Practice,
        act: Act,
        seed: int,
    ) -> None:
        """Get ready to train.

        Args:
            task: what is learned.
            env_kwargs: arguments of its environment.
            num_envs: episodes at a time, N.
            exploration: acts in the episodes.
            practice: chooses the goals that they pursue.
            act: the deterministic actor, which goes on learning between episodes.
            seed: of all randomness.
        """

    def next(self, random: bool = False) -> TensorDict:
        """Return N episodes [N] as the replay stores them, of uniformly random actions if `random`.

        Beside the replay's entries each has `is_success` [], that of the step which ended it.
        """
        raise NotImplementedError

    def all(self) -> TensorDict:
        """Return all episodes [N] that there are, as the replay stores them."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what the source holds."""
