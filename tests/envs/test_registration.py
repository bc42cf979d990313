import logging
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import error, spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mher_pl
from mher_pl.envs import registration


def test_importing_the_package_loads_neither_torch_nor_mujoco():
    program = "import mher_pl, sys; print({'torch', 'mujoco', 'gymnasium_robotics'} & set(sys.modules))"
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
