"""Which episodes are replayed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mher_pl.replay import EpisodeReplay


class Sampler(ABC):
    """Draws the episodes that a batch comes from."""

    def update(self, replay: EpisodeReplay) -> None:
        """Take note that the stored episodes changed."""

    @abstractmethod
    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1."""


class Uniform(Sampler):
    """Every stored episode alike (Section 3.2)."""

    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] uniformly from 0 ... episodes-1."""
        return torch.randint(episodes, (size,), generator=generator)
