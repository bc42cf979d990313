"""Index-coded episodes: entry values tell which episode and time step they come from."""

import pytest
import torch
from tensordict import TensorDict

from mher_pl.data.replay import EpisodeReplay
from mher_pl.errors import UserError
from mher_pl.sampler import Uniform

T = 10


def episode(number: int) -> TensorDict:
    time = torch.arange(T + 1.0)
    return TensorDict(
        {
            "observation": torch.stack([time, torch.full((T + 1,), float(number))], dim=1),
            "achieved_goal": (100.0 * number + time).unsqueeze(1),
            "desired_goal": torch.tensor([-1.0 - number]),
            "action": (100.0 * number + time[:-1]).unsqueeze(1),
        }
    )


def filled(episodes: int, capacity: int = 100 * T, seed: int = 0) -> EpisodeReplay:
    replay = EpisodeReplay(capacity, T, Uniform(), seed)
    for number in range(episodes):
        replay.add(episode(number))
    return replay


def test_entries_of_a_row_belong_to_one_transition():
    batch = filled(3).sample(500)
    step, number = batch["observation"].unbind(1)
    assert torch.equal(batch["action"][:, 0], 100 * number + step)
    assert torch.equal(batch["next", "observation"][:, 0], step + 1)
    assert torch.equal(batch["next", "observation"][:, 1], number)
    assert torch.equal(batch["next", "achieved_goal"][:, 0], 100 * number + step + 1)
    assert torch.equal(batch["desired_goal"][:, 0], -1 - number)


def test_hindsight_goals_are_achieved_after_the_action_in_the_same_episode():
    batch = filled(3).sample(5000)
    step, number = batch["observation"].unbind(1)
    later = batch["hindsight_goal"][:, 0] - 100 * number
    assert (later >= step + 1).all()
    assert (later <= T).all()
    assert (later == step + 1).any(), "the state right after the action counts"
    assert (later == T).any(), "the last state counts"


def test_hindsight_goals_are_uniform_over_the_later_states():
    replay = filled(1)
    step = torch.full((20_000,), 6)
    later = replay.transitions(torch.zeros_like(step), step, replay.generator)["hindsight_goal"][:, 0]
    counts = torch.stack([(later == t).float().mean() for t in (7, 8, 9, 10)])
    assert torch.allclose(counts, torch.full((4,), 0.25), atol=0.02)


def test_every_episode_and_step_is_sampled():
    batch = filled(4).sample(4000)
    assert len(torch.unique(batch["observation"], dim=0)) == 4 * T


def test_a_full_replay_forgets_the_oldest_episode_first():
    replay = filled(7, capacity=3 * T)
    assert len(replay) == 3
    assert set(replay.sample(500)["observation"][:, 1].tolist()) == {4.0, 5.0, 6.0}
    assert replay.last_episode(replay.generator)["observation"][0, 1] == 6.0


def test_sampling_changes_nothing_but_the_generator():
    replay = filled(3)
    before = replay.episodes.clone()
    replay.sample(100)
    assert (before == replay.episodes).all()


def test_the_same_seed_samples_the_same_and_another_seed_not():
    assert (filled(3).sample(50) == filled(3).sample(50)).all()
    assert not (filled(3).sample(50) == filled(3, seed=1).sample(50)).all()


@pytest.mark.parametrize("stored", [0, 2, 7])
def test_a_restored_replay_continues_like_the_original(stored: int):
    original = filled(stored, capacity=3 * T)
    copy = EpisodeReplay(3 * T, T, Uniform(), seed=5)
    copy.load_state_dict(original.state_dict())
    assert len(copy) == min(stored, 3)
    for replay in (original, copy):
        replay.add(episode(50))
    assert (original.sample(100) == copy.sample(100)).all()


def test_the_saved_state_holds_only_the_filled_part():
    state = filled(2, capacity=1000 * T).state_dict()
    assert state["episodes"]["observation"].untyped_storage().nbytes() == 2 * (T + 1) * 2 * 4


def test_a_capacity_below_one_episode_is_refused():
    with pytest.raises(UserError, match=r"data.capacity is 9; allowed: an integer of at least 10"):
        EpisodeReplay(T - 1, T, Uniform(), seed=0)
