from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.mixture import BayesianGaussianMixture
from tensordict import TensorDict

from mher_pl.data.replay import EpisodeReplay
from mher_pl.errors import UserError
from mher_pl.sampler.maximum_entropy import MaximumEntropy, paths

T = 6


def episode(number: int, centre: float = 0.0) -> TensorDict:
    achieved = centre + 0.1 * torch.randn(T + 1, 2, generator=torch.Generator().manual_seed(number))
    return TensorDict(
        {
            "observation": torch.full((T + 1, 3), float(number)),
            "achieved_goal": achieved,
            "desired_goal": torch.zeros(T, 2),
            "action": torch.zeros(T, 1),
            "length": torch.tensor(T),
            "failed": torch.tensor(False),
        }
    )


def filled(
    episodes: int,
    components: int = 3,
    refit_every: int = 10,
    capacity: int = 100,
    centres: dict[int, float] | None = None,
) -> EpisodeReplay:
    replay = EpisodeReplay(capacity * T, T, MaximumEntropy(components, refit_every, refit_share=0.1), seed=0)
    for number in range(episodes):
        replay.add(episode(number, (centres or {}).get(number, 0.0)))
    return replay


def test_weights_are_the_ranks_of_the_complementary_density():
    replay = filled(20)
    density = replay.sampler.mixture.score_samples(paths(replay.episodes["achieved_goal"]))
    ranks = [1 + sum(other > own for other in density) for own in density]  # 1 is the likeliest
    assert replay.sampler.weights.tolist() == ranks
    assert sorted(ranks) == list(range(1, 21))


def test_paths_of_one_density_are_ranked_in_their_order():
    sampler = filled(10).sampler
    sampler.log_density = np.tile([1.0, 0.0], 50)
    sampler.rank()
    assert sampler.weights[::2].tolist() == list(range(1, 51))
    assert sampler.weights[1::2].tolist() == list(range(51, 101))


def test_episodes_are_drawn_as_often_as_their_weights_say():
    replay = filled(10)
    drawn = torch.bincount(replay.sampler(10, 50_000, replay.generator), minlength=10) / 50_000
    assert torch.allclose(drawn, replay.sampler.weights / 55, atol=0.01)


def test_a_path_unlike_the_others_is_replayed_most():
    replay = filled(20, components=1, centres={13: 2.0})  # a single Gaussian has no part of its own for it
    assert replay.sampler.weights.argmax() == 13


def test_the_density_is_a_variational_mixture_over_whole_paths():
    replay = filled(10)
    mixture = replay.sampler.mixture
    assert isinstance(mixture, BayesianGaussianMixture)
    assert mixture.n_components == 3
    assert mixture.weight_concentration_prior_type == "dirichlet_distribution"
    assert mixture.n_features_in_ == (T + 1) * 2


def test_before_the_first_fit_all_episodes_are_alike():
    replay = filled(9)
    assert replay.sampler.mixture is None
    assert replay.sampler.weights.tolist() == [1.0] * 9


def test_the_mixture_is_fitted_again_after_as_many_episodes_as_set_or_a_tenth_of_all(monkeypatch):
    sampler, fits = MaximumEntropy(3, refit_every=10, refit_share=0.1), []
    monkeypatch.setattr(sampler, "rate", lambda episodes, newest: None)
    monkeypatch.setattr(sampler, "rank", lambda: None)

    def fit(paths):
        fits.append(sampler.seen)
        sampler.seen_at_fit = sampler.seen

    monkeypatch.setattr(sampler, "fit", fit)
    episodes = filled(3).episodes
    for _ in range(300):
        sampler.update(episodes, newest=0)
    assert fits[:10] == list(range(10, 101, 10))
    assert all(after - before == max(10, after // 10) for before, after in pairwise(fits))
    assert fits[-1] > 250


def test_a_new_episode_is_rated_by_the_mixture_as_it_is():
    replay = filled(10)
    mixture = replay.sampler.mixture
    replay.add(episode(10, centre=5.0))
    assert replay.sampler.mixture is mixture
    assert replay.sampler.weights.argmax() == 10
    assert sorted(replay.sampler.weights.tolist()) == list(range(1, 12))


def test_an_overwritten_episode_hands_its_place_to_the_new_one():
    replay = filled(10, refit_every=10, capacity=10)
    old = replay.sampler.log_density.copy()
    replay.add(episode(10, centre=5.0))
    assert len(replay) == 10
    assert np.flatnonzero(replay.sampler.log_density != old).tolist() == [0]
    assert replay.sampler.weights.argmax() == 0


def test_the_same_episodes_give_the_same_weights():
    assert torch.equal(filled(25).sampler.weights, filled(25).sampler.weights)


@pytest.mark.parametrize("before", [5, 14, 20, 37], ids=lambda n: f"saved after {n} episodes")
def test_a_restored_replay_goes_on_exactly(before):
    whole, parts = filled(before, capacity=30), filled(0, capacity=30)
    parts.load_state_dict(whole.state_dict())
    parts.sampler.load_worker_state(whole.sampler.worker_state())
    for number in range(before, before + 12):
        whole.add(episode(number))
        parts.add(episode(number))
        assert (whole.sample(64) == parts.sample(64)).all()
    assert np.array_equal(whole.sampler.log_density, parts.sampler.log_density)


def test_the_state_is_plain_data():
    state = filled(10).sampler.worker_state()
    assert {type(value) for value in state.values()} == {int, torch.Tensor, dict}
    assert {type(value) for value in state["mixture"].values()} == {torch.Tensor}


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [("components", 0, "an integer"), ("refit_every", 0, "an integer"), ("refit_share", 1.5, "a probability")],
)
def test_a_setting_out_of_range_is_named(setting, value, allowed):
    with pytest.raises(UserError, match=rf"data\.sampler\.{setting} is {value}; allowed: {allowed}"):
        MaximumEntropy(**{"components": 3, "refit_every": 10, "refit_share": 0.1} | {setting: value})


def test_one_gaussian_fitted_after_every_episode_waits_for_the_second():
    assert filled(1, components=1, refit_every=1).sampler.mixture is None
    assert filled(2, components=1, refit_every=1).sampler.mixture is not None


def test_short_episodes_are_drawn_by_their_weights_too():
    replay = filled(10)
    drawn = replay.sampler(10, 50_000, replay.generator, torch.arange(10))
    assert torch.allclose(torch.bincount(drawn, minlength=10) / 50_000, replay.sampler.weights / 55, atol=0.01)
