"""Which episodes are replayed."""

from mher_pl.sampler.base import Sampler, Uniform
from mher_pl.sampler.maximum_entropy import MaximumEntropy

__all__ = ["MaximumEntropy", "Sampler", "Uniform"]
