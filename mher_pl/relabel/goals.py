"""Goals that need no model: the original ones, hindsight goals, random ones."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.parts import Learner
from mher_pl.relabel.base import Relabel
from mher_pl.task import Task


class Keep(Relabel):
    """Train under the original goals (DDPG)."""

    imitates = False

    def __init__(self) -> None:
        super().__init__(ratio=0.0)

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the original goals."""
        return batch["desired_goal"]


class Future(Relabel):
    """HER: a goal achieved later in the same episode (Section 3.2).

    Args:
        ratio: share of relabelled rows.
    """

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the replay's hindsight goals."""
        return batch["hindsight_goal"]


class OtherGoals(Relabel):
    """A goal that another transition of the batch was acted for: what the agent is asked for, wherever it is.

    The action has little to do with such a goal, so it is not imitated.

    Args:
        ratio: share of relabelled rows.
    """

    imitates = False

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the batch's desired goals in another order."""
        goals = batch["desired_goal"]
        return goals[torch.randperm(len(goals), generator=generator, device=goals.device)]

    def imitated(self, batch: TensorDict) -> Tensor:
        """Imitate nothing."""
        return torch.zeros_like(batch["relabelled"])


class RandomGoals(Relabel):
    """A goal drawn uniformly from the goal space (Appendix B.5).

    The space is the box that the environment declares for desired goals. Where that is unbounded, it is the smallest
    box around all goals of the batch, desired, achieved and hindsight, which after a few episodes is what the agent
    knows of the space.

    Args:
        ratio: share of relabelled rows.
    """

    def candidates(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Draw a goal for each row."""
        low, high = self.box(batch, learner.task)
        shape, device = batch["desired_goal"].shape, batch["desired_goal"].device
        batch = batch.copy()
        batch["random_goal"] = low + (high - low) * torch.rand(shape, generator=generator, device=device)
        return batch

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the goals that were drawn."""
        return batch["random_goal"]

    @staticmethod
    def box(batch: TensorDict, task: Task) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest goals [goal]."""
        if task.goal_box is not None:
            low, high = task.goal_box.to(batch["desired_goal"].device)
            return low, high
        seen = torch.cat([batch["desired_goal"], batch["hindsight_goal"], batch["next", "achieved_goal"]])
        return seen.amin(dim=0), seen.amax(dim=0)
