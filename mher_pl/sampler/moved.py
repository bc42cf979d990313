"""Episodes in which something was achieved that was not at their beginning."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require, require_at_least, require_probability
from mher_pl.parts import DynamicsModel
from mher_pl.sampler.base import Sampler
from mher_pl.task import Task


class Moved(Sampler):
    """Replay an episode in which the achieved goal hardly moved less: all hindsight goals in it are reached already.

    So it is where an arm does not meet the object. Other episodes are drawn alike, by their lengths.

    Args:
        distance: by which the achieved goal leaves its first place, in any direction, where it counts as moved, in
            units of the goal.
        chance: of an episode in which it has not, where that of another is 1.
        entries: of the goal that count, such as the height where an object has to be lifted; None for all.
    """

    def __init__(self, distance: float, chance: float, entries: list[int] | None) -> None:
        require_at_least("data.sampler.distance", distance, 0.0)
        require_probability("data.sampler.chance", chance)
        self.distance, self.chance, self.entries = distance, chance, entries
        self.moved = torch.zeros(0, dtype=torch.bool)  # [N] of the stored episodes

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if entries are none of a goal."""
        super().check(task, dynamics)
        entries = self.entries
        known = entries is None or (len(entries) > 0 and all(0 <= entry < task.goal_size for entry in entries))
        require(known, "data.sampler.entries", entries, f"entries of a goal, from 0 to {task.goal_size - 1}, or null")

    def update(self, episodes: TensorDict, newest: int) -> None:
        """Look at the newest episode."""
        if newest == len(self.moved):
            self.moved = torch.cat([self.moved, torch.zeros(1, dtype=torch.bool)])
        path = episodes["achieved_goal"][newest, : int(episodes["length"][newest]) + 1]  # [T+1, goal]
        way = path - path[0] if self.entries is None else (path - path[0])[:, self.entries]
        self.moved[newest] = (way.norm(dim=-1) > self.distance).any()

    def __call__(self, episodes: int, size: int, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1."""
        weights = torch.where(self.moved, 1.0, self.chance)
        weights = weights if lengths is None else weights * lengths
        if not weights.any():  # nothing has moved yet, and such episodes have no chance
            weights = torch.ones(episodes) if lengths is None else lengths.float()
        return torch.multinomial(weights, size, replacement=True, generator=generator)

    def worker_state(self) -> dict[str, Any]:
        """Return which episodes moved, and what that meant."""
        return {"moved": self.moved.clone(), "distance": self.distance, "entries": self.entries}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore it.

        Raises:
            UserError: it means something else now.
        """
        for name in ("distance", "entries"):
            own, saved = getattr(self, name), state[name]
            require(own == saved, f"data.sampler.{name}", own, f"{saved}, as in the checkpoint")
        self.moved = state["moved"]
