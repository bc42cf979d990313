"""Networks on normalised inputs."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mher_pl.errors import UserError


class BatchedLinear(nn.Module):
    """Linear layers of one shape, each with weights of its own, as one batched product."""

    def __init__(self, members: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_in, fan_out))
        self.bias = nn.Parameter(torch.empty(members, 1, fan_out))

    def forward(self, inputs: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Map inputs [E, B, in] to outputs [E, B, out], those of each member, or `chosen` one, by its own layer."""
        if chosen is None:
            return torch.baddbmm(self.bias, inputs, self.weight)
        return torch.baddbmm(self.bias[chosen], inputs, self.weight[chosen])


def init_xavier(layer: nn.Linear | BatchedLinear) -> None:
    """Give a layer, or those of each member, Xavier-uniform weights and zero biases."""
    for weight in layer.weight.data.view(-1, *layer.weight.shape[-2:]):
        nn.init.xavier_uniform_(weight)
    nn.init.zeros_(layer.bias)


class MLP(nn.Module):
    """Fully connected layers with ReLU or swish between them, Xavier-uniform weights and zero biases.

    Args:
        sizes: entries of the inputs, units of each hidden layer, entries of the outputs.
        members: every layer is that many, for inputs [E, B, in]; None is a single network for inputs [..., in].
        swish: whether swish, x sigmoid(x), stands in place of ReLU.
    """

    def __init__(self, sizes: Sequence[int], members: int | None = None, swish: bool = False) -> None:
        super().__init__()
        self.swish = swish
        self.layers = nn.ModuleList()
        for shape in pairwise(sizes):
            linear = nn.Linear(*shape) if members is None else BatchedLinear(members, *shape)
            init_xavier(linear)
            self.layers.append(linear)

    def forward(self, inputs: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Map inputs to outputs; inputs [K, B, in] by the `chosen` [K] of the members alone."""
        arguments = () if chosen is None else (chosen,)
        *hidden, last = self.layers
        for layer in hidden:
            outputs = layer(inputs, *arguments)
            inputs = F.silu(outputs, inplace=True) if self.swish else outputs.relu_()
        return last(inputs, *arguments)


class Actor(nn.Module):
    """Deterministic policy pi(s, g) with actions in [-1, 1] (Appendix D.1)."""

    def __init__(self, input_size: int, action_size: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.network = MLP([input_size, *hidden_sizes, action_size])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map normalised observations and goals [..., in] to actions [..., action]."""
        return torch.tanh(self.network(inputs))


def require_same_networks(saved: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raise `UserError` naming the first parameter that the saved and the model's own networks do not share."""
    for name in sorted(saved.keys() | own.keys()):
        shapes = [list(state[name].shape) if name in state else "none" for state in (saved, own)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"ckpt_path names a checkpoint of another model: its {name} has shape {shapes[0]}; allowed: "
                f"{shapes[1]}, that is, the same model section in the config as when it was written"
            )
