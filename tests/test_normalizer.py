import numpy as np
import torch

from mher_pl.normalizer import Normalizer


def test_statistics_equal_numpy_over_all_updates():
    rows = np.random.default_rng(0).normal([3.0, -200.0, 0.01], [2.0, 0.5, 0.001], size=(1000, 3))
    normalizer = Normalizer(3, min_std=1e-6, clip=5.0)
    for part in np.array_split(rows, 7):
        normalizer.update(Normalizer.sums_of(torch.as_tensor(part)))
    np.testing.assert_allclose(normalizer.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std, rows.std(0), rtol=1e-4)


def test_values_are_shifted_scaled_and_clipped():
    normalizer = Normalizer(1, min_std=1e-6, clip=2.0)
    normalizer.update(Normalizer.sums_of(torch.tensor([[1.0], [3.0]])))  # mean 2, deviation 1
    assert normalizer(torch.tensor([[2.5], [100.0], [-100.0]])).flatten().tolist() == [0.5, 2.0, -2.0]


def test_a_constant_entry_is_scaled_by_the_floor():
    normalizer = Normalizer(1, min_std=0.1, clip=5.0)
    normalizer.update(Normalizer.sums_of(torch.full((10, 1), 7.0)))
    assert torch.allclose(normalizer(torch.tensor([[7.2]])), torch.tensor([[2.0]]), atol=1e-4)


def test_inverse_undoes_what_was_not_clipped():
    normalizer = Normalizer(2, min_std=1e-6, clip=5.0)
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    normalizer.update(Normalizer.sums_of(rows))
    assert torch.allclose(normalizer.inverse(normalizer(rows)), rows, atol=1e-5)
