"""The learned dynamics model m(s, a) of Section 4.1, as an ensemble."""

from collections.abc import Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mher_pl.errors import require_int, require_positive
from mher_pl.networks import Ensemble
from mher_pl.normalizer import Normalizer
from mher_pl.task import Task


class EnsembleDynamics(nn.Module):
    """Networks that predict the change of state, s' = s + m(s, a), averaged over the members (Eq. 4).

    Args:
        members: networks in the ensemble; 1 is the paper's text, 3 its program.
        hidden_sizes: units of each hidden layer.
        lr: Adam's learning rate.
        updates_per_batch: gradient steps on each replayed batch.
        max_grad_norm: each member's gradient is scaled down to this norm.
        min_std: floor of the standard deviations of inputs and targets.
        clip: normalised inputs and targets are clipped to [-clip, clip].
    """

    def __init__(
        self,
        members: int,
        hidden_sizes: list[int],
        lr: float,
        updates_per_batch: int,
        max_grad_norm: float,
        min_std: float,
        clip: float,
    ) -> None:
        super().__init__()
        require_int("model.dynamics.members", members, 1)
        require_int("model.dynamics.updates_per_batch", updates_per_batch, 0)
        require_positive("model.dynamics.lr", lr)
        require_positive("model.dynamics.max_grad_norm", max_grad_norm)
        require_positive("model.dynamics.min_std", min_std)
        require_positive("model.dynamics.clip", clip)
        for size in hidden_sizes:
            require_int("model.dynamics.hidden_sizes", size, 1)
        self.members, self.hidden_sizes, self.lr = members, hidden_sizes, lr
        self.updates_per_batch, self.max_grad_norm = updates_per_batch, max_grad_norm
        self.min_std, self.clip = min_std, clip

    def build(self, task: Task) -> None:
        """Create weights and statistics for the task's sizes."""
        sizes = [task.observation_size + task.action_size, *self.hidden_sizes, task.observation_size]
        self.networks = Ensemble(self.members, sizes)
        self.input_normalizer = Normalizer(sizes[0], self.min_std, self.clip)
        self.change_normalizer = Normalizer(sizes[-1], self.min_std, self.clip)

    def observe(self, state: Tensor, action: Tensor, next_state: Tensor, reduce) -> None:
        """Fold new transitions [N, obs], [N, action], [N, obs] into the statistics; `reduce` sums over workers."""
        inputs = torch.cat([state, action], dim=-1)
        self.input_normalizer.update(reduce(Normalizer.sums_of(inputs)))
        self.change_normalizer.update(reduce(Normalizer.sums_of(next_state - state)))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Predict the next states [B, obs] from states [B, obs] and actions [B, action]: the mean of the members."""
        inputs = self.input_normalizer(torch.cat([state, action], dim=-1))
        change = self.networks(inputs).mean(dim=0)  # [B, obs]
        return state + self.change_normalizer.inverse(change)

    def examples(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Return the normalised inputs [B, obs + action] and changes of state [B, obs] of a batch."""
        state, next_state = batch["observation"], batch["next", "observation"]
        inputs = self.input_normalizer(torch.cat([state, batch["action"]], dim=-1))
        return inputs, self.change_normalizer(next_state - state)

    def loss(self, inputs: Tensor, change: Tensor) -> Tensor:
        """Mean absolute error on `examples`: inputs [B, obs + action] and changes of state [B, obs], normalised.

        Eq. 4 has the squared error; the authors' program, and we, the absolute one. Summed over the members, so that
        each has the gradient it would have alone; what keeps them different is their initial weights.
        """
        predicted = self.networks(inputs)  # [E, B, obs]
        return self.members * F.l1_loss(predicted, change.expand_as(predicted))

    def clip_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Scale each member's gradient, its share of those of the networks' `parameters`, down to `max_grad_norm`."""
        gradients = [parameter.grad for parameter in parameters]
        norms = [torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients]  # of [E]
        norm = torch.stack(norms).norm(dim=0)  # [E]
        scale = (self.max_grad_norm / norm).clamp_max(1.0)  # 1 also where there is no gradient
        torch._foreach_mul_(gradients, [scale.view(-1, 1, 1)] * len(gradients))
