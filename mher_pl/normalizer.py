"""Running statistics of vectors."""

import torch
from torch import Tensor, nn


class Normalizer(nn.Module):
    """Shift and scale vectors to zero mean and unit deviation over everything seen so far.

    Args:
        size: entries of a vector.
        min_std: floor of the standard deviation, so that constant entries do not blow up.
        clip: normalised values are clipped to [-clip, clip].
    """

    sums: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, size: int, min_std: float, clip: float) -> None:
        super().__init__()
        self.min_std, self.clip = min_std, clip
        # Sums in double precision: a million float32 squares would lose the variance of small entries.
        self.register_buffer("sums", torch.zeros(3, size, dtype=torch.float64))  # count, sum, sum of squares
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @staticmethod
    def sums_of(vectors: Tensor) -> Tensor:
        """Return count, sum and sum of squares [3, size] of vectors [N, size]."""
        vectors = vectors.double()
        return torch.stack([torch.ones_like(vectors).sum(0), vectors.sum(0), vectors.square().sum(0)])

    def update(self, sums: Tensor) -> None:
        """Fold the `sums_of` new vectors [3, size] in."""
        self.sums += sums
        count, total, squares = self.sums
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0.0).sqrt().clamp_min(self.min_std)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalise vectors [..., size]."""
        return (vectors - self.mean).div_(self.std).clamp_(-self.clip, self.clip)

    def inverse(self, vectors: Tensor) -> Tensor:
        """Undo the shift and scale of normalised vectors [..., size]."""
        return vectors * self.std + self.mean
