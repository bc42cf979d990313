from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from goal_tasks import STEPS, Slide
from gymnasium import spaces

from mher_pl.errors import UserError
from mher_pl.inspection import inspect_task, require_same_rewards
from mher_pl.inspection.rewards import require_vectorised

REUSES = "ignore:.*share an object"  # Gymnasium's own warning of an environment that reuses its arrays


class TinyGoalEnv(gym.Env):
    """A goal environment of two numbers whose faults are chosen by its arguments."""

    def __init__(
        self,
        hidden_goal: bool = False,
        reward: str = "sparse",
        constants: int = 0,
        radius: float = 0.5,
        goal_size: int = 2,
    ):
        box = spaces.Box(-np.inf, np.inf, (2,))
        state = spaces.Box(-np.inf, np.inf, (2 + constants,))
        goal = spaces.Box(-np.inf, np.inf, (goal_size,))
        self.observation_space = spaces.Dict(observation=state, achieved_goal=box, desired_goal=goal)
        self.constants = np.zeros(constants)
        self.action_space = spaces.Box(-1.0, 1.0, (2,))
        self.hidden_goal, self.reward, self.radius = hidden_goal, reward, radius

    def compute_reward(self, achieved_goal, desired_goal, info):
        distance = np.linalg.norm(achieved_goal - desired_goal, axis=None if self.reward == "scalar" else -1)
        if self.reward == "dense":
            return -distance
        if self.reward == "three values":
            return -(distance > self.radius).astype(float) - (distance > 2 * self.radius)
        if self.reward == "inverted":
            return -(distance <= self.radius).astype(np.float32)
        if self.reward == "nan":
            return np.where(distance > self.radius, np.nan, 0.0)
        if self.reward == "single":
            assert achieved_goal.ndim == 1, "one goal at a time"
        return -(distance > self.radius).astype(np.float32)

    def _observe(self):
        achieved = self.state**2 if self.hidden_goal else self.state[::-1]
        vectors = {
            "observation": np.append(self.state, self.constants),
            "achieved_goal": achieved,
            "desired_goal": np.zeros(self.observation_space["desired_goal"].shape),
        }
        return {key: value.astype(np.float32) for key, value in vectors.items()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self._observe(), {}

    def step(self, action):
        self.state = self.state + 0.1 * np.asarray(action)
        seen = self._observe()
        reward = self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {})
        return seen, float(reward), False, False, {"is_success": reward == 0.0}


class Shows(Slide):
    """Observations of four entries, made of the place and the goal."""

    def __init__(self, form):
        super().__init__()
        four = spaces.Box(-10.0, 10.0, (4,))
        self.observation_space = spaces.Dict(self.observation_space.spaces | {"observation": four})
        self.form = form

    def look(self):
        return self.form(np.asarray(self.at), np.asarray(self.goal)), self.at, self.goal


gym.register("tests/Shows-v0", entry_point=Shows, max_episode_steps=STEPS)
gym.register("tests/Tiny-v0", entry_point=TinyGoalEnv, max_episode_steps=30)
gym.register("tests/TinyEndless-v0", entry_point=TinyGoalEnv)


class TestPhi:
    def test_is_found_by_comparing_observation_and_achieved_goal(self):
        task = inspect_task("tests/Tiny-v0", {}, None)
        assert (task.goal_indices, task.state_size) == ((1, 0), 2)

    @pytest.mark.parametrize(
        ("env", "indices"),
        [
            ("FetchReach-v4", (0, 1, 2)),
            ("FetchPush-v4", (3, 4, 5)),
            ("mher_pl/Reacher-v1", (8, 9)),
            ("mher_pl/Point2DLarge-v1", (0, 1)),
        ],
    )
    def test_of_the_tasks_is_the_one_that_the_paper_gives(self, env: str, indices: tuple[int, ...]):
        assert inspect_task(env, {}, None).goal_indices == indices

    def test_given_in_the_config_is_checked_and_used(self):
        assert inspect_task("tests/Tiny-v0", {}, [1, 0]).goal_indices == (1, 0)
        for wrong in ([0, 1], [1], [1, 2]):
            with pytest.raises(UserError, match=r"data.goal_indices is \[.*\]; allowed: 2 entries from 0 to 1"):
                inspect_task("tests/Tiny-v0", {}, wrong)

    def test_is_none_where_the_achieved_goal_is_no_part_of_the_observation(self):
        task = inspect_task("tests/Tiny-v0", {"hidden_goal": True}, None)
        assert (task.goal_indices, task.unclear_phi, task.state_size) == (None, "", 4)
        task.require_phi("anybody")

    def test_is_found_where_an_entry_of_the_goal_rests_at_first_and_moves_later(self):
        assert inspect_task("goal_tasks:Lift-v0", {"closes": 25}, None).goal_indices == (1, 2, 3)

    def test_is_not_guessed_where_several_entries_match(self):
        task = inspect_task("goal_tasks:Lift-v0", {"closes": 99}, None)
        assert task.goal_indices is None
        with pytest.raises(UserError, match=r"entries \[0, 3\] of the observation equalled entry 2 of the goal"):
            task.require_phi("anybody")
        assert inspect_task("goal_tasks:Lift-v0", {"closes": 99}, [1, 2, 3]).goal_indices == (1, 2, 3)

    @pytest.mark.filterwarnings(REUSES)
    def test_is_found_in_arrays_that_the_environment_uses_again(self):
        assert inspect_task("goal_tasks:Reuses-v0", {}, None).goal_indices == (0, 1)


class TestDesiredGoal:
    @pytest.mark.parametrize(
        ("env", "indices"), [("mher_pl/Reacher-v1", (4, 5)), ("FetchReach-v4", ()), ("mher_pl/Point2DLarge-v1", ())]
    )
    def test_in_the_observation_is_found(self, env: str, indices: tuple[int, ...]):
        assert inspect_task(env, {}, None).desired_goal_indices == indices

    def test_in_the_observation_can_be_given(self):
        assert inspect_task("mher_pl/Reacher-v1", {}, None, [4, 5]).desired_goal_indices == (4, 5)
        assert inspect_task("mher_pl/Reacher-v1", {}, None, []).desired_goal_indices == ()
        with pytest.raises(UserError, match=r"data.desired_goal_indices is \[8, 9\]; allowed: 2 entries from 0 to 10"):
            inspect_task("mher_pl/Reacher-v1", {}, None, [8, 9])

    def test_that_never_changes_is_not_looked_for(self):
        assert inspect_task("tests/Tiny-v0", {"constants": 2}, None).desired_goal_indices == ()

    @pytest.mark.parametrize(
        ("form", "entries"),
        [
            (lambda at, goal: [*at, *(goal - at)], [2, 3]),
            (lambda at, goal: [*at, at[0] - goal[0], 7.0], [2]),
            (lambda at, goal: [*at, goal[1] / 10.0 + 1.0, goal[0]], [2, 3]),
            (lambda at, goal: [*at, goal[0] - at[1], 7.0], [2]),
        ],
        ids=["the way to it", "one entry of the way back", "in another unit, and in part", "the way from elsewhere"],
    )
    def test_in_another_form_is_refused(self, form, entries):
        with pytest.raises(UserError) as refused:
            inspect_task("tests/Shows-v0", {"form": form}, None)
        assert f"whose observation entries {entries} follow the desired goal" in str(refused.value)
        assert inspect_task("tests/Shows-v0", {"form": form}, None, []).desired_goal_indices == ()

    def test_in_several_entries_must_be_given(self):
        twice = {"form": lambda at, goal: [*goal, *goal]}
        with pytest.raises(UserError, match=r"data.desired_goal_indices is null, and entries \[0, 2\].*empty list"):
            inspect_task("tests/Shows-v0", twice, None)
        assert inspect_task("tests/Shows-v0", twice, None, [2, 1]).desired_goal_indices == (2, 1)
        assert inspect_task("tests/Shows-v0", twice, None, []).desired_goal_indices == ()


class TestRewards:
    @pytest.mark.parametrize(
        ("env", "rewards"),
        [
            ("goal_tasks:Plain-v0", (-1.0, 0.0)),
            ("goal_tasks:OneZero-v0", (0.0, 1.0)),
            ("goal_tasks:Tenfold-v0", (-10.0, 0.0)),
            ("goal_tasks:PlusMinus-v0", (-1.0, 1.0)),
            ("PointMaze_UMaze-v3", (0.0, 1.0)),
            ("FetchReach-v4", (-1.0, 0.0)),
        ],
    )
    def test_away_from_the_goal_and_at_it_are_read_off(self, env: str, rewards: tuple[float, float]):
        assert inspect_task(env, {}, None).rewards == rewards

    def test_are_read_at_real_goals_where_zeros_are_none(self):
        assert inspect_task("goal_tasks:Heading-v0", {}, None).rewards == (-1.0, 0.0)

    def test_are_those_of_a_wrapper_around_the_environment(self):
        goals = np.zeros((1, 2), dtype=np.float32)
        for env, expected in (("Plain", 0.0), ("Stricter", -1.0)):
            task = inspect_task(f"goal_tasks:{env}-v0", {}, None)
            assert task.compute_reward(goals, goals + np.float32(0.1), {}) == expected

    @pytest.mark.parametrize("reward", ["dense", "three values"])
    def test_that_are_not_sparse_are_refused(self, reward):
        with pytest.raises(UserError, match=r"whose rewards are dense, \d+ values from -.* to -?0; allowed: sparse"):
            inspect_task("tests/Tiny-v0", {"reward": reward}, None)

    def test_that_step_gives_otherwise_are_refused(self):
        message = r"step gave the reward -1\.\d+ where its compute_reward gives -1 \(step 0 of its first random steps\)"
        with pytest.raises(UserError, match=message):
            inspect_task("goal_tasks:Costly-v0", {}, None)

    def test_of_a_task_that_is_at_its_goal_everywhere_are_refused(self):
        with pytest.raises(UserError, match=r"whose reward was 0 for all pairs of .* goals of \d+ random states"):
            inspect_task("tests/Tiny-v0", {"radius": 1e6}, None)

    def test_that_are_lower_at_the_goal_are_refused(self):
        with pytest.raises(
            UserError, match="whose reward at the goal, -1, is lower than the 0 elsewhere; allowed: one"
        ):
            inspect_task("tests/Tiny-v0", {"reward": "inverted"}, None)

    def test_that_are_no_numbers_are_refused(self):
        with pytest.raises(UserError, match="whose compute_reward gives NaN or infinity; allowed: finite numbers"):
            inspect_task("tests/Tiny-v0", {"reward": "nan"}, None)

    def test_that_float32_goals_would_change_are_refused(self):
        with pytest.raises(UserError, match=r"up to 5e\+06, differ by so little that float32.*goals near zero"):
            inspect_task("goal_tasks:Map-v0", {}, None)
        assert inspect_task("goal_tasks:Map-v0", {"origin": 50.0}, None).goal_indices == (0, 1)

    def test_keep_the_type_of_the_goals(self):
        assert inspect_task("goal_tasks:Bytes-v0", {}, None).goal_dtype == np.uint8
        assert inspect_task("goal_tasks:Map-v0", {"origin": 0.0}, None).goal_dtype == np.float64


class TestRequireSameRewards:
    """Goals on a line, reached at a distance of 0.3 or less."""

    def check(self, gaps: list[float], given: list[float], dtype: type = np.float32) -> None:
        desired = np.array(gaps, dtype=dtype)[:, None]
        require_same_rewards(
            "Line-v0",
            "episode 7",
            lambda achieved, desired, info: -(np.abs(achieved - desired)[:, 0] > 0.3).astype(float),
            np.zeros_like(desired),
            desired,
            np.array(given),
        )

    def test_accepts_what_compute_reward_gives(self):
        self.check([0.1, 0.5, 0.299, 0.301], [0.0, -1.0, 0.0, -1.0])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_names_the_first_step_that_differs(self, dtype):
        message = r"Line-v0', whose step gave the reward -1 where its compute_reward gives 0 \(step 2 of episode 7\)"
        with pytest.raises(UserError, match=message):
            self.check([0.1, 0.5, 0.29, 0.2], [0.0, -1.0, -1.0, -1.0], dtype)

    @pytest.mark.parametrize(("edge", "off", "given"), [(0.3 - 1e-8, 0.2999, -1.0), (0.3 + 5e-8, 0.3001, 0.0)])
    def test_leaves_room_for_rounding_at_the_edge_of_a_goal_and_no_more(self, edge, off, given):
        self.check([0.1, edge], [0.0, given])
        with pytest.raises(UserError, match=r"step 1 of episode 7"):
            self.check([0.1, off], [0.0, given])

    def test_whole_numbers_are_not_rounded(self):
        with pytest.raises(UserError, match=r"step 0 of episode 7"):
            self.check([1], [0.0], dtype=np.int64)


UNCHECKED = {"disable_env_checker": True}  # Gymnasium would warn of them


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("NoSuchEnv-v0", {}, "data.env is 'NoSuchEnv-v0'; allowed: the id of a Gymnasium goal environment"),
        ("no_such_module:Env-v0", {}, "data.env is 'no_such_module:Env-v0'; allowed: the id of a Gymnasium goal"),
        ("Pendulum-v1", {}, "data.env is 'Pendulum-v1'.*not a goal environment"),
        ("tests/Tiny-v0", {"size": 3}, "data.env_kwargs is .*'size': 3.*; allowed: arguments of tests/Tiny-v0"),
        ("tests/Tiny-v0", {"max_episode_steps": 0}, "max_episode_steps is 0; allowed: an integer of at least 1"),
        ("tests/Tiny-v0", {"render_mode": "human"}, "data.env_kwargs is .*; allowed: no render_mode"),
        ("tests/Tiny-v0", {"reward": "scalar"}, "compute_reward gives shape .*; allowed: a vectorised"),
        ("tests/Tiny-v0", {"reward": "single"}, "compute_reward fails on a batch of goals .*one goal at a time"),
        ("tests/TinyEndless-v0", {}, "no fixed length; allowed: max_episode_steps"),
        ("tests/Tiny-v0", {"goal_size": 3}, "achieved_goal has 2 entries and desired_goal 3; allowed: as many"),
        ("broken_module:Env-v0", {}, "data.env is 'broken_module:Env-v0'; allowed: the id of .*SyntaxError: '"),
        ("goal_tasks:Unbounded-v0", {}, "actions without bounds.*; allowed: a wrapper that gives them bounds"),
        ("goal_tasks:HalfBounded-v0", {}, "actions without bounds.*; allowed: a wrapper that gives them bounds"),
        (
            "faulty_tasks:Breaks-v0",
            {"episode": 0, "step": 0},
            r"steps .RuntimeError: the simulator .*faulty_tasks.py:\d",
        ),
        (
            "faulty_tasks:Breaks-v0",
            {"episode": 8, "step": 2},
            r"steps .RuntimeError: the simulator .*faulty_tasks.py:\d",
        ),
        ("faulty_tasks:Blind-v0", UNCHECKED, r"observation has NaN, infinity or .* in its entries \[0\]; allowed"),
        ("goal_tasks:Map-v0", UNCHECKED | {"origin": 1e30}, r"numbers above 1e\+18 in its entries \[0, 1\]"),
        ("faulty_tasks:Frees-v0", {}, r"fails once it is closed .AttributeError: .*goal_tasks.py:\d+"),
    ],
)
def test_what_is_no_usable_goal_environment_is_refused_in_one_line(
    tmp_path, monkeypatch, env: str, kwargs: dict, message: str
):
    (tmp_path / "broken_module.py").write_text("class Env(\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        inspect_task(env, kwargs, None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_reward_of_one_goal_alone_is_refused_whatever_the_size_of_goals(size: int):
    def entry_by_entry(achieved, desired, info):
        return np.array([abs(achieved[i] - desired[i]) for i in range(size)]).max(axis=0) - 1.0

    with pytest.raises(UserError, match=r"allowed: .*compute_reward.achieved .B, goal., desired .B, goal."):
        require_vectorised("Task-v0", entry_by_entry, np.zeros(size))


def test_whole_goals_leave_what_is_achieved_as_it_is():
    task = inspect_task("goal_tasks:Cells-v0", {}, None)
    assert task.raw_reward(np.array([[0.4, 0.0], [0.2, 0.0]]), np.zeros((2, 2))).tolist() == [-1.0, 0.0]


def test_the_environment_is_closed_whatever_comes_of_it(tmp_path: Path):
    class Closing(Slide):
        def close(self):
            (tmp_path / f"closed {self.effort}").touch()

    gym.register("tests/Closing-v0", entry_point=Closing, max_episode_steps=STEPS)
    inspect_task("tests/Closing-v0", {}, None)
    with pytest.raises(UserError):
        inspect_task("tests/Closing-v0", {"effort": 1.0}, None)
    assert {path.name for path in tmp_path.iterdir()} == {"closed 0.0", "closed 1.0"}
