"""Which episodes are replayed."""

from mher_pl.sampler.base import Sampler, Uniform
from mher_pl.sampler.maximum_entropy import MaximumEntropy
from mher_pl.sampler.moved import Moved

__all__ = ["MaximumEntropy", "Moved", "Sampler", "Uniform"]
