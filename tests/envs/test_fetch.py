import gymnasium
import numpy as np
import pytest
from gymnasium import error
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs

import mher_pl
from mher_pl.envs import registration

SEEDS = [11, 5, 400]


def original(task):
    steps = mher_pl.make(task).spec.max_episode_steps
    make = [lambda: gymnasium.make(task, max_episode_steps=steps)] * len(SEEDS)
    return SyncVectorEnv(make, autoreset_mode=AutoresetMode.DISABLED)


def assert_equal(got, expected):
    assert got.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)


@pytest.mark.parametrize("task", ["Reach", "Push", "PickAndPlace", "Slide", "PushDense"])
def test_a_batch_equals_gymnasium_robotics_bit_by_bit(task):
    task = f"Fetch{task}-v4"
    ours, theirs = mher_pl.make_vec(task, num_envs=len(SEEDS)), original(task)
    rng = np.random.default_rng(0)
    # The second episode continues the generators of the first.
    for seed, dtype in ((SEEDS, np.float32), (None, np.float64)):
        (got, _), (expected, _) = ours.reset(seed=seed), theirs.reset(seed=seed)
        assert_equal(got, expected)
        start, touched = got, False
        for step in range(registration.EPISODE_STEPS if "Reach" in task else 50):
            # Towards the goal or the object in the first half, so that the gripper touches something.
            aim = got["observation"][:, 3:6] if got["observation"].shape[1] > 10 else got["desired_goal"]
            actions = rng.uniform(-1.2, 1.2, size=(len(SEEDS), 4))
            if step < 25:
                actions[:, :3] = 10 * (aim - got["observation"][:, :3]) + 0.3 * actions[:, :3]
            got, expected = ours.step(actions.astype(dtype)), theirs.step(actions.astype(dtype))
            assert_equal(got[0], expected[0])
            touched = touched or np.abs(got[0]["achieved_goal"] - start["achieved_goal"]).max() > 0.03
            for mine, its in zip(got[1:4], expected[1:4], strict=True):
                assert mine.dtype == its.dtype
                np.testing.assert_array_equal(mine, its)
            np.testing.assert_array_equal(got[4]["is_success"], expected[4]["is_success"])
            got = got[0]
        assert expected[3].all()
        assert touched, "an object that lies still shows nothing"


@pytest.mark.filterwarnings("ignore:.*infinity", "ignore:.*bound")  # gymnasium-robotics' own spaces
@pytest.mark.parametrize("task", ["FetchReach-v4", "FetchPush-v4"])
def test_the_checkers_of_gymnasium_and_torchrl_are_content(task):
    check_env(mher_pl.make(task).unwrapped, skip_render_check=True)
    check_env_specs(GymWrapper(mher_pl.make(task)))
    check_env_specs(GymWrapper(mher_pl.make_vec(task, num_envs=3)))


def test_the_order_in_which_threads_step_the_copies_changes_nothing():
    actions = np.random.default_rng(0).uniform(-1, 1, size=(10, 6, 4))
    runs = []
    for threads in (1, 3):
        env = mher_pl.make_vec("FetchPush-v4", num_envs=6, threads=threads)
        env.reset(seed=0)
        runs.append([env.step(action)[0]["observation"] for action in actions])
    np.testing.assert_array_equal(*runs)


def test_the_dense_reward_and_other_arguments_reach_the_original():
    env = mher_pl.make_vec("FetchReach-v4", num_envs=2, reward_type="dense", max_episode_steps=3)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        observation, rewards, _, truncations, _ = env.step(np.zeros((2, 4)))
    distance = np.linalg.norm(observation["achieved_goal"] - observation["desired_goal"], axis=1)
    np.testing.assert_array_equal(rewards, -distance)
    assert truncations.all()
    np.testing.assert_array_equal(
        env.compute_reward(observation["achieved_goal"], observation["desired_goal"], {}), -distance
    )
    with pytest.raises(TypeError):
        mher_pl.make_vec("FetchReach-v4", num_envs=2, no_such_argument=1)


def test_only_fetch_tasks_have_this_batched_form():
    from mher_pl.envs.fetch import FetchVectorEnv

    with pytest.raises(error.Error, match="is not one of the Fetch tasks"):
        FetchVectorEnv("HandReach-v3", num_envs=1)


def test_every_batched_fetch_task_is_a_registered_one():
    mher_pl.make("FetchReach-v4")
    assert set(registration.FETCH_TASKS) <= set(gymnasium.registry)


@pytest.mark.parametrize("task", ["FetchReach-v4", "FetchPushDense-v4"])
def test_a_single_environment_equals_gymnasium_robotics_bit_by_bit(task):
    ours, theirs = mher_pl.make(task), original(task).envs[0]
    assert ours.spec.id == theirs.spec.id
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps
    for seed in (4, None):
        (got, _), (expected, _) = ours.reset(seed=seed), theirs.reset(seed=seed)
        for action in np.random.default_rng(0).uniform(-1, 1, size=(20, 4)).astype(np.float32):
            assert_equal(got, expected)
            got, *rest = ours.step(action)
            expected, *others = theirs.step(action)
            assert rest == others
    goals = np.random.default_rng(1).uniform(size=(2, 5, 3))
    np.testing.assert_array_equal(
        ours.unwrapped.compute_reward(*goals, {}), theirs.unwrapped.compute_reward(*goals, {})
    )
