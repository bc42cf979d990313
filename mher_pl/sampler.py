"""Which episodes are replayed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mher_pl.replay import EpisodeReplay


class Sampler(ABC):
    """Draws the episodes that a batch comes from."""

    def update(self, replay: EpisodeReplay) -> None:
        """Take note of the episode that was just stored."""

    @abstractmethod
    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain data."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Uniform(Sampler):
    """Every stored episode alike (Section 3.2)."""

    def __call__(self, episodes: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw indices [size] uniformly from 0 ... episodes-1."""
        return torch.randint(episodes, (size,), generator=generator)
