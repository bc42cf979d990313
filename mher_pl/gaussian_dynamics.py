"""MapGo's dynamics model: an ensemble of Gaussians, fitted to all that is stored (Zhu et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from mher_pl.dynamics import ChangeModel
from mher_pl.errors import require, require_at_least, require_int, require_positive, require_probability, require_sizes
from mher_pl.networks import MLP
from mher_pl.task import Task

LARGEST_LOG_VARIANCE = (
    80.0  # what is beyond it, or beyond its negative, has a variance of infinity, or zero, in 32 bits
)


class GaussianDynamics(ChangeModel):
    """Networks that predict mean and log-variance of the change of state; the best few of them, the elites, count.

    After each episode all learn from the whole replay but for a hold-out, until no member predicts the hold-out better
    any more. Each member keeps its best weights, and those with the smallest errors are the elites. A state is drawn
    from one of them, the mean is theirs.

    Args:
        members: networks in the ensemble.
        elites: members that predict.
        hidden_sizes: units of each hidden layer.
        weight_decay: weight of half the sum of squared weights in the loss, of each layer.
        min_log_variance: soft lower bound of the log-variance of the normalised change.
        max_log_variance: soft upper bound.
        lr: Adam's learning rate.
        batch_size: transitions of a gradient step, which each member draws for itself.
        max_updates: gradient steps after an episode, at most; 0 leaves it to the hold-out.
        holdout_share: share of the stored transitions that is held out, drawn anew after each episode.
        holdout_rows: transitions that are held out, at most.
        min_improvement: share by which a hold-out error must fall to count as better.
        patience: passes through the data without a better member after which learning ends with the next.
        min_std: floor of the standard deviations of inputs and targets.
        clip: normalised inputs and targets are clipped to [-clip, clip].
    """

    updates_per_batch = 0
    refits = True
    elite: Tensor

    def __init__(
        self,
        members: int,
        elites: int,
        hidden_sizes: list[int],
        weight_decay: list[float],
        min_log_variance: float,
        max_log_variance: float,
        lr: float,
        batch_size: int,
        max_updates: int,
        holdout_share: float,
        holdout_rows: int,
        min_improvement: float,
        patience: int,
        min_std: float,
        clip: float,
    ) -> None:
        super().__init__(min_std, clip)
        require_int("model.dynamics.members", members, 1)
        require_int("model.dynamics.elites", elites, 1)
        require(elites <= members, "model.dynamics.elites", elites, f"at most {members}, members")
        require_sizes("model.dynamics.hidden_sizes", hidden_sizes)
        layers = len(hidden_sizes) + 1
        require(
            len(weight_decay) == layers and all(0.0 <= decay < math.inf for decay in weight_decay),
            "model.dynamics.weight_decay",
            weight_decay,
            f"{layers} numbers of at least 0, one for each hidden layer and the last",
        )
        require_at_least("model.dynamics.min_log_variance", min_log_variance, -LARGEST_LOG_VARIANCE)
        require(
            max_log_variance <= LARGEST_LOG_VARIANCE,
            "model.dynamics.max_log_variance",
            max_log_variance,
            f"a number of at most {LARGEST_LOG_VARIANCE:g}",
        )
        require(
            min_log_variance < max_log_variance,
            "model.dynamics.min_log_variance",
            min_log_variance,
            f"a number below max_log_variance, {max_log_variance:g}",
        )
        require_positive("model.dynamics.lr", lr)
        require_int("model.dynamics.batch_size", batch_size, 1)
        require_int("model.dynamics.max_updates", max_updates, 0)
        require_probability("model.dynamics.holdout_share", holdout_share)
        require_int("model.dynamics.holdout_rows", holdout_rows, 1)
        below_all = 0.0 <= min_improvement < 1.0
        require(below_all, "model.dynamics.min_improvement", min_improvement, "a number from 0 to below 1")
        require_int("model.dynamics.patience", patience, 0)
        self.members, self.elites, self.hidden_sizes, self.weight_decay = members, elites, hidden_sizes, weight_decay
        self.min_log_variance, self.max_log_variance, self.lr = min_log_variance, max_log_variance, lr
        self.batch_size, self.max_updates = batch_size, max_updates
        self.holdout_share, self.holdout_rows = holdout_share, holdout_rows
        self.min_improvement, self.patience = min_improvement, patience

    def build(self, task: Task) -> None:
        """Create weights and statistics for the task's sizes."""
        super().build(task)
        sizes = [task.state_size + task.action_size, *self.hidden_sizes, 2 * task.state_size]
        self.networks = MLP(sizes, self.members, swish=True)
        self.register_buffer("elite", torch.arange(self.elites))  # members, as the last hold-out rated them

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with each layer's weight decay; biases have none."""
        groups = []
        for layer, decay in zip(self.networks.layers, self.weight_decay, strict=True):
            groups += [
                {"params": [layer.weight], "weight_decay": decay},
                {"params": [layer.bias], "weight_decay": 0.0},
            ]
        return torch.optim.Adam(groups, lr=self.lr, fused=True)

    # Predictions

    def distribution(self, inputs: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance [E, B, state] of the normalised change, by all members or the `chosen`."""
        mean, log_variance = self.networks(inputs, chosen).chunk(2, dim=-1)
        log_variance = self.max_log_variance - F.softplus(self.max_log_variance - log_variance)
        return mean, self.min_log_variance + F.softplus(log_variance - self.min_log_variance)

    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """Return the next states [B, state]: the mean of the elites' means."""
        inputs = self.input_normalizer(torch.cat([state, action], dim=-1))
        mean, _ = self.distribution(inputs.expand(self.elites, -1, -1), self.elite)
        return state + self.change_normalizer.inverse(mean.mean(dim=0))

    def draw(self, state: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return next states [B, state], each drawn from an elite of its own choice.

        The rows are dealt out at random, to all elites alike, so that each row costs one network and not all.
        """
        rows, device = len(state), state.device
        inputs = self.input_normalizer(torch.cat([state, action], dim=-1))
        count = -(-rows // self.elites)  # rows of each elite; a few are dealt out twice where it does not come out even
        order = torch.randperm(self.elites * count, generator=generator, device=device)
        mean, log_variance = self.distribution(inputs[order % rows].view(self.elites, count, -1), self.elite)
        noise = torch.randn(mean.shape, generator=generator, device=device)
        change = (mean + (0.5 * log_variance).exp() * noise).flatten(0, 1)[order.argsort()[:rows]]
        return state + self.change_normalizer.inverse(change)

    # Learning

    def loss(self, examples: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the members' mean negative log-likelihoods, twice and without their constant, summed over members.

        The examples are those of all members [B, ...], or of each [E, B, ...].
        """
        inputs, change = examples
        mean, log_variance = self.distribution(inputs.expand(self.members, -1, -1))
        losses = (mean - change).square() * torch.exp(-log_variance) + log_variance  # [E, B, state]
        loss = self.members * losses.mean()
        return loss, {"train/model_loss": loss / self.members}

    @torch.no_grad()
    def errors(self, inputs: Tensor, change: Tensor) -> Tensor:
        """Return each member's mean squared error [E] of its mean on inputs [B, in] and changes [B, state]."""
        mean, _ = self.distribution(inputs.expand(self.members, -1, -1))
        return (mean - change).square().mean(dim=(1, 2))

    def refit(
        self,
        batch: TensorDict,
        minimize: Callable[[Tensor], None],
        reduce: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Learn from all stored transitions [N] until the hold-out says enough; returns scalars to log."""
        inputs, change = self.examples(batch)
        order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        held = min(max(1, int(self.holdout_share * len(inputs))), self.holdout_rows)
        holdout, rows = order[:held], order[held:] if len(inputs) > held else order
        workers = reduce(torch.ones((), device=inputs.device))
        # Equally many on all data-parallel workers, whose replays may differ.
        batches = math.ceil(int(reduce(torch.tensor(len(rows), device=inputs.device)) / workers) / self.batch_size)
        best = [weight.detach().clone() for weight in self.networks.parameters()]  # of each member
        best_errors = torch.full((self.members,), torch.inf, device=inputs.device)
        updates = passes_without = 0
        while passes_without <= self.patience and updates < (self.max_updates or math.inf):
            left = min(batches, self.max_updates - updates) if self.max_updates else batches
            for _ in range(left):
                drawn = torch.randint(
                    len(rows), (self.members, self.batch_size), generator=generator, device=rows.device
                )
                chosen = rows[drawn]  # [E, B]
                loss, metrics = self.loss((inputs[chosen], change[chosen]))
                minimize(loss)
            updates += left
            errors = reduce(self.errors(inputs[holdout], change[holdout])) / workers  # [E]
            better = errors < (1.0 - self.min_improvement) * best_errors
            best_errors = torch.where(better, errors, best_errors)
            for kept, weight in zip(best, self.networks.parameters(), strict=True):
                kept[better] = weight.detach()[better]
            passes_without = 0 if better.any() else passes_without + 1
        with torch.no_grad():
            for kept, weight in zip(best, self.networks.parameters(), strict=True):
                weight.copy_(kept)
        best_errors, ranks = best_errors.sort()
        self.elite.copy_(ranks[: self.elites])
        return {
            "train/model_loss": metrics["train/model_loss"],
            "train/model_holdout_error": best_errors[: self.elites].mean(),
            "train/model_updates": torch.tensor(float(updates), device=inputs.device),
        }
