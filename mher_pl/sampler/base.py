"""Which episodes are replayed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.parts import Part


class Sampler(Part, ABC):
    """Draws the episodes that a batch comes from."""

    def update(self, episodes: TensorDict, newest: int) -> None:
        """Take note of the stored episodes [N], of which the one with index `newest` is new."""

    @abstractmethod
    def __call__(self, episodes: int, size: int, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1; `lengths` [N] of the episodes are given where they differ."""


class Uniform(Sampler):
    """Every stored transition alike (Section 3.2): episodes by their lengths."""

    def __call__(self, episodes: int, size: int, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1."""
        if lengths is None:
            return torch.randint(episodes, (size,), generator=generator)
        return torch.multinomial(lengths.double(), size, replacement=True, generator=generator)
