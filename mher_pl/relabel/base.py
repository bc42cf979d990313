"""What all relabellers share: the share of rows, the mask and the rewards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require_at_least, require_probability
from mher_pl.parts import DynamicsModel, Learner, Part, require_like
from mher_pl.task import Task


class Relabel(Part, ABC):
    """Gives a replayed batch the goals, mask and rewards that it is trained with.

    The result has, beside the replayed entries,

    - `desired_goal` [B, goal], under which actor and critic learn,
    - `imitation_goal` [B, goal], under which actions are imitated; the same tensor for most methods,
    - `relabelled` [B], the rows whose goal changed,
    - `imitated` [B], the rows that the supervised loss learns from: the relabelled ones, for most methods,
    - `original_goal` [B, goal],
    - `reward` [B] under `desired_goal`,
    - `terminated` [B], the steps that truly end an episode under `desired_goal`: by failure, or, where episodes end
      because their goal is reached, by reaching it.

    A subclass says which goals. Share, mask and reward stand here alone.

    Args:
        ratio: share of relabelled rows.
    """

    imitates = True  # whether the supervised loss learns from any of its rows
    mixes = True  # whether `Mixed` may have its goals: it takes no other rows, and all losses see them

    def __init__(self, ratio: float) -> None:
        require_probability("model.relabel.ratio", ratio)
        self.ratio = ratio

    @abstractmethod
    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return new goals [B, goal], of which those of `rows` [B] count; `learner` lends its policy and its model."""

    def candidates(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Return the batch to relabel: other rows of it, or with more entries for `goals` to choose from."""
        return batch

    def assign(self, batch: TensorDict, goals: Tensor) -> None:
        """Write the goals [B, goal] that the losses see into the batch."""
        batch["desired_goal"] = batch["imitation_goal"] = goals

    def imitated(self, batch: TensorDict) -> Tensor:
        """Return which rows [B] of a relabelled batch have their actions imitated, as a mask of booleans."""
        return batch["relabelled"]

    def __call__(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Relabel a batch (Algorithm 1, lines 9 to 22); all randomness is the generator's."""
        batch = self.candidates(batch, learner, generator).copy()
        batch["original_goal"] = batch["desired_goal"]
        batch["relabelled"] = self.choose_rows(batch, generator)  # [B]
        goals = self.checked_goals(batch, batch["relabelled"], learner, generator)
        self.assign(batch, torch.where(batch["relabelled"].unsqueeze(-1), goals, batch["original_goal"]))
        # The reward compares the goal with what was achieved AFTER the action (line 20).
        batch["reward"] = learner.task.reward(batch["next", "achieved_goal"], batch["desired_goal"])
        batch["imitated"] = imitated = self.imitated(batch)
        require_like("model.relabel", self, "imitated rows", imitated, batch["relabelled"])
        batch["terminated"] = batch["failed"] | learner.task.ends(batch["reward"])
        return batch

    def checked_goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return `goals` [B, goal].

        Raises:
            UserError: they have another shape or type, or are no tensor.
        """
        goals = self.goals(batch, rows, learner, generator)
        require_like("model.relabel", self, "goals", goals, batch["desired_goal"])
        return goals

    def choose_rows(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Choose each row [B] with probability `ratio`."""
        device = batch["desired_goal"].device
        if self.ratio == 0.0:
            return torch.zeros(len(batch), dtype=torch.bool, device=device)
        return torch.rand(len(batch), generator=generator, device=device) < self.ratio


class Wrapper(Relabel):
    """Does something with the goals of another relabeller, on the rows that it chooses.

    Args:
        relabel: gives the goals.
    """

    def __init__(self, relabel: Relabel) -> None:
        super().__init__(relabel.ratio)
        self.relabel = relabel
        self.mixes, self.imitates = type(self).mixes and relabel.mixes, relabel.imitates
        self.uses_phi = type(self).uses_phi or relabel.uses_phi

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if it or the other relabeller lacks something."""
        super().check(task, dynamics)
        self.relabel.check(task, dynamics)

    def candidates(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Return the other's candidates."""
        return self.relabel.candidates(batch, learner, generator)

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the other's goals."""
        return self.relabel.goals(batch, rows, learner, generator)

    def assign(self, batch: TensorDict, goals: Tensor) -> None:
        """Let the same losses see them as the other does."""
        self.relabel.assign(batch, goals)

    def imitated(self, batch: TensorDict) -> Tensor:
        """Return the other's choice."""
        return self.relabel.imitated(batch)

    def choose_rows(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Return the other's choice."""
        return self.relabel.choose_rows(batch, generator)

    @property
    def keeps_state(self) -> bool:
        """Whether the other does."""
        return self.relabel.keeps_state

    def worker_state(self) -> dict[str, Any]:
        """Return the other's state."""
        return self.relabel.worker_state()

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.relabel.load_worker_state(state)


class Noisy(Wrapper):
    """Another relabeller's goals with Gaussian noise (Appendix B.5).

    Args:
        relabel: gives the goals.
        std: standard deviation of the noise, in units of the goal.
    """

    def __init__(self, relabel: Relabel, std: float) -> None:
        super().__init__(relabel)
        require_at_least("model.relabel.std", std, 0.0)
        self.std = std

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the other's goals, each with noise of its own."""
        goals = super().goals(batch, rows, learner, generator)
        return goals + self.std * torch.randn(goals.shape, generator=generator, device=goals.device)


class WhereRight(Wrapper):
    """Another relabeller's goals where the model is right, hindsight goals elsewhere.

    It is asked about each row: right is whose prediction of what the row's own action achieved is near what it did.

    Args:
        relabel: gives the goals, through the model.
        error: distance by which the prediction may miss, in units of the goal.
    """

    uses_model = True

    def __init__(self, relabel: Relabel, error: float) -> None:
        super().__init__(relabel)
        require_at_least("model.relabel.error", error, 0.0)
        self.error = error

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the other's goals [B, goal] where the model is right, else the replay's hindsight goals."""
        task, dynamics = learner.task, learner.dynamics
        assert dynamics is not None  # `Part.check` has seen to it
        with torch.inference_mode():
            state = task.state(batch["observation"], batch["achieved_goal"])
            predicted = task.phi(dynamics.predict(state, batch["action"]))
            right = (predicted - batch["next", "achieved_goal"]).norm(dim=-1) <= self.error
        goals = super().goals(batch, rows & right, learner, generator)
        return torch.where(right.unsqueeze(-1), goals, batch["hindsight_goal"])


class ImitationOnly(Wrapper):
    """Another relabeller's goals for the supervised loss alone; the RL losses keep the original ones (Section 5.5).

    Args:
        relabel: gives the goals to imitate under.
    """

    mixes = False

    def assign(self, batch: TensorDict, goals: Tensor) -> None:
        """Let the supervised loss alone see the goals."""
        batch["imitation_goal"] = goals
