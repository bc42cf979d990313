"""Networks on normalised inputs: actor, critic, and the ensemble inside the dynamics model."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Build fully connected layers of `sizes` with ReLU between them, Xavier-uniform weights and zero biases."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


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
    """Networks of one shape, each with weights of its own, run as one batched product a layer."""

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        shapes = list(pairwise(sizes))
        self.weights = nn.ParameterList(torch.empty(members, *shape) for shape in shapes)  # [E, in, out]
        self.biases = nn.ParameterList(torch.zeros(members, 1, fan_out) for _, fan_out in shapes)  # [E, 1, out]
        for weight in self.weights:
            for member in weight.data:
                nn.init.xavier_uniform_(member)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run every member on the same inputs [B, in] and return [E, B, out]."""
        hidden = inputs.expand(len(self.weights[0]), -1, -1)
        *layers, last = zip(self.biases, self.weights, strict=True)
        for bias, weight in layers:
            hidden = F.relu(torch.baddbmm(bias, hidden, weight), inplace=True)
        bias, weight = last
        return torch.baddbmm(bias, hidden, weight)
