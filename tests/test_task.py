import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from mher_pl.errors import UserError
from mher_pl.task import inspect_task


class TinyGoalEnv(gym.Env):
    """A goal environment of two numbers whose faults are chosen by its arguments."""

    def __init__(
        self, hidden_goal: bool = False, scalar_reward: bool = False, constants: int = 0, penalty: float = 1.0
    ):
        box = spaces.Box(-np.inf, np.inf, (2,))
        state = spaces.Box(-np.inf, np.inf, (2 + constants,))
        self.observation_space = spaces.Dict(observation=state, achieved_goal=box, desired_goal=box)
        self.constants = np.zeros(constants)
        self.action_space = spaces.Box(-1.0, 1.0, (2,))
        self.hidden_goal, self.scalar_reward, self.penalty = hidden_goal, scalar_reward, penalty

    def compute_reward(self, achieved_goal, desired_goal, info):
        distance = np.linalg.norm(achieved_goal - desired_goal, axis=None if self.scalar_reward else -1)
        return -self.penalty * (distance > 0.5).astype(np.float32)

    def _observe(self):
        achieved = self.state**2 if self.hidden_goal else self.state[::-1]
        vectors = {
            "observation": np.append(self.state, self.constants),
            "achieved_goal": achieved,
            "desired_goal": np.zeros(2),
        }
        return {key: value.astype(np.float32) for key, value in vectors.items()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self._observe(), {}

    def step(self, action):
        self.state = self.state + 0.1 * np.asarray(action)
        return self._observe(), -1.0, False, False, {"is_success": 0.0}


gym.register("tests/Tiny-v0", entry_point=TinyGoalEnv, max_episode_steps=30)
gym.register("tests/TinyEndless-v0", entry_point=TinyGoalEnv)


def test_phi_is_found_by_comparing_observation_and_achieved_goal():
    task = inspect_task("tests/Tiny-v0", {}, None)
    assert task.goal_indices == (1, 0)
    assert task.phi(torch.tensor([[5.0, 7.0]])).tolist() == [[7.0, 5.0]]


@pytest.mark.parametrize(
    ("env", "indices"),
    [
        ("FetchReach-v4", (0, 1, 2)),
        ("FetchPush-v4", (3, 4, 5)),
        ("mher_pl/Reacher-v1", (8, 9)),
        ("mher_pl/Point2DLarge-v1", (0, 1)),
    ],
)
def test_phi_of_the_tasks_is_the_one_that_the_paper_gives(env: str, indices: tuple[int, ...]):
    assert inspect_task(env, {}, None).goal_indices == indices


def test_phi_given_in_the_config_is_checked_and_used():
    assert inspect_task("tests/Tiny-v0", {}, [1, 0]).goal_indices == (1, 0)
    with pytest.raises(UserError, match=r"data.goal_indices is \[0, 1\]; allowed: 2 entries from 0 to 1"):
        inspect_task("tests/Tiny-v0", {}, [0, 1])


@pytest.mark.parametrize(
    ("env", "indices"), [("mher_pl/Reacher-v1", (4, 5)), ("FetchReach-v4", ()), ("mher_pl/Point2DLarge-v1", ())]
)
def test_where_the_observation_shows_the_desired_goal_is_found(env: str, indices: tuple[int, ...]):
    assert inspect_task(env, {}, None).desired_goal_indices == indices


def test_where_the_observation_shows_the_desired_goal_can_be_given():
    assert inspect_task("mher_pl/Reacher-v1", {}, None, [4, 5]).desired_goal_indices == (4, 5)
    assert inspect_task("mher_pl/Reacher-v1", {}, None, []).desired_goal_indices == ()
    with pytest.raises(UserError, match=r"data.desired_goal_indices is \[8, 9\]; allowed: 2 entries from 0 to 10"):
        inspect_task("mher_pl/Reacher-v1", {}, None, [8, 9])


def test_a_desired_goal_that_never_changes_is_not_looked_for():
    task = inspect_task("tests/Tiny-v0", {"constants": 2}, None)
    assert task.desired_goal_indices == ()


def test_a_task_without_phi_refuses_those_who_need_it():
    task = inspect_task("tests/Tiny-v0", {"hidden_goal": True}, None)
    assert task.goal_indices is None
    with pytest.raises(UserError, match=r"model.relabel ModelBased needs the state-to-goal map.*data.goal_indices"):
        task.require_phi("model.relabel ModelBased")


def test_the_reward_is_the_environments_own():
    task = inspect_task("FetchReach-v4", {}, None)
    goals = torch.zeros(2, 3)
    achieved = torch.tensor([[0.049, 0.0, 0.0], [0.051, 0.0, 0.0]])
    assert task.reward(achieved, goals).tolist() == [0.0, -1.0]


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("NoSuchEnv-v0", {}, "data.env is 'NoSuchEnv-v0'; allowed: the id of a Gymnasium goal environment"),
        ("Pendulum-v1", {}, "data.env is 'Pendulum-v1'.*not a goal environment"),
        ("tests/Tiny-v0", {"size": 3}, "data.env_kwargs is .*'size': 3.*; allowed: arguments of tests/Tiny-v0"),
        ("tests/Tiny-v0", {"scalar_reward": True}, "compute_reward gives shape .*; allowed: a vectorised"),
        ("tests/Tiny-v0", {"penalty": 3.0}, "whose rewards reach from -3 to .*; allowed: from -1 to 0"),
        ("tests/TinyEndless-v0", {}, "no fixed length; allowed: max_episode_steps"),
    ],
)
def test_what_is_no_usable_goal_environment_is_refused(env: str, kwargs: dict, message: str):
    with pytest.raises(UserError, match=message):
        inspect_task(env, kwargs, None)


def test_rewards_are_0_at_the_goal_also_where_the_task_gives_1():
    task = inspect_task("PointMaze_UMaze-v3", {}, None)
    goals = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert task.best_reward == 1.0
    assert task.reward(goals, goals + torch.tensor([[0.1], [3.0]])).tolist() == [0.0, -1.0]
    assert inspect_task("FetchReach-v4", {}, None).best_reward == 0.0
