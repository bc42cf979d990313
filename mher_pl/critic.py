"""The action value Q(s, a, g)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mher_pl.errors import require, require_int, require_positive, require_sizes
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

    def target(self, inputs: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return Q' [B] of inputs [B, in] and actions [B, action] for a TD target."""
        return self(inputs, action)

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


class EnsembleCritic(Critic):
    """Several networks; targets are the minimum over a few of them (REDQ, Chen et al. 2021).

    The actor is to raise their mean.

    Args:
        hidden_sizes: units of each hidden layer.
        lr: Adam's learning rate.
        members: networks in the ensemble.
        target_members: as many, drawn anew for each target, have their minimum taken.
        layer_norm: whether hidden layers are normalised (bounds what the critic makes of unseen actions).
    """

    def __init__(self, hidden_sizes: list[int], lr: float, members: int, target_members: int, layer_norm: bool) -> None:
        super().__init__(hidden_sizes, lr)
        require_int("model.critic.members", members, 1)
        require_int("model.critic.target_members", target_members, 1)
        require(target_members <= members, "model.critic.target_members", target_members, f"at most {members}, members")
        self.members, self.target_members, self.layer_norm = members, target_members, layer_norm

    def build(self, task: Task, input_size: int) -> None:
        """Create fresh weights."""
        self.network = MLP([input_size + task.action_size, *self.hidden_sizes, 1], self.members, self.layer_norm)

    def values(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Return each member's Q [E, B] of inputs [B, in] and actions [B, action]."""
        return self.network(torch.cat([inputs, action], dim=-1).expand(self.members, -1, -1)).squeeze(-1)

    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Return the members' mean Q [B]."""
        return self.values(inputs, action).mean(dim=0)

    def target(self, inputs: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return the minimum of Q' [B] over members drawn at random."""
        drawn = torch.randperm(self.members, generator=generator, device=generator.device)[: self.target_members]
        return self.values(inputs, action)[drawn].amin(dim=0)

    def loss(self, inputs: Tensor, action: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the members' mean squared TD errors, summed, so that each learns as if alone, and the mean value."""
        values = self.values(inputs, action)  # [E, B]
        return self.members * F.mse_loss(values, target.expand_as(values)), values.mean()
