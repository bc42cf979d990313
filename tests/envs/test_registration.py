import logging
import subprocess
import sys

import goal_tasks
import gymnasium
import numpy as np
import pytest
from gymnasium import error, spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mher_pl
from mher_pl.envs import registration


def test_importing_the_package_loads_neither_torch_nor_lightning_nor_mujoco():
    program = "import mher_pl, sys; print({'torch', 'lightning', 'mujoco', 'gymnasium_robotics'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


@pytest.mark.parametrize("task", registration.TASKS)
def test_gymnasium_itself_makes_the_batched_form(task):
    env = gymnasium.make_vec(task, num_envs=3)
    assert not isinstance(env, SyncVectorEnv)
    assert type(env) is type(mher_pl.make_vec(task, num_envs=3))
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED


@pytest.mark.parametrize("task", [*registration.TASKS, "FetchReach-v4"])
def test_episodes_of_the_papers_tasks_take_100_steps(task):
    env = mher_pl.make(task)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[3] for _ in range(100)]
    assert ends == [False] * 99 + [True]
    assert mher_pl.make(task, max_episode_steps=7).spec.max_episode_steps == 7


@pytest.mark.parametrize(("task", "steps"), [("mher_pl/Reacher-v1", 100), ("FetchReach-v4", 100), ("FetchPush-v4", 50)])
def test_no_number_of_steps_is_the_tasks_own(task, steps):
    assert mher_pl.make(task, max_episode_steps=None).spec.max_episode_steps == steps
    assert mher_pl.make_vec(task, num_envs=2, max_episode_steps=None).max_episode_steps == steps


def test_other_goal_environments_keep_their_registered_length():
    assert mher_pl.make("FetchPush-v4").spec.max_episode_steps == 50


def test_the_slow_path_is_told_once_and_steps_any_goal_environment(caplog):
    registration._slow_path_logged.clear()
    with caplog.at_level(logging.WARNING):
        envs = [mher_pl.make_vec("PointMaze_UMaze-v3", num_envs=2, max_episode_steps=2) for _ in range(2)]
    assert [record.message for record in caplog.records if "slow path" in record.message] == [
        "PointMaze_UMaze-v3 takes the slow path: it has no batched form, so its copies are stepped one by one"
    ]
    env = envs[0]
    env.reset(seed=0)
    *_, truncations, infos = env.step(env.action_space.sample())
    assert infos["is_success"].shape == (2,)
    assert not truncations.any()
    assert env.step(env.action_space.sample())[3].all()


@pytest.mark.parametrize("num_envs", [0, -1, 2.0, True])
def test_a_batch_of_nothing_is_refused(num_envs):
    for task in ("mher_pl/Point2DLarge-v1", "PointMaze_UMaze-v3"):
        with pytest.raises(error.Error, match="num_envs is"):
            mher_pl.make_vec(task, num_envs=num_envs)
    with pytest.raises(error.Error, match="num_envs is"):
        gymnasium.make_vec("mher_pl/Point2DLarge-v1", num_envs=num_envs)


def test_an_environment_without_goals_is_refused():
    with pytest.raises(error.Error, match="CartPole-v1 is not a goal environment"):
        mher_pl.make("CartPole-v1")
    with pytest.raises(error.Error, match="CartPole-v1 is not a goal environment"):
        mher_pl.make_vec("CartPole-v1", num_envs=2)


def test_an_id_can_name_the_module_that_registers_it(tmp_path, monkeypatch):
    (tmp_path / "somebodys_tasks.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Somebodys-v0', entry_point='mher_pl.envs.point2d:Point2DEnv', max_episode_steps=9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error.UnregisteredEnv):
        mher_pl.make("Somebodys-v0")
    assert mher_pl.make("somebodys_tasks:Somebodys-v0").spec.max_episode_steps == 9
    env = mher_pl.make_vec("somebodys_tasks:Somebodys-v0", num_envs=2)
    assert isinstance(env, SyncVectorEnv)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["is_success"].shape == (2,)


def test_an_unknown_id_is_gymnasiums_own_error():
    with pytest.raises(error.UnregisteredEnv):
        mher_pl.make("NoSuchTask-v0")


def test_the_batch_knows_its_specification():
    env = mher_pl.make_vec("mher_pl/Point2DLarge-v1", num_envs=2, boundary_dist=4)
    assert env.spec.id == "mher_pl/Point2DLarge-v1"
    assert np.array_equal(env.single_observation_space["desired_goal"].high, [4, 4])


def test_actions_of_other_bounds_are_rescaled_and_success_is_read_off_a_sparse_reward():
    class Wide(gymnasium.Env):
        observation_space = spaces.Dict(
            {key: spaces.Box(-9.0, 9.0, (1,)) for key in ("observation", "achieved_goal", "desired_goal")}
        )
        action_space = spaces.Box(0.0, 4.0, (1,))

        def compute_reward(self, achieved_goal, desired_goal, info):
            return (np.abs(achieved_goal - desired_goal)[..., 0] <= 0.1).astype(float)  # 1 at the goal, 0 elsewhere

        def _observe(self):
            return {key: np.float32([self.at]) for key in ("observation", "achieved_goal")} | {
                "desired_goal": np.float32([3.0])
            }

        def reset(self, *, seed=None, options=None):
            self.at = 0.0
            return self._observe(), {}

        def step(self, action):
            self.at = float(action[0])
            observed = self._observe()
            goals = observed["achieved_goal"], observed["desired_goal"]
            return observed, self.compute_reward(*goals, {}), False, False, {}

    gymnasium.register("tests/Wide-v0", entry_point=Wide, max_episode_steps=5)
    env = mher_pl.make("tests/Wide-v0")
    env.reset()
    assert env.action_space == spaces.Box(-1.0, 1.0, (1,))
    observation, _, _, _, info = env.step(np.float32([0.0]))
    assert observation["observation"] == 2.0
    assert info["is_success"] == 0.0
    *_, info = env.step(np.float32([0.5]))
    assert info["is_success"] == 1.0


@pytest.mark.parametrize(
    ("task", "taken"),
    [
        ("Integers", {-1.0: 0, -0.9: 0, -0.8: 1, 0.0: 4, 0.1: 4, 0.2: 5, 1.0: 8}),
        ("Ternary", {-1.0: -1, -0.6: -1, -0.4: 0, 0.4: 0, 0.6: 1, 1.0: 1}),
        ("Uneven", {-1.0: 0.0, 0.5: 0.75, 1.0: 1.0}),
    ],
)
def test_an_action_is_rescaled_to_the_tasks_own_bounds_and_to_the_nearest_integer_of_integers(task, taken):
    env = mher_pl.make(f"goal_tasks:{task}-v0")
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,), env.action_space.dtype)
    given = []
    env.unwrapped.move = lambda action: given.append(action[0]) or setattr(env.unwrapped, "cost", 0.0)
    env.reset(seed=0)
    for action in taken:
        env.step(np.full(2, action, dtype=np.float32))
    assert given == pytest.approx(list(taken.values()), abs=1e-6)


class Quiet(goal_tasks.Slide):
    """Rewards in tenths, tells no success, takes an action with an entry of one value, and options if there are any."""

    def __init__(self) -> None:
        super().__init__(rewards=(0.0, 0.1))
        self.action_space = spaces.Box(np.float32([-2.0, -2.0, 0.5]), np.float32([2.0, 2.0, 0.5]))

    def reset(self, *, seed=None, options=None):
        if options is not None:
            self.start = options["start"]
        return super().reset(seed=seed)

    def begin(self):
        self.at, self.goal = np.zeros(2), np.array([0.5, 0.0])

    def step(self, action):
        assert action in self.action_space
        return *super().step(action[:2])[:4], {}


gymnasium.register("tests/Quiet-v0", entry_point=Quiet, max_episode_steps=5)


@pytest.mark.filterwarnings("ignore:.*maximum and minimum values are equal")  # Gymnasium's own
def test_success_is_read_off_a_reward_that_is_rounded():
    env = mher_pl.make("tests/Quiet-v0")
    env.reset(seed=0)
    right, left = np.float32([0.5, 0.0, 0.3]), np.float32([-1.0, 0.0, -0.3])
    assert [env.step(action)[4]["is_success"] for action in (right, right, left)] == [1.0, 1.0, 0.0]


@pytest.mark.filterwarnings("ignore:.*maximum and minimum values are equal")
def test_copies_are_reset_one_by_one_without_options_of_their_own():
    env = mher_pl.make_vec("tests/Quiet-v0", num_envs=2)
    env.reset(seed=[0, 1])
    env.step(env.action_space.sample())
    observation, _ = env.reset(options={"reset_mask": np.array([True, False])})
    assert observation["achieved_goal"][0].tolist() == [0.0, 0.0] != observation["achieved_goal"][1].tolist()


@pytest.mark.parametrize("task", ["Unbounded", "HalfBounded"])
def test_actions_without_bounds_are_refused(task):
    with pytest.raises(error.Error, match=rf"{task}-v0 has actions without bounds.*; allowed: a wrapper"):
        mher_pl.make(f"goal_tasks:{task}-v0")


@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_episodes_of_no_steps_are_refused(steps):
    for make in (mher_pl.make, mher_pl.make_vec):
        for task in ("mher_pl/Point2DLarge-v1", "goal_tasks:Plain-v0"):
            with pytest.raises(error.Error, match=f"max_episode_steps is {steps}; allowed: an integer of at least 1"):
                make(task, max_episode_steps=steps)


def test_success_of_a_task_that_tells_none_is_read_off_its_reward_also_from_batches_alone():
    env = mher_pl.make("goal_tasks:BatchOnly-v0")
    env.reset(seed=0)
    for _ in range(12):
        _, reward, _, _, info = env.step(np.sign(env.unwrapped.goal - env.unwrapped.at).astype(np.float32))
        assert info["is_success"] == (reward == 0.0)
    assert info["is_success"] == 1.0


@pytest.mark.parametrize("habit", ["action", "info", "array", "uneven"])
def test_what_a_task_does_with_its_arguments_and_infos_changes_nothing_elsewhere(habit):
    """It goes as the same task without the habit, which is to halve its action for "action"."""
    careless, plain = (
        mher_pl.make_vec("faulty_tasks:Careless-v0", num_envs=3, habit=kind, disable_env_checker=True)
        for kind in (habit, "none")
    )
    for envs in (careless, plain):
        envs.reset(seed=[0, 1, 2])
    successes = []
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (12, 3, 2)).astype(np.float32):
        given = action.copy()
        info = careless.step(given)[-1]
        expected = plain.step(action / 2 if habit == "action" else action)[-1]
        assert np.array_equal(given, action)
        assert set(info) == {"is_success", "_is_success"}
        assert np.array_equal(info["is_success"], expected["is_success"])
        successes.append(info["is_success"])
    assert 0.0 < np.mean(successes) < 1.0


def test_processes_step_the_same_episodes():
    one, other = (mher_pl.make_vec("goal_tasks:Plain-v0", num_envs=2, processes=flag) for flag in (False, True))
    assert type(other).__name__ == "ProcessEnvs"
    for envs in (one, other):
        envs.reset(seed=[3, 4])
    actions = np.float32([[0.5, 0.5], [-0.5, 0.5]])
    shown, also_shown = (envs.step(actions)[0] for envs in (one, other))
    for key, values in shown.items():
        np.testing.assert_array_equal(values, also_shown[key])
    other.close()
