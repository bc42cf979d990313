import mujoco
import numpy as np
import pytest

import mher_pl
from mher_pl.envs.sawyer import load_model
from mher_pl.envs.sawyer_door import SawyerDoorVectorEnv
from tests.conftest import needs_gl

TASK = "mher_pl/SawyerDoor-v1"


def pull(observation, step):
    """Return actions that put the hook behind the handle, near the hinge, and draw the door to its goal."""
    hands, angles = observation["observation"][:, :3], observation["observation"][:, 3]
    actions = np.zeros_like(hands)
    actions[:, 0] = (0.035 - hands[:, 0]) / 0.02
    if step > 5:
        actions[:, 2] = np.where(hands[:, 2] > 0.17, -1, 0)
    if step > 12:
        actions[:, 1] = 5 * (angles - observation["desired_goal"][:, 0])
    return actions


def test_a_hook_behind_the_handle_opens_the_door_to_every_angle():
    env = mher_pl.make_vec(TASK, num_envs=20)
    observation, _ = env.reset(seed=1)
    for step in range(100):
        observation, rewards, _, truncations, infos = env.step(pull(observation, step))
    assert infos["is_success"].all()
    assert (rewards == 0).all()
    assert truncations.all()
    assert np.ptp(observation["desired_goal"]) > 0.7
    np.testing.assert_array_equal(observation["achieved_goal"], observation["observation"][:, 3:])


def test_every_episode_starts_at_the_shut_door_with_a_goal_of_its_own():
    env = mher_pl.make_vec(TASK, num_envs=100)
    first, _ = env.reset(seed=0)
    for step in range(10):
        env.step(pull(first, step))
    second, _ = env.reset()
    np.testing.assert_array_equal(first["observation"], np.tile(first["observation"][0], (100, 1)))
    np.testing.assert_array_equal(first["observation"], second["observation"])
    np.testing.assert_allclose(first["observation"][0], [-0.05, 0.635, 0.225, 0], rtol=0, atol=0.003)
    goals = np.concatenate([first["desired_goal"], second["desired_goal"]])
    assert goals.shape == (200, 1)
    assert len(np.unique(goals)) == 200
    assert goals.min() >= 0
    assert goals.max() <= 0.83
    np.testing.assert_allclose(goals.mean(), 0.415, atol=0.05)


def test_a_door_that_nothing_touches_stays_as_it_is():
    model = load_model(SawyerDoorVectorEnv.model_path, decorated=False)
    for angle in (0.0, 0.05, 0.4, 0.8):
        data = mujoco.MjData(model)
        data.qpos[0] = -1.5  # the arm is turned away
        data.mocap_pos[0] = 5.0
        model.eq_active0[:] = data.eq_active[:] = 0
        data.joint("door").qpos[0] = angle
        mujoco.mj_step(model, data, 500)
        assert data.joint("door").qpos[0] == pytest.approx(angle, abs=1e-4)


def test_the_door_cannot_be_pushed_into_the_cabinet_nor_beyond_its_range():
    env = mher_pl.make_vec(TASK, num_envs=20)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    angles = []
    for step in range(60):
        if step % 10 == 0:
            actions = rng.choice([-1, 1], size=(20, 3))
        angles.append(env.step(actions)[0]["achieved_goal"])
    assert np.min(angles) > -0.02
    assert 0.3 < np.max(angles) < 1.1


def test_the_hand_stays_near_its_target_and_the_target_in_the_box():
    env = mher_pl.make_vec(TASK, num_envs=20)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(40):
        hands = env.step(rng.normal(size=(20, 3)) * 2)[0]["observation"][:, :3]
        targets = env.unwrapped.targets
        assert (targets >= [-0.1, 0.45, 0.1]).all()
        assert (targets <= [0.05, 0.65, 0.25]).all()
        # Hook and handle keep them apart where the target is in the handle.
        assert np.abs(hands - targets).max() < 0.09


def test_random_actions_move_the_door_often_enough_to_learn_from():
    env = mher_pl.make_vec(TASK, num_envs=20)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    widest = np.max([env.step(rng.uniform(-1, 1, (20, 3)))[0]["achieved_goal"] for _ in range(100)], axis=0)
    assert (widest > 0.06).mean() > 0.5


@pytest.mark.parametrize(("goal", "reward"), [(0.059, 0), (0.061, -1)])
def test_an_angle_is_reached_within_six_hundredths(goal, reward):
    env = mher_pl.make(TASK)
    env.reset(seed=0, options={"desired_goal": [goal]})
    _, got, *_, info = env.step(np.zeros(3))
    assert got == reward
    assert info["is_success"] == reward + 1


def test_a_batch_equals_the_single_environment_bit_by_bit_whatever_the_threads():
    batch, single = mher_pl.make_vec(TASK, num_envs=3, threads=2), mher_pl.make(TASK)
    batch.reset(seed=[2, 8, 5])
    observation, _ = single.reset(seed=8)
    for actions in np.random.default_rng(0).uniform(-1.5, 1.5, size=(60, 3, 3)).astype(np.float32):
        expected, rewards, *_ = batch.step(actions)
        observation, reward, *_ = single.step(actions[1])
        for key in observation:
            np.testing.assert_array_equal(observation[key], expected[key][1])
        assert reward == rewards[1]


def test_the_door_that_is_drawn_is_the_one_that_is_stepped():
    drawn, stepped = (load_model(SawyerDoorVectorEnv.model_path, decorated=decorated) for decorated in (True, False))
    assert drawn.ngeom > stepped.ngeom == 8
    for name in ("body_mass", "body_inertia", "jnt_range", "dof_damping", "dof_armature"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(stepped, name), rtol=1e-12, err_msg=name)


@needs_gl
def test_a_picture_shows_the_goal_and_changes_nothing(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    env, unseen = mher_pl.make(TASK, render_mode="rgb_array"), mher_pl.make(TASK)
    pictures = []
    for goal in (0.1, 0.8):
        for each in (env, unseen):
            each.reset(seed=0, options={"desired_goal": [goal]})
        pictures.append(env.render())
    assert (pictures[0] != pictures[1]).any(axis=-1).mean() > 0.01
    for _ in range(5):
        seen, hidden = env.step(-np.ones(3))[0], unseen.step(-np.ones(3))[0]
        env.render()
    np.testing.assert_array_equal(seen["observation"], hidden["observation"])
    env.close()
