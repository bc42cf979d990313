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
    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1."""


class Uniform(Sampler):
    """Every stored episode alike (Section 3.2)."""

    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] uniformly from 0 ... episodes-1."""
        return torch.randint(episodes, (size,), generator=generator)
