"""PlanGAN's one-step models: an ensemble whose members answer, and learn, one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require_at_least, require_int, require_positive, require_sizes
from mher_pl.networks import MLP
from mher_pl.normalizer import Normalizer
from mher_pl.parts import DynamicsModel
from mher_pl.task import Task


class OneStepModels(DynamicsModel):
    """Networks that predict the normalised change of state, each trained on rows of its own.

    Args:
        members: networks in the ensemble, M.
        hidden_sizes: units of each hidden layer.
        lr: Adam's learning rate.
        weight_decay: Adam's, twice the weight that the sum of squared weights would have in the loss.
        state_min_std: floor of the standard deviations of states.
        change_min_std: floor of the standard deviations of changes of state.
        clip: normalised states and changes, the predicted ones too, are clipped to [-clip, clip].
    """

    updates_per_batch = 1

    def __init__(
        self,
        members: int,
        hidden_sizes: list[int],
        lr: float,
        weight_decay: float,
        state_min_std: float,
        change_min_std: float,
        clip: float,
    ) -> None:
        super().__init__()
        require_int("model.dynamics.members", members, 1)
        self.least_rows = members
        require_sizes("model.dynamics.hidden_sizes", hidden_sizes)
        require_positive("model.dynamics.lr", lr)
        require_at_least("model.dynamics.weight_decay", weight_decay, 0.0)
        require_positive("model.dynamics.state_min_std", state_min_std)
        require_positive("model.dynamics.change_min_std", change_min_std)
        require_positive("model.dynamics.clip", clip)
        self.members, self.hidden_sizes, self.lr, self.weight_decay = members, hidden_sizes, lr, weight_decay
        self.state_min_std, self.change_min_std, self.clip = state_min_std, change_min_std, clip

    def build(self, task: Task) -> None:
        """Create weights and statistics for the task's sizes."""
        self.task = task
        self.networks = MLP([task.state_size + task.action_size, *self.hidden_sizes, task.state_size], self.members)
        self.state_normalizer = Normalizer(task.state_size, self.state_min_std, self.clip)
        self.change_normalizer = Normalizer(task.state_size, self.change_min_std, self.clip)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def observe(self, state: Tensor, action: Tensor, next_state: Tensor, reduce: Callable[[Tensor], Tensor]) -> None:
        """Fold new transitions [N, state], [N, action], [N, state] into the statistics; `reduce` sums over workers."""
        self.state_normalizer.update(reduce(Normalizer.sums_of(state)))
        self.change_normalizer.update(reduce(Normalizer.sums_of(next_state - state)))

    def changes(self, state: Tensor, action: Tensor) -> Tensor:
        """Return normalised changes of state [M, B, state]; states and actions may be one set of rows for all."""
        inputs = torch.cat([self.state_normalizer(state), action], dim=-1)
        return self.networks(inputs.expand(self.members, -1, -1))

    def predict_each(self, state: Tensor, action: Tensor) -> Tensor:
        """Return next states [M, B, state] of states [M, B, state] and actions [M, B, action], each member its own."""
        return state + self.change_normalizer.inverse(self.changes(state, action).clamp(-self.clip, self.clip))

    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """Return the next states [B, state]: the mean of the members."""
        return self.predict_each(state, action).mean(dim=0)

    def examples(self, batch: TensorDict) -> tuple[Tensor, Tensor, Tensor]:
        """Return states [M, B/M, state], actions and normalised changes, of rows that the members share out."""
        rows = len(batch) // self.members
        share = batch[: self.members * rows].reshape(self.members, rows)
        state = self.task.state(share["observation"], share["achieved_goal"])
        next_state = self.task.state(share["next", "observation"], share["next", "achieved_goal"])
        return state, share["action"], self.change_normalizer(next_state - state)

    def loss(self, examples: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the members' mean squared errors, summed, so that each has the gradient it would have alone."""
        state, action, change = examples
        error = (self.changes(state, action) - change).square().mean()
        return self.members * error, {"train/model_loss": error}

    def disagreement(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Return how far next states [B, state] are from the members' own: mean squared errors [B] of the change.

        Not clipped: far off, too, there is a gradient.
        """
        normalizer = self.change_normalizer
        change = (next_state - state - normalizer.mean) / normalizer.std  # [B, state]
        return (self.changes(state, action) - change).square().mean(dim=(0, -1))
