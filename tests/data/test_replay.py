"""Index-coded episodes: entry values tell which episode and time step they come from."""

import re

import pytest
import torch
from tensordict import TensorDict

from mher_pl.data.replay import EpisodeReplay
from mher_pl.errors import UserError
from mher_pl.sampler import Sampler, Uniform

T = 10


def episode(number: int, length: int = T, failed: bool = False) -> TensorDict:
    """Episode `number`, whose desired goal is another one in its second half; NaN pads it after its end."""
    time = torch.arange(T + 1.0)
    late = (time[:-1] >= T / 2).float()
    vectors = {
        "observation": torch.stack([time, torch.full((T + 1,), float(number))], dim=1),
        "achieved_goal": (100.0 * number + time).unsqueeze(1),
        "desired_goal": (-1.0 - number - 100.0 * late).unsqueeze(1),
        "action": (100.0 * number + time[:-1]).unsqueeze(1),
    }
    for key, values in vectors.items():
        values[length + len(values) - T :] = torch.nan
        vectors[key] = values
    return TensorDict(vectors | {"length": torch.tensor(length), "failed": torch.tensor(failed)})


def filled(episodes: int, capacity: int = 100 * T, seed: int = 0, lengths: dict[int, int] | None = None):
    replay = EpisodeReplay(capacity, T, Uniform(), seed)
    for number in range(episodes):
        replay.add(episode(number, (lengths or {}).get(number, T)))
    return replay


class Own(Sampler):
    def __init__(self, draw):
        self.draw = draw

    def __call__(self, episodes, size, generator, lengths=None):
        return self.draw(episodes, size)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda episodes, size: torch.zeros(size - 1, dtype=torch.long), "whose episodes are a tensor [4] of int64; "),
        (lambda episodes, size: torch.zeros(size), "whose episodes are a tensor [5] of float32; "),
        (lambda episodes, size: torch.full((size,), episodes), "which draws episode 3; allowed: from 0 to 2"),
        (lambda episodes, size: torch.arange(size) - 3, "which draws episode -3; allowed: from 0 to 2"),
    ],
)
@pytest.mark.parametrize("lengths", [{}, {1: 4}], ids=["whole", "one ends early"])
def test_a_sampler_that_draws_something_else_is_refused(draw, message, lengths):
    replay = filled(3, lengths=lengths)
    replay.sampler = Own(draw)
    with pytest.raises(UserError, match=re.escape(f"data.sampler is Own, {message}")):
        replay.sample(5)


def test_entries_of_a_row_belong_to_one_transition():
    batch = filled(3).sample(500)
    step, number = batch["observation"].unbind(1)
    assert torch.equal(batch["action"][:, 0], 100 * number + step)
    assert torch.equal(batch["next", "observation"][:, 0], step + 1)
    assert torch.equal(batch["next", "observation"][:, 1], number)
    assert torch.equal(batch["next", "achieved_goal"][:, 0], 100 * number + step + 1)
    assert torch.equal(batch["achieved_goal"][:, 0], 100 * number + step)
    assert torch.equal(batch["desired_goal"][:, 0], -1 - number - 100 * (step >= T / 2)), "the one it was acted for"
    assert torch.equal(batch["steps_left"], T - step.long())
    assert batch.shape == batch["next"].shape == (500,)
    assert batch.device == batch["next"].device == torch.device("cpu"), "a batch that knows where it is"


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


def test_a_capacity_between_two_numbers_of_episodes_holds_the_smaller_one():
    assert len(filled(7, capacity=4 * T - 1)) == 3


def test_all_transitions_are_the_steps_that_were_taken_in_order():
    batch = filled(3, lengths=SHORT).all_transitions()
    expected = [[step, number] for number in range(3) for step in range(SHORT.get(number, T))]
    assert batch["observation"].tolist() == expected


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
    copy = EpisodeReplay(3 * T, T, Uniform(), seed=0)
    copy.load_state_dict(original.state_dict())
    assert len(copy) == min(stored, 3)
    for replay in (original, copy):
        replay.add(episode(50))
    assert (original.sample(100) == copy.sample(100)).all()


def test_a_replay_restored_with_another_seed_samples_by_its_own():
    original, copies = filled(3), [EpisodeReplay(100 * T, T, Uniform(), seed=5) for _ in range(2)]
    for copy in copies:
        copy.load_state_dict(original.state_dict())
    samples = [replay.sample(100) for replay in (original, *copies)]
    assert (samples[1] == samples[2]).all()
    assert not (samples[0] == samples[1]).all()


@pytest.mark.parametrize(
    ("capacity", "horizon", "message"),
    [
        (20, T, r"data\.capacity is 20; allowed: 30, as in"),
        (30, 5, r"max_episode_steps in data\.env_kwargs is 5; allowed: 10, as in"),
    ],
)
def test_a_replay_of_another_size_is_not_restored(capacity, horizon, message):
    with pytest.raises(UserError, match=message):
        EpisodeReplay(capacity, horizon, Uniform(), seed=0).load_state_dict(filled(2, capacity=30).state_dict())


def test_the_saved_state_holds_only_the_filled_part():
    state = filled(2, capacity=1000 * T).state_dict()
    assert state["episodes"]["observation"].untyped_storage().nbytes() == 2 * (T + 1) * 2 * 4


def test_a_capacity_below_one_episode_is_refused():
    with pytest.raises(UserError, match=r"data.capacity is 9; allowed: an integer of at least 10"):
        EpisodeReplay(T - 1, T, Uniform(), seed=0)


SHORT = {0: 1, 2: 4}  # lengths of episodes that ended early


def test_no_padding_is_ever_sampled():
    batch = filled(4, lengths=SHORT).sample(5000)
    assert not any(value.isnan().any() for value in batch.values(include_nested=True, leaves_only=True))
    step, number = batch["observation"].unbind(1)
    later = batch["hindsight_goal"][:, 0] - 100 * number
    for short, length in SHORT.items():
        rows = number == short
        assert step[rows].max() == length - 1, "the step that ended the episode counts"
        assert later[rows].max() == length, "and so does the state that it led to"
        assert (later[rows] >= step[rows] + 1).all()


def test_every_step_that_was_taken_is_as_likely_as_every_other():
    batch = filled(4, lengths=SHORT).sample(50_000)
    code = (100 * batch["observation"][:, 1] + batch["observation"][:, 0]).long()
    _, counts = code.unique(return_counts=True)
    taken = 1 + T + 4 + T
    assert len(counts) == taken
    assert torch.allclose(counts / 50_000, torch.full((taken,), 1 / taken), atol=0.004)


def test_short_episodes_that_have_made_room_decide_nothing():
    assert filled(2).whole
    assert not filled(2, lengths=SHORT).whole
    replay = filled(5, capacity=3 * T, lengths={0: 2, 1: 3})
    expected = filled(5, capacity=3 * T)
    assert (replay.sample(200) == expected.sample(200)).all()


def test_the_last_step_of_a_failed_episode_alone_is_a_failure():
    replay = filled(2)
    replay.add(episode(2, length=4, failed=True))
    replay.add(episode(3, length=T, failed=True))
    batch = replay.sample(5000)
    step, number = batch["observation"].unbind(1)
    failed = ((number == 2) & (step == 3)) | ((number == 3) & (step == T - 1))
    assert torch.equal(batch["failed"], failed)
    assert failed.any()


def test_the_last_episode_has_the_steps_that_were_taken():
    replay = filled(2)
    replay.add(episode(2, length=4))
    assert replay.last_episode(replay.generator)["observation"].tolist() == [[t, 2.0] for t in range(4)]


def test_a_restored_replay_of_short_episodes_continues_like_the_original():
    original, copy = filled(4, lengths=SHORT), EpisodeReplay(100 * T, T, Uniform(), seed=0)
    copy.load_state_dict(original.state_dict())
    assert (original.sample(100) == copy.sample(100)).all()


class TestPaths:
    def test_a_row_is_a_path_of_consecutive_steps_within_one_episode_each_with_a_later_goal(self):
        batch = filled(3).sample(2000, path_length=4)
        assert batch.shape == (2000, 4)
        step, number = batch["observation"].unbind(-1)  # [B, 4]
        assert (step.diff(dim=1) == 1).all()
        assert (number == number[:, :1]).all()
        assert torch.equal(batch["next", "observation"][:, :-1], batch["observation"][:, 1:])
        assert torch.equal(batch["action"].squeeze(-1), 100 * number + step)
        later = batch["hindsight_goal"].squeeze(-1) - 100 * number
        assert ((later > step) & (later <= T)).all()
        assert set(step[:, 0].tolist()) == set(range(T - 3)), "every start from which a path fits"

    def test_paths_of_one_step_are_transitions(self):
        assert (filled(3).sample(50, path_length=1) == filled(3).sample(50)).all()

    def test_paths_end_before_the_padding_and_shorter_episodes_have_none(self):
        batch = filled(4, lengths={0: 3, 1: 4, 2: 5}).sample(2000, path_length=4)
        first, number = batch["observation"][:, 0].unbind(-1)
        starts = {(int(n), int(s)) for n, s in zip(number, first, strict=True)}
        assert starts == {(1, 0), (2, 0), (2, 1), *((3, step) for step in range(T - 3))}
        assert not batch["next", "observation"].isnan().any()

    def test_an_episode_may_be_just_as_long_as_a_path(self):
        batch = filled(1, lengths={0: 4}).sample(5, path_length=4)
        assert batch["observation"][..., 0].tolist() == [[0.0, 1.0, 2.0, 3.0]] * 5

    def test_where_no_episode_is_long_enough_it_is_said(self):
        with pytest.raises(UserError, match=r"model\.path_length is 4; allowed: the length of some stored episode"):
            filled(1, lengths={0: 3}).sample(5, path_length=4)

    def test_a_sampler_that_draws_short_episodes_is_named(self):
        class First(Uniform):
            def __call__(self, episodes, size, generator, lengths=None):
                return torch.zeros(size, dtype=torch.long)

        replay = filled(2, lengths={0: 3})
        replay.sampler = First()
        with pytest.raises(UserError, match=r"data\.sampler is First, which draws episodes shorter than model\.path_"):
            replay.sample(5, path_length=4)
