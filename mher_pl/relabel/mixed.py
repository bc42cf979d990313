"""Goals of several relabellers, each on its share of a batch."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import UserError
from mher_pl.parts import DynamicsModel, Learner
from mher_pl.relabel.base import Relabel
from mher_pl.task import Task


class Mixed(Relabel):
    """Goals of several relabellers: each row is relabelled by one of them, with its `ratio` as the chance, or by none.

    Args:
        relabellers: whose goals; their ratios add up to at most 1.
    """

    mixes = False

    def __init__(self, relabellers: list[Relabel]) -> None:
        for relabel in relabellers:
            if not relabel.mixes:
                raise UserError(
                    f"model.relabel.relabellers has {type(relabel).__name__}; allowed: relabellers that give goals "
                    "alone, not Mixed, Curriculum, ImitationOnly or one around them"
                )
        ratios = [relabel.ratio for relabel in relabellers]
        if not relabellers or sum(ratios) > 1.0 + 1e-9:
            raise UserError(
                f"model.relabel.relabellers have the ratios {ratios}; allowed: some that add up to at most 1"
            )
        super().__init__(min(sum(ratios), 1.0))
        self.relabellers = relabellers
        self.imitates = any(relabel.imitates and relabel.ratio > 0.0 for relabel in relabellers)
        self.uses_phi = any(relabel.uses_phi for relabel in relabellers)

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if one of the relabellers lacks something."""
        for relabel in self.relabellers:
            relabel.check(task, dynamics)

    def candidates(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Draw which relabeller each row gets, `choice` [B]; one beyond the last is none."""
        for relabel in self.relabellers:
            batch = relabel.candidates(batch, learner, generator)
        batch = batch.copy()
        goal = batch["desired_goal"]
        edges = torch.tensor([relabel.ratio for relabel in self.relabellers], device=goal.device).cumsum(0)
        batch["choice"] = torch.bucketize(torch.rand(len(batch), generator=generator, device=goal.device), edges)
        return batch

    def choose_rows(self, batch: TensorDict, generator: torch.Generator) -> Tensor:
        """Choose the rows [B] that got a relabeller."""
        return batch["choice"] < len(self.relabellers)

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the goals [B, goal] of each row's relabeller."""
        goals = batch["desired_goal"]
        for number, relabel in enumerate(self.relabellers):
            own = batch["choice"] == number
            goals = torch.where(own.unsqueeze(-1), relabel.checked_goals(batch, own, learner, generator), goals)
        return goals

    def imitated(self, batch: TensorDict) -> Tensor:
        """Return the rows [B] that the relabellers imitate, each of its own."""
        rows = torch.zeros_like(batch["relabelled"])
        for number, relabel in enumerate(self.relabellers):
            rows = rows | (relabel.imitated(batch) & (batch["choice"] == number))
        return rows

    @property
    def keeps_state(self) -> bool:
        """Whether one of the relabellers does."""
        return any(relabel.keeps_state for relabel in self.relabellers)

    def worker_state(self) -> dict[str, Any]:
        """Return the relabellers' states."""
        states = {str(number): relabel.worker_state() for number, relabel in enumerate(self.relabellers)}
        return {number: state for number, state in states.items() if state}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        for number, own in state.items():
            self.relabellers[int(number)].load_worker_state(own)
