"""What every task of the package promises, whatever its dynamics."""

import gymnasium
import numpy as np
import pytest
from gymnasium import error
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

import mher_pl
from mher_pl.envs import registration

TASKS = list(registration.TASKS)
BATCHED = [*TASKS, "FetchReach-v4", "FetchPush-v4"]


def actions_of(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, size=(steps, *env.action_space.shape)).astype(np.float32)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_finds_nothing(task):
    env = mher_pl.make(task)
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_torchrls_checker_finds_nothing(task):
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    check_env_specs(GymWrapper(mher_pl.make(task)))
    check_env_specs(GymWrapper(mher_pl.make_vec(task, num_envs=3)))


@pytest.mark.parametrize("task", BATCHED)
def test_each_copy_of_a_batch_is_the_single_environment_with_its_seed(task):
    seeds = [7, 3, 12]
    batch, singles = mher_pl.make_vec(task, num_envs=3), [mher_pl.make(task) for _ in seeds]
    observation, _ = batch.reset(seed=seeds)
    expected = [env.reset(seed=seed)[0] for env, seed in zip(singles, seeds, strict=True)]
    for action in actions_of(batch, 5):
        for copy, (env, alone) in enumerate(zip(singles, expected, strict=True)):
            for key in alone:
                np.testing.assert_array_equal(observation[key][copy], alone[key])
            expected[copy] = env.step(action[copy])[0]
        observation, *_ = batch.step(action)


@pytest.mark.parametrize("task", BATCHED)
def test_a_seed_s_means_s_for_the_first_copy_and_one_more_for_each_next(task):
    env = mher_pl.make_vec(task, num_envs=3)
    first, second = env.reset(seed=5)[0], env.reset(seed=[5, 6, 7])[0]
    other = env.reset(seed=8)[0]
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert (first["desired_goal"] != other["desired_goal"]).any(axis=1).all()


@pytest.mark.parametrize("task", BATCHED)
def test_an_episode_ends_by_truncation_and_then_needs_a_reset(task):
    env = mher_pl.make_vec(task, num_envs=2, max_episode_steps=3)
    with pytest.raises(error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    for last in (False, False, True):
        observation, rewards, terminations, truncations, infos = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert rewards.shape == infos["is_success"].shape == (2,)
        assert not terminations.any()
        assert truncations.tolist() == [last, last]
    with pytest.raises(error.ResetNeeded, match="reset"):
        env.step(env.action_space.sample())
    env.reset()
    env.step(env.action_space.sample())


@pytest.mark.parametrize("task", BATCHED)
def test_a_reset_of_some_copies_leaves_the_others_alone(task):
    env = mher_pl.make_vec(task, num_envs=3, max_episode_steps=4)
    env.reset(seed=0)
    actions = actions_of(env, 3)
    before = env.step(actions[0])[0]
    after, _ = env.reset(seed=[None, 9, None], options={"reset_mask": np.array([False, True, False])})
    for key in before:
        np.testing.assert_array_equal(after[key][[0, 2]], before[key][[0, 2]])
    assert (after["desired_goal"][1] != before["desired_goal"][1]).any()
    env.step(actions[1])
    env.step(actions[2])
    assert env.step(actions[2])[3].tolist() == [True, False, True]


@pytest.mark.parametrize("task", BATCHED)
def test_rewards_can_be_computed_for_any_number_of_goals_at_once(task):
    env = mher_pl.make_vec(task, num_envs=50)
    observation, _ = env.reset(seed=0)
    achieved, desired = observation["achieved_goal"], observation["desired_goal"]
    half = np.where(np.arange(50)[:, None] % 2 == 0, achieved, desired)
    rewards = env.compute_reward(half, achieved, {})
    single = mher_pl.make(task).unwrapped
    np.testing.assert_array_equal(rewards, single.compute_reward(half, achieved, {}))
    np.testing.assert_array_equal(
        rewards, [single.compute_reward(a, b, {}) for a, b in zip(half, achieved, strict=True)]
    )
    assert set(rewards.tolist()) <= {0.0, -1.0}
    assert (rewards[::2] == 0).all()
    stacked = single.compute_reward(half.reshape(5, 10, -1), achieved.reshape(5, 10, -1), {})
    np.testing.assert_array_equal(stacked, rewards.reshape(5, 10))


@pytest.mark.parametrize("task", TASKS)
def test_observations_already_returned_do_not_change_later(task):
    env = mher_pl.make_vec(task, num_envs=2)
    observation, _ = env.reset(seed=0)
    copies = {key: value.copy() for key, value in observation.items()}
    env.step(np.ones(env.action_space.shape))
    env.reset()
    for key, value in copies.items():
        np.testing.assert_array_equal(observation[key], value)


@pytest.mark.parametrize("task", BATCHED)
def test_a_goal_can_be_chosen_at_reset(task):
    env = mher_pl.make_vec(task, num_envs=2)
    goals = env.reset(seed=1)[0]["desired_goal"]
    given, _ = env.reset(seed=2, options={"desired_goal": goals})
    np.testing.assert_array_equal(given["desired_goal"], goals)
    given, _ = env.reset(seed=2, options={"desired_goal": goals[0]})
    np.testing.assert_array_equal(given["desired_goal"], goals[[0, 0]])
    np.testing.assert_array_equal(env.step(actions_of(env, 1)[0])[0]["desired_goal"], goals[[0, 0]])


@pytest.mark.parametrize("task", TASKS)
def test_a_goal_outside_its_space_is_refused(task):
    env = mher_pl.make(task)
    size = env.observation_space["desired_goal"].shape[0]
    for goal in ([100.0] * size, [np.nan] * size):
        with pytest.raises(error.Error, match=r"desired_goal is .*; allowed: finite numbers inside Box"):
            env.reset(options={"desired_goal": goal})
    with pytest.raises(error.Error, match="desired_goal has shape"):
        env.reset(options={"desired_goal": [0.0] * (size + 1)})
    with pytest.raises(error.Error, match=r"reset options has \['goal'\]"):
        env.reset(options={"goal": [0.0] * size})
    with pytest.raises(error.Error, match="achieved_goal has shape"):
        env.unwrapped.compute_reward(np.zeros((3, size)), np.zeros((2, size)), {})


@pytest.mark.parametrize("task", BATCHED)
def test_a_wrong_action_is_refused_and_leaves_the_episode_as_it_was(task):
    env = mher_pl.make_vec(task, num_envs=3)
    env.reset(seed=0)
    good = actions_of(env, 1)[0]
    bad = good.copy()
    bad[1, 0] = np.nan
    with pytest.raises(error.InvalidAction, match=r"NaN in copies \[1\]"):
        env.step(bad)
    for wrong in (good[:2], good[:, :1], good[0]):
        with pytest.raises(error.InvalidAction, match="shape"):
            env.step(wrong)
    got = env.step(good)[0]
    env.reset(seed=0)
    np.testing.assert_array_equal(got["observation"], env.step(good)[0]["observation"])


@pytest.mark.parametrize("task", TASKS)
def test_a_wrong_action_of_the_single_environment_is_refused(task):
    env = mher_pl.make(task)
    env.reset(seed=0)
    with pytest.raises(error.InvalidAction, match="NaN"):
        env.step(np.full(env.action_space.shape, np.nan))
    with pytest.raises(error.InvalidAction, match="shape"):
        env.step(np.zeros(env.action_space.shape[0] + 1))


@pytest.mark.parametrize("task", BATCHED)
def test_wrong_seeds_masks_and_lengths_are_refused(task):
    env = mher_pl.make_vec(task, num_envs=2)
    with pytest.raises(error.Error, match="seed holds 3 values"):
        env.reset(seed=[1, 2, 3])
    for mask in (np.array([True]), np.array([1, 0]), np.array([False, False])):
        with pytest.raises(error.Error, match="reset_mask is"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(error.Error, match="max_episode_steps is 0"):
        mher_pl.make_vec(task, num_envs=2, max_episode_steps=0)
    with pytest.raises(error.UnsupportedMode, match="render_mode is 'no'"):
        mher_pl.make_vec(task, num_envs=2, render_mode="no")


@pytest.mark.parametrize("task", TASKS)
def test_the_single_environment_fits_gymnasiums_own_batches(task):
    env = SyncVectorEnv([lambda: gymnasium.make(task)] * 2)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["is_success"].shape == (2,)
