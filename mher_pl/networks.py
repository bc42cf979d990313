"""Networks on normalised inputs: actor, critic, and the ensemble inside the dynamics model."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class BatchedLinear(nn.Module):
    """Linear layers of one shape, each with weights of its own, as one batched product."""

    def __init__(self, members: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_in, fan_out))
        self.bias = nn.Parameter(torch.empty(members, 1, fan_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [E, B, in] to outputs [E, B, out], those of each member by its own layer."""
        return torch.baddbmm(self.bias, inputs, self.weight)


class MLP(nn.Sequential):
    """Fully connected layers of `sizes` with ReLU between them, Xavier-uniform weights and zero biases.

    With `members` every layer is that many.
    """

    def __init__(self, sizes: Sequence[int], members: int | None = None) -> None:
        super().__init__()
        for shape in pairwise(sizes):
            layer = nn.Linear(*shape) if members is None else BatchedLinear(members, *shape)
            for weight in layer.weight.data.view(-1, *layer.weight.shape[-2:]):
                nn.init.xavier_uniform_(weight)
            nn.init.zeros_(layer.bias)
            self.append(layer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [..., in] to outputs [..., out]."""
        *hidden, last = self
        for layer in hidden:
            inputs = layer(inputs).relu_()  # not a module, whose call takes longer than the function
        return last(inputs)


class Actor(nn.Module):
    """Deterministic policy pi(s, g) with actions in [-1, 1] (Appendix D.1)."""

    def __init__(self, input_size: int, action_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = MLP([input_size, *hidden_sizes, action_size])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised observations and goals [B, obs + goal] to actions [B, action]."""
        return torch.tanh(self.layers(inputs))


class Critic(nn.Module):
    """Action value Q(s, a, g) (Appendix D.1)."""

    def __init__(self, input_size: int, action_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = MLP([input_size + action_size, *hidden_sizes, 1])

    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Map normalised observations and goals [B, obs + goal] and actions [B, action] to values [B]."""
        return self.layers(torch.cat([inputs, action], dim=-1)).squeeze(-1)


class Ensemble(nn.Module):
    """Networks of one shape, each with weights of its own."""

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.members = members
        self.layers = MLP(sizes, members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run every member on the same inputs [B, in] and return [E, B, out]."""
        return self.layers(inputs.expand(self.members, -1, -1))
