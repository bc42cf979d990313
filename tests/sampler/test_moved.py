import re

import pytest
import torch
from tensordict import TensorDict

from mher_pl.data.replay import EpisodeReplay
from mher_pl.errors import UserError
from mher_pl.inspection import inspect_task
from mher_pl.sampler import Moved

T = 4


def episode(way: float, length: int = T) -> TensorDict:
    """An episode in which the achieved goal goes the way and comes back; the padding after it is anywhere."""
    achieved = torch.full((T + 1, 2), 100.0)
    achieved[: length + 1] = 7.0
    achieved[1, 0] += way
    return TensorDict(
        {
            "observation": torch.zeros(T + 1, 3),
            "achieved_goal": achieved,
            "desired_goal": torch.zeros(T, 2),
            "action": torch.zeros(T, 1),
            "length": torch.tensor(length),
            "failed": torch.tensor(False),
        }
    )


def drawn(
    *episodes: TensorDict, chance: float = 0.25, capacity: int = 10, entries: list[int] | None = None
) -> list[float]:
    """Return the share of each stored episode among many that are drawn."""
    replay = EpisodeReplay(capacity * T, T, Moved(0.5, chance, entries), seed=0)
    for one in episodes:
        replay.add(one)
    lengths = None if replay.whole else replay.episodes["length"]
    counts = torch.bincount(replay.sampler(len(replay), 20_000, replay.generator, lengths), minlength=len(replay))
    return (counts / 20_000).tolist()


def test_an_episode_that_moves_nothing_is_drawn_with_the_given_chance():
    assert drawn(episode(0.6), episode(0.4), episode(-2.0)) == pytest.approx([4 / 9, 1 / 9, 4 / 9], abs=0.02)


def test_only_the_entries_count_that_are_named():
    episodes = [episode(0.6), episode(0.0), episode(0.6)]
    assert drawn(*episodes, entries=[0]) == drawn(*episodes)
    assert drawn(*episodes, entries=[1]) == pytest.approx([1 / 3] * 3, abs=0.02)


@pytest.mark.parametrize("entries", [[], [0, 2], [-1]])
def test_entries_that_a_goal_has_not_are_refused(entries):
    task = inspect_task("mher_pl/Point2DLarge-v1", {}, None)
    Moved(0.5, 0.25, [1]).check(task)
    message = re.escape(f"data.sampler.entries is {entries}; allowed: entries of a goal, from 0 to 1, or null")
    with pytest.raises(UserError, match=message):
        Moved(0.5, 0.25, entries).check(task)


def test_episodes_of_different_lengths_are_drawn_by_these_and_padding_moves_nothing():
    assert drawn(episode(0.6), episode(0.0, length=2)) == pytest.approx([8 / 9, 1 / 9], abs=0.02)


def test_all_are_drawn_alike_where_none_has_a_chance():
    assert drawn(episode(0.0), episode(0.0), chance=0.0) == pytest.approx([0.5, 0.5], abs=0.02)
    assert drawn(episode(0.0, length=1), episode(0.0, length=3), chance=0.0) == pytest.approx([0.25, 0.75], abs=0.02)


def test_an_episode_that_takes_the_place_of_another_is_weighed_anew():
    assert drawn(*map(episode, (0.6, 0.6, 0.0)), chance=0.0, capacity=2) == [0.0, 1.0]


def test_a_resumed_sampler_draws_as_the_other():
    replay = EpisodeReplay(10 * T, T, Moved(0.5, 0.25, None), seed=0)
    for way in (0.6, 0.0, 0.6):
        replay.add(episode(way))
    resumed = Moved(0.5, 0.25, None)
    resumed.load_worker_state(replay.sampler.worker_state())
    one, other = (sampler(3, 100, torch.Generator().manual_seed(1)) for sampler in (replay.sampler, resumed))
    assert torch.equal(one, other)


def test_a_resumed_sampler_has_the_chance_of_its_own_and_refuses_another_meaning_of_moved():
    replay = EpisodeReplay(10 * T, T, Moved(0.5, 0.25, None), seed=0)
    for way in (0.6, 0.0):
        replay.add(episode(way))
    state = replay.sampler.worker_state()
    resumed = Moved(0.5, 0.0, None)
    resumed.load_worker_state(state)
    assert not resumed(2, 1000, replay.generator).any()
    for other, setting in ((Moved(0.4, 0.25, None), "distance is 0.4"), (Moved(0.5, 0.25, [1]), r"entries is \[1\]")):
        with pytest.raises(UserError, match=rf"data.sampler.{setting}; allowed: .*, as in the checkpoint"):
            other.load_worker_state(state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Moved(-1.0, 0.2, None), "data.sampler.distance is -1.0; allowed: a number of at least 0"),
        (lambda: Moved(0.05, 2.0, None), "data.sampler.chance is 2.0; allowed: a probability from 0 to 1"),
    ],
)
def test_a_setting_out_of_range_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
