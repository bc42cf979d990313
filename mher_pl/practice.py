"""Which goals training episodes pursue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from mher_pl.errors import require_probability
from mher_pl.parts import Part
from mher_pl.task import Task


class Practice(Part, ABC):
    """Chooses the goals that the steps of training episodes are acted for, and stored with."""

    @abstractmethod
    def __call__(
        self, task: Task, achieved_goal: Tensor, given_goal: Tensor, begins: bool, generator: torch.Generator
    ) -> Tensor:
        """Return the goals [N, goal] that the next steps of N environments are acted for.

        Args:
            task: whose reward says where a goal is reached.
            achieved_goal: what the environments' states achieve [N, goal].
            given_goal: what the environments ask for [N, goal].
            begins: whether the episodes begin with this step.
            generator: source of all randomness.
        """


class GivenGoals(Practice):
    """The environment's own goals, all along (the paper's protocol)."""

    def __call__(
        self, task: Task, achieved_goal: Tensor, given_goal: Tensor, begins: bool, generator: torch.Generator
    ) -> Tensor:
        """Return the given goals."""
        return given_goal


class NextGoals(Practice):
    """The environment's own goal and, when a goal is reached, one that some episode was given, and so on.

    The rest of an episode, which the agent would spend at its goal, becomes more ways to more goals.

    Args:
        chance: of going on to the next goal, at each step that begins at the one pursued.
    """

    def __init__(self, chance: float) -> None:
        require_probability("data.practice.chance", chance)
        self.chance = chance
        self.given: list[Tensor] = []  # of all episodes so far, each [goal]

    def __call__(
        self, task: Task, achieved_goal: Tensor, given_goal: Tensor, begins: bool, generator: torch.Generator
    ) -> Tensor:
        """Return the pursued goals, with new ones where they are reached."""
        if begins:
            self.given.extend(given_goal.clone().unbind())
            self.pursued, self.own = given_goal, torch.ones(len(given_goal), dtype=torch.bool)
        self.pursued = torch.where(self.own.unsqueeze(-1), given_goal, self.pursued)  # the environment may move its own
        done = task.reward(achieved_goal, self.pursued) == 0.0  # [N]
        if done.any():
            done = done & (torch.rand(len(done), generator=generator) < self.chance)
            drawn = torch.randint(len(self.given), (len(done),), generator=generator).tolist()
            others = torch.stack([self.given[place] for place in drawn])  # [N, goal]
            self.pursued = torch.where(done.unsqueeze(-1), others, self.pursued)
            self.own = self.own & ~done
        return self.pursued

    def worker_state(self) -> dict[str, Any]:
        """Return the goals that were given."""
        return {"given": torch.stack(self.given)} if self.given else {}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.given = list(state["given"].unbind()) if state else []
