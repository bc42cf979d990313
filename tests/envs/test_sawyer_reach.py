import mujoco
import numpy as np
import pytest

import mher_pl
from mher_pl.envs.sawyer import load_model
from mher_pl.envs.sawyer_reach import SawyerReachVectorEnv
from tests.conftest import needs_gl

TASK = "mher_pl/SawyerReachXYZ-v1"
MODEL = SawyerReachVectorEnv.model_path
LOW, HIGH = [-0.2, 0.55, 0.05], [0.2, 0.75, 0.3]

# Joint angles right_j0..right_j6, the flange's position, and two of its axes: y and the direction of approach.
# Recorded from metaworld 3.1.1 (body `right_hand`), another model of the same robot.
FLANGE = [
    (
        [1.7244448, -0.92036369, 0.10234232, 2.11178144, 2.97668632, -0.38664629, 0.54065733],
        [-0.007055, 0.520341, 0.119939],
        [-0.022, 0.99976, 0.00002],
        [0.000033, 0.000021, -1.0],
    ),
    ([0, 0, 0, 0, 0, 0, 0], [1.0155, 0.1603, 0.317], [-0.00001, -0.17365, -0.98481], [1, 0, 0]),
    (
        [-1, -2, 1.5, -0.7, 2, 1, -3],
        [-0.268561, -0.045147, 0.947213],
        [-0.29891, -0.32578, 0.89695],
        [-0.909988, 0.380339, -0.165117],
    ),
    (
        [0.5, -1.2, -0.4, 1.3, -2.2, 0.8, 2.5],
        [0.632468, 0.00453, 0.647496],
        [0.44443, -0.11555, -0.88833],
        [0.784913, -0.427695, 0.448318],
    ),
]


@pytest.mark.parametrize(("joints", "position", "y", "approach"), FLANGE)
def test_the_arm_has_the_kinematics_of_a_sawyer(joints, position, y, approach):
    model = load_model(MODEL, decorated=False)
    data = mujoco.MjData(model)
    data.qpos[:] = joints
    mujoco.mj_forward(model, data)
    hand = data.body("hand")
    np.testing.assert_allclose(hand.xpos, position, rtol=0, atol=2e-6)
    axes = hand.xmat.reshape(3, 3)
    np.testing.assert_allclose(axes[:, 0], approach, rtol=0, atol=1e-4)
    np.testing.assert_allclose(axes[:, 1], y, rtol=0, atol=1e-4)


def test_the_robot_that_is_drawn_is_the_one_that_is_stepped():
    drawn, stepped = load_model(MODEL, decorated=True), load_model(MODEL, decorated=False)
    assert drawn.ngeom > 30
    assert stepped.ngeom == 2
    for name in ("body_mass", "body_inertia", "body_pos", "body_quat", "jnt_range", "dof_damping", "dof_armature"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(stepped, name), rtol=1e-12, err_msg=name)


def test_the_hand_follows_the_target_everywhere_in_the_box():
    env = mher_pl.make_vec(TASK, num_envs=40, max_episode_steps=1000)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(*zip(LOW, HIGH, strict=True)), axis=-1).reshape(-1, 3)
    for round in range(4):
        goals = rng.uniform(LOW, HIGH, size=(40, 3))
        goals[:8] = np.roll(corners, round, axis=0)
        for _ in range(25):
            hands = env.step((goals - env.unwrapped.targets) / 0.02)[0]["observation"]
        np.testing.assert_allclose(env.unwrapped.targets, goals, rtol=0, atol=1e-12)
        error = np.linalg.norm(hands - goals, axis=1)
        free = goals[:, 2] > 0.057
        assert error[free].max() < 0.0005
        # The closed fingers are 55 mm long and stand on the table.
        assert error[~free].max() < 0.0065
        assert (hands[~free, 2] > goals[~free, 2]).all()


def test_the_hand_arrives_within_the_control_step():
    env = mher_pl.make_vec(TASK, num_envs=20)
    env.reset(seed=0)
    rng = np.random.default_rng(1)
    for step in range(100):
        upwards = [0, 0, 1] if step < 5 else [0, 0, 0]
        hands = env.step(rng.choice([-1, 0, 1], size=(20, 3)) + upwards)[0]["observation"]
        high = env.unwrapped.targets[:, 2] > 0.07
        assert np.abs(hands - env.unwrapped.targets)[high].max(initial=0) < 0.0005
    assert high.any()


def test_the_target_stays_in_the_box_whatever_the_actions():
    env = mher_pl.make_vec(TASK, num_envs=50)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    pull = rng.choice([-1, 1], size=(50, 3))
    touched = np.zeros(2, dtype=bool)
    for _ in range(60):
        env.step(rng.normal(pull, 2))
        positions = np.array([data.mocap_pos[0] for data in env.unwrapped.datas])
        assert (positions >= LOW).all()
        assert (positions <= HIGH).all()
        touched |= [(positions == LOW).any(), (positions == HIGH).any()]
    assert touched.all()


def test_an_action_of_one_moves_the_target_by_two_centimetres_and_larger_ones_no_further():
    env = mher_pl.make_vec(TASK, num_envs=3)
    env.reset(seed=0)
    before = env.step(np.full((3, 3), [0.0, 1.0, 1.0]))[0]["observation"]
    np.testing.assert_array_equal(env.unwrapped.targets, np.tile([0, 0.55, 0.05], (3, 1)))
    before = [env.step(np.full((3, 3), [0.0, 1.0, 1.0]))[0]["observation"] for _ in range(3)][-1]
    after = env.step([[1, 0.5, -0.25], [7, 0.5, -0.25], [0, 0, 0]])[0]["observation"]
    np.testing.assert_allclose(after[0] - before[0], [0.02, 0.01, -0.005], rtol=0, atol=2e-4)
    np.testing.assert_array_equal(after[0], after[1])
    np.testing.assert_allclose(after[2], before[2], rtol=0, atol=2e-4)


def test_every_episode_starts_from_the_same_state_with_a_goal_of_its_own():
    env = mher_pl.make_vec(TASK, num_envs=200)
    first, _ = env.reset(seed=0)
    for _ in range(5):
        env.step(env.action_space.sample())
    second, _ = env.reset()
    np.testing.assert_array_equal(first["observation"], second["observation"])
    np.testing.assert_array_equal(first["observation"], np.tile(first["observation"][0], (200, 1)))
    np.testing.assert_allclose(first["observation"][0], [0, 0.5, 0.0528], rtol=0, atol=0.002)
    states = [np.concatenate([data.qpos, data.qvel, data.qacc_warmstart, [data.time]]) for data in env.unwrapped.datas]
    np.testing.assert_array_equal(states, np.tile(states[0], (200, 1)))
    goals = np.concatenate([first["desired_goal"], second["desired_goal"]])
    assert len(np.unique(goals, axis=0)) == 400
    assert (goals >= LOW).all()
    assert (goals <= HIGH).all()
    np.testing.assert_allclose(goals.mean(axis=0), np.mean([LOW, HIGH], axis=0), atol=0.03)
    np.testing.assert_allclose(np.ptp(goals, axis=0), np.subtract(HIGH, LOW), rtol=0.05)


def test_episodes_repeat_bit_by_bit_however_many_threads_step_them():
    actions = np.random.default_rng(0).uniform(-1, 1, size=(40, 6, 3))
    runs = []
    for threads in (1, 3):
        env = mher_pl.make_vec(TASK, num_envs=6, threads=threads)
        for _ in range(2):
            env.reset(seed=4)
            runs.append([env.step(action)[0]["observation"] for action in actions])
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


def test_a_batch_equals_the_single_environment_bit_by_bit_for_a_whole_episode():
    batch, single = mher_pl.make_vec(TASK, num_envs=3), mher_pl.make(TASK)
    batch.reset(seed=[2, 8, 5])
    observation, _ = single.reset(seed=8)
    for actions in np.random.default_rng(0).uniform(-1.5, 1.5, size=(100, 3, 3)).astype(np.float32):
        expected, rewards, _, truncations, infos = batch.step(actions)
        observation, reward, _, truncated, info = single.step(actions[1])
        for key in observation:
            np.testing.assert_array_equal(observation[key], expected[key][1])
        assert (reward, truncated, info["is_success"]) == (rewards[1], truncations[1], infos["is_success"][1])
    assert truncated


def test_the_observation_is_the_position_of_the_hand():
    env = mher_pl.make(TASK)
    observation, _ = env.reset(seed=0)
    for _ in range(10):
        hand = env.unwrapped.batch.datas[0].body("hand").xpos
        assert observation["observation"].dtype == np.float64
        np.testing.assert_array_equal(observation["observation"], hand)
        np.testing.assert_array_equal(observation["achieved_goal"], hand)
        observation, *_ = env.step(env.action_space.sample())


@pytest.mark.parametrize(("distance", "reward"), [(0.0595, 0), (0.0605, -1)])
def test_a_goal_is_reached_within_six_centimetres(distance, reward):
    env = mher_pl.make(TASK)
    goal = np.array([0.0, 0.65, 0.2])
    env.reset(seed=0, options={"desired_goal": goal})
    target = goal - distance * np.array([2, 1, 2]) / 3
    for _ in range(20):
        observation, got, *_, info = env.step((target - env.unwrapped.batch.targets[0]) / 0.02)
    assert abs(np.linalg.norm(observation["achieved_goal"] - goal) - distance) < 3e-4
    assert got == reward
    assert info["is_success"] == reward + 1


def test_a_greedy_policy_reaches_every_goal_and_stays():
    env = mher_pl.make_vec(TASK, num_envs=50)
    observation, _ = env.reset(seed=0)
    for _ in range(100):
        move = (observation["desired_goal"] - observation["achieved_goal"]) / 0.02
        observation, rewards, _, _, infos = env.step(move)
    assert infos["is_success"].all()
    assert (rewards == 0).all()


@needs_gl
def test_a_picture_shows_arm_and_goal_and_changes_nothing(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    env, unseen = mher_pl.make(TASK, render_mode="rgb_array"), mher_pl.make(TASK)
    env.reset(seed=0)
    unseen.reset(seed=0)
    first = env.render()
    assert first.shape == (480, 480, 3)
    red, green, blue = first.astype(int).reshape(-1, 3).T
    assert ((red > 80) & (red > 2 * green) & (red > 2 * blue)).mean() > 0.02  # the arm
    assert ((green > 80) & (green > 1.3 * red) & (green > 1.3 * blue)).mean() > 0.002  # the goal
    for _ in range(10):
        seen, hidden = env.step(np.ones(3))[0], unseen.step(np.ones(3))[0]
        moved = env.render()
    np.testing.assert_array_equal(seen["observation"], hidden["observation"])
    assert (moved != first).any(axis=-1).mean() > 0.02
    env.reset(options={"desired_goal": env.unwrapped.batch.goals[0].copy()})
    np.testing.assert_array_equal(env.render(), first)
    env.close()
