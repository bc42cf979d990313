import gymnasium
import numpy as np
import pytest

import mher_pl

TASK = "mher_pl/Reacher-v1"


def test_an_episode_is_gymnasiums_own_reacher_with_the_fingertip_as_achieved_goal():
    ours, theirs = mher_pl.make(TASK), gymnasium.make("Reacher-v5", max_episode_steps=100)
    rng = np.random.default_rng(0)
    for seed in (0, None):
        got, expected = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
        for _ in range(100):
            # cos, cos, sin, sin, target, velocities, and the fingertip relative to the target
            np.testing.assert_array_equal(got["observation"][:8], expected[:8])
            target, fingertip = expected[4:6], expected[4:6] + expected[8:10]
            np.testing.assert_array_equal(got["desired_goal"], target)
            np.testing.assert_allclose(got["achieved_goal"], fingertip, rtol=0, atol=1e-16)
            np.testing.assert_array_equal(got["observation"][8:10], got["achieved_goal"])
            assert got["observation"][10] == 0
            action = rng.uniform(-1, 1, size=2).astype(np.float32)
            got, expected = ours.step(action)[0], theirs.step(action)[0]


def test_a_goal_given_at_reset_is_the_target_that_the_observation_shows():
    env = mher_pl.make(TASK)
    observation, _ = env.reset(seed=0, options={"desired_goal": [0.05, -0.1]})
    for _ in range(3):
        np.testing.assert_array_equal(observation["desired_goal"], [0.05, -0.1])
        np.testing.assert_array_equal(observation["observation"][4:6], [0.05, -0.1])
        observation, *_ = env.step(np.ones(2))


@pytest.mark.parametrize(("distance", "reward"), [(0.019, 0), (0.021, -1)])
def test_a_goal_is_reached_within_two_centimetres(distance, reward):
    env = mher_pl.make(TASK)
    tip = env.reset(seed=0)[0]["achieved_goal"]
    goal = tip - [distance, 0]
    env.reset(seed=0, options={"desired_goal": goal})
    env.unwrapped.batch.datas[0].qvel[:] = 0
    observation, got, *_, info = env.step(np.zeros(2))
    assert abs(np.linalg.norm(observation["achieved_goal"] - goal) - distance) < 1e-4
    assert got == reward
    assert info["is_success"] == reward + 1


def test_goals_fill_the_disc_of_radius_02():
    observation, _ = mher_pl.make_vec(TASK, num_envs=300).reset(seed=0)
    radius = np.linalg.norm(observation["desired_goal"], axis=1)
    assert radius.max() < 0.2
    assert 0.4 < (radius > 0.2 / np.sqrt(2)).mean() < 0.6  # half of the area
