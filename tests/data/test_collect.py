import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from mher_pl.data.collect import Collected, EpisodeEnv, SeededEpisodes
from mher_pl.envs import make
from mher_pl.errors import NonFiniteError
from mher_pl.exploration import NoisyActor
from mher_pl.inspection import inspect_task


def collector(
    env: str = "mher_pl/Point2DLarge-v1", noise: float = 0.2, random: float = 0.3, action: float = 0.25
) -> Collected:
    """Episodes of an actor whose every action is the same."""
    task = inspect_task(env, {}, None)

    def act(observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return torch.full((*observation.shape[:-1], task.action_size), action)

    collected = Collected()
    collected.open(task, {}, NoisyActor(noise, random), act, seed=3)
    return collected


@pytest.mark.parametrize("env", ["mher_pl/Point2DLarge-v1", "FetchReach-v4"])
def test_episodes_equal_the_raw_environment_step_by_step(env: str):
    collect = collector(env)
    raw = SeededEpisodes(make(env), seed=3)
    for _ in range(2):
        episode = collect.next()
        observation, _ = raw.reset()
        for t, action in enumerate(episode["action"].numpy()):
            for key in ("observation", "achieved_goal"):
                np.testing.assert_array_equal(episode[key][t].numpy(), observation[key].astype(np.float32))
            np.testing.assert_array_equal(
                episode["desired_goal"].numpy(), observation["desired_goal"].astype(np.float32)
            )
            observation, *_ = raw.step(action)
        np.testing.assert_array_equal(episode["observation"][-1].numpy(), observation["observation"].astype(np.float32))
        assert len(episode["observation"]) == collect.task.horizon + 1


def test_the_environment_keeps_torchrls_contract():
    check_env_specs(EpisodeEnv(SeededEpisodes(make("mher_pl/Point2DLarge-v1"), seed=3)), check_dtype=True)


def test_exploration_is_noise_around_the_actor_and_now_and_then_uniform():
    collect = collector(noise=0.01, random=0.3)
    actions = torch.cat([collect.next()["action"] for _ in range(20)])
    near = ((actions - 0.25).abs() < 0.05).all(dim=1)
    assert near.float().mean().item() == pytest.approx(0.7, abs=0.04)
    assert actions[~near].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.05)


def test_actions_stay_in_their_bounds_under_large_noise():
    actions = collector(noise=5.0, random=0.0).next()["action"]
    assert actions.abs().max() == 1.0


def test_random_episodes_ignore_the_actor():
    actions = torch.cat([collector(noise=0.0, random=0.0).next(random=True)["action"]])
    assert not (actions == 0.25).any()
    assert actions.mean().abs() < 0.2


def test_without_exploration_the_actor_alone_acts():
    assert (collector(noise=0.0, random=0.0).next()["action"] == 0.25).all()


def test_episodes_differ_and_depend_on_the_seed_alone():
    first, second = collector(), collector()
    episodes = [first.next() for _ in range(2)]
    assert not torch.equal(episodes[0]["observation"][0], episodes[1]["observation"][0])
    for episode in episodes:
        assert (episode == second.next()).all()


def test_a_restored_collector_continues_with_the_next_episode():
    original, copy = collector(), collector()
    original.next()
    copy.load_worker_state(original.worker_state())
    assert (original.next() == copy.next()).all()


def test_a_non_finite_action_stops_with_the_place():
    with pytest.raises(NonFiniteError, match=r"action of training episode \d+ is NaN or infinite"):
        collector(action=float("nan"), random=0.0).next()
