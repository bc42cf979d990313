"""The networks of PlanGAN: ensembles of generators and of discriminators of transitions (its Section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mher_pl.networks import BatchedLinear, init_xavier


def xavier(members: int, fan_in: int, fan_out: int, kind: type[BatchedLinear] = BatchedLinear) -> BatchedLinear:
    """Create a layer of every member with Xavier-uniform weights and zero biases."""
    layer = kind(members, fan_in, fan_out)
    init_xavier(layer)
    return layer


class BatchedNorm(nn.Module):
    """Batch normalisation, of each member's units by its own rows."""

    mean: Tensor
    variance: Tensor
    momentum, eps = 0.1, 1e-5  # PyTorch's own

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))
        self.register_buffer("mean", torch.zeros(members, 1, size))
        self.register_buffer("variance", torch.ones(members, 1, size))

    def forward(self, inputs: Tensor, learning: bool) -> Tensor:
        """Normalise inputs [E, B, size] by their own statistics, which are folded into the running ones, or by those.

        Not by `self.training`: episodes are collected while the agent trains, and are to be planned without learning.
        """
        mean, variance = self.mean, self.variance
        if learning:
            variance, mean = torch.var_mean(inputs, dim=1, correction=0, keepdim=True)  # [E, 1, size]
            unbiased = variance.detach() * inputs.shape[1] / (inputs.shape[1] - 1)
            self.mean.lerp_(mean.detach(), self.momentum)
            self.variance.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, inputs, scale)


class SpectralLinear(BatchedLinear):
    """Linear layers whose weights are divided by their largest singular values, found by one power iteration a call."""

    left: Tensor

    def __init__(self, members: int, fan_in: int, fan_out: int) -> None:
        super().__init__(members, fan_in, fan_out)
        self.register_buffer("left", F.normalize(torch.randn(members, 1, fan_in), dim=-1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [E, B, in] to outputs [E, B, out]."""
        with torch.no_grad():
            right = F.normalize(self.left @ self.weight, dim=-1)  # [E, 1, out]
            self.left.copy_(F.normalize(right @ self.weight.mT, dim=-1))
        norm = self.left.clone() @ self.weight @ right.mT  # [E, 1, 1]
        return torch.baddbmm(self.bias, inputs, self.weight / norm)


class Generators(nn.Module):
    """What one does next on the way to a goal, and where that leads: (s, g, z) to an action and a next state.

    Args:
        members: generators in the ensemble, E.
        input_size: entries of the normalised observation and goal.
        noise_size: entries of the noise z.
        action_size: entries of an action.
        state_size: entries of a state.
        hidden_sizes: units of each hidden layer.
    """

    def __init__(
        self,
        members: int,
        input_size: int,
        noise_size: int,
        action_size: int,
        state_size: int,
        hidden_sizes: Sequence[int],
    ) -> None:
        super().__init__()
        self.members, self.noise_size, self.action_size = members, noise_size, action_size
        sizes = [input_size + noise_size, *hidden_sizes]
        self.hidden = nn.ModuleList(xavier(members, *shape) for shape in pairwise(sizes))
        self.norms = nn.ModuleList(BatchedNorm(members, size) for size in hidden_sizes)
        self.last = xavier(members, sizes[-1], action_size + state_size)

    def forward(self, inputs: Tensor, generator: torch.Generator, learning: bool = False) -> tuple[Tensor, Tensor]:
        """Map normalised observations and goals [E, B, in], each member its own, and fresh noise to what comes next.

        Returns:
            Actions [E, B, action], and normalised next states [E, B, state].
        """
        noise = torch.randn(*inputs.shape[:-1], self.noise_size, generator=generator, device=inputs.device)
        outputs = torch.cat([inputs, noise], dim=-1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            outputs = norm(layer(outputs), learning).relu_()
        outputs = self.last(outputs)
        return torch.tanh(outputs[..., : self.action_size]), outputs[..., self.action_size :]


class Discriminators(nn.Module):
    """Tell transitions of the environment on the way to a goal from generated ones: low for the former.

    Their hidden units are leaky rectifiers with PyTorch's own slope.

    Args:
        members: discriminators in the ensemble, E.
        input_size: entries of a transition.
        hidden_sizes: units of each hidden layer.
    """

    def __init__(self, members: int, input_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        sizes = [input_size, *hidden_sizes]
        self.hidden = nn.ModuleList(xavier(members, *shape, kind=SpectralLinear) for shape in pairwise(sizes))
        self.last = xavier(members, sizes[-1], 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map transitions [E, B, in], each member its own, to values [E, B]."""
        for layer in self.hidden:
            inputs = F.leaky_relu(layer(inputs))
        return self.last(inputs).squeeze(-1)
