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


class Layers(nn.Sequential):
    """Layers in a row, whose ReLUs are called as functions: as modules they would take half as long again."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the layers one after the other."""
        for layer in self:
            inputs = inputs.relu_() if isinstance(layer, nn.ReLU) else layer(inputs)
        return inputs


def mlp(sizes: Sequence[int], members: int | None = None) -> Layers:
    """Build fully connected layers of `sizes` with ReLU between them, Xavier-uniform weights and zero biases.

    With `members` every layer is that many.
    """
    layers: list[nn.Module] = []
    for shape in pairwise(sizes):
        linear = nn.Linear(*shape) if members is None else BatchedLinear(members, *shape)
        for weight in linear.weight.data.view(-1, *linear.weight.shape[-2:]):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(inplace=True)]
    return Layers(*layers[:-1])


class Actor(nn.Module):
    """Deterministic policy pi(s, g) with actions in [-1, 1] (Appendix D.1)."""

    def __init__(self, input_size: int, action_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = mlp([input_size, *hidden_sizes, action_size])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised observations and goals [B, obs + goal] to actions [B, action]."""
        return torch.tanh(self.layers(inputs))


class Critic(nn.Module):
    """Action value Q(s, a, g) (Appendix D.1)."""

    def __init__(self, input_size: int, action_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = mlp([input_size + action_size, *hidden_sizes, 1])

    def forward(self, inputs: Tensor, action: Tensor) -> Tensor:
        """Map normalised observations and goals [B, obs + goal] and actions [B, action] to values [B]."""
        return self.layers(torch.cat([inputs, action], dim=-1)).squeeze(-1)


class Ensemble(nn.Module):
    """Networks of one shape, each with weights of its own."""

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.members = members
        self.layers = mlp(sizes, members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run every member on the same inputs [B, in] and return [E, B, out]."""
        return self.layers(inputs.expand(self.members, -1, -1))
