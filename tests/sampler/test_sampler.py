import torch

from mher_pl.sampler import Uniform


def test_uniform_draws_every_episode_alike():
    drawn = Uniform()(5, 20_000, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.bincount(drawn, minlength=5) / 20_000, torch.full((5,), 0.2), atol=0.02)


def test_uniform_draws_episodes_by_their_lengths_where_these_differ():
    lengths = torch.tensor([1, 4, 0, 5])
    drawn = Uniform()(4, 20_000, torch.Generator().manual_seed(0), lengths)
    assert torch.allclose(torch.bincount(drawn, minlength=4) / 20_000, lengths / 10, atol=0.02)
