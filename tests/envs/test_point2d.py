from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import error

import mher_pl

POINT_TASKS = ["mher_pl/Point2DLarge-v1", "mher_pl/Point2DFourRoom-v1"]


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "data" / "four_room_steps.npz") as arrays:
        return dict(arrays)


def test_four_rooms_reproduce_the_recorded_steps_in_a_batch(golden):
    env = mher_pl.make_vec("mher_pl/Point2DFourRoom-v1", num_envs=400, boundary_dist=4)
    env.reset(seed=0)
    env.unwrapped.positions = golden["start"].copy()
    for step in range(20):
        observation, *_ = env.step(golden["action"][:, step])
        np.testing.assert_allclose(observation["observation"], golden["position"][:, step], rtol=0, atol=1e-9)


def test_four_rooms_reproduce_the_recorded_steps_one_at_a_time(golden):
    env = mher_pl.make("mher_pl/Point2DFourRoom-v1", boundary_dist=4)
    for episode in range(400):
        env.reset(seed=0)
        env.unwrapped.batch.positions = golden["start"][episode : episode + 1].copy()
        for step in range(20):
            observation, *_ = env.step(golden["action"][episode, step])
            np.testing.assert_allclose(observation["observation"], golden["position"][episode, step], rtol=0, atol=1e-9)


def test_the_recording_would_notice_missing_walls(golden):
    env = mher_pl.make_vec("mher_pl/Point2DLarge-v1", num_envs=400, boundary_dist=4)
    env.reset(seed=0)
    env.unwrapped.positions = golden["start"].copy()
    observation, *_ = env.step(golden["action"][:, 0])
    assert np.abs(observation["observation"] - golden["position"][:, 0]).max() > 0.1


@pytest.mark.parametrize("task", POINT_TASKS)
def test_points_and_goals_start_everywhere_in_the_arena(task):
    env = mher_pl.make_vec(task, num_envs=2000)
    observation, _ = env.reset(seed=3)
    for key in ("observation", "desired_goal"):
        assert observation[key].min() < -4.9
        assert observation[key].max() > 4.9
        assert np.abs(observation[key]).max() <= 5


def test_no_point_and_no_goal_of_the_four_rooms_starts_in_a_wall():
    observation, _ = mher_pl.make_vec("mher_pl/Point2DFourRoom-v1", num_envs=5000, boundary_dist=4).reset(seed=0)
    arm, half = 0.17 * 4 + 0.8, 0.8
    for key in ("observation", "desired_goal"):
        x, y = np.abs(observation[key]).T
        assert not ((x < arm) & (y < half)).any()
        assert not ((y < arm) & (x < half)).any()
        assert not ((x > 1.05 * 4 - 0.8) & (y < half)).any()
        assert not ((y > 1.05 * 4 - 0.8) & (x < half)).any()


@pytest.mark.parametrize("task", POINT_TASKS)
def test_an_action_moves_the_point_by_at_most_one_and_never_out_of_the_arena(task):
    env = mher_pl.make(task, boundary_dist=3)
    start, _ = env.reset(seed=5)
    for _ in range(10):
        end, *_ = env.step(np.array([7.0, 0.0]))
        assert abs(end["observation"][0] - start["observation"][0]) <= 1 + 1e-12
        assert np.abs(end["observation"]).max() <= 3
        start = end


def test_a_goal_is_reached_at_a_distance_of_one():
    env = mher_pl.make("mher_pl/Point2DLarge-v1")
    env.reset(seed=0, options={"desired_goal": [0.0, 0.0]})
    for x, reward in ((1.0, 0.0), (1.0 + 1e-9, -1.0)):
        env.unwrapped.batch.positions[:] = [x, 0.0]
        observation, got, terminated, truncated, info = env.step(np.zeros(2))
        assert got == reward
        assert info["is_success"] == reward + 1
        assert not terminated
        assert not truncated
        assert env.unwrapped.compute_reward(observation["achieved_goal"], observation["desired_goal"], info) == reward


@pytest.mark.parametrize("boundary_dist", [0, -1, np.nan, np.inf])
def test_an_impossible_arena_is_refused(boundary_dist):
    with pytest.raises(error.Error, match="boundary_dist is"):
        gymnasium.make("mher_pl/Point2DLarge-v1", boundary_dist=boundary_dist)


def test_four_rooms_that_are_all_wall_are_refused():
    with pytest.raises(error.Error, match=r"boundary_dist is 0.8; allowed: above 0.8"):
        gymnasium.make("mher_pl/Point2DFourRoom-v1", boundary_dist=0.8)
    gymnasium.make("mher_pl/Point2DFourRoom-v1", boundary_dist=0.9).reset(seed=0)
