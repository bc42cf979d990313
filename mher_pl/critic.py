"""The action value Q(s, a, g)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mher_pl.errors import require_positive, require_sizes
from mher_pl.networks import MLP
from mher_pl.parts import Part
from mher_pl.task import Task


class Critic(Part, nn.Module, ABC):
    """Values actions from what `Inputs` made of observations and goals. The target is a second one of its kind.

    Args:
        hidden_sizes: units of each hidden layer.
        lr: Adam's learning rate.
    """

    def __init__(self, hidden_sizes: list[int], lr: float) -> None:
        super().__init__()
        require_sizes("model.critic.hidden_sizes", hidden_sizes)
        require_positive("model.critic.lr", lr)
        self.hidden_sizes, self.lr = hidden_sizes, lr

    @abstractmethod
    def build(self, task: Task, input_size: int) -> None:
        """Create fresh weights for inputs of `input_size` entries and the task's actions."""

    @abstractmethod
    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Return Q [...] of inputs [..., in] and actions [..., action], which the actor is to raise."""

    @abstractmethod
    def loss(self, inputs: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss [] towards the targets [B] (Eq. 7), and the mean value [] to log."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam; fused, because with networks this small the calls cost more than the arithmetic."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)


class SingleCritic(Critic):
    """One network (Appendix D.1)."""

    def build(self, task: Task, input_size: int) -> None:
        """Create fresh weights."""
        self.network = MLP([input_size + task.action_size, *self.hidden_sizes, 1])

    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Return Q [...] of inputs [..., in] and actions [..., action]."""
        return self.network(torch.cat([inputs, action], dim=-1)).squeeze(-1)

    def loss(self, inputs: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared TD error, and the mean value."""
        value = self(inputs, action)  # [B]
        return F.mse_loss(value, target), value.mean()
