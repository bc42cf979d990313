import numpy as np
import pytest
import torch
from tensordict import TensorDict
from toy import make_task, make_task_of_unclear_goals, reached

from mher_pl.errors import UserError
from mher_pl.inspection import inspect_task


class TestModelState:
    OBSERVATION, ACHIEVED = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[8.0, 9.0]])

    def test_is_the_observation_where_that_shows_the_achieved_goal(self):
        task = make_task()
        state = task.state(self.OBSERVATION, self.ACHIEVED)
        assert state is self.OBSERVATION
        assert task.observation(state) is self.OBSERVATION
        assert task.phi(state).tolist() == [[3.0, 1.0]]
        assert task.state_size == 3

    def test_is_joined_with_the_achieved_goal_where_the_observation_does_not_show_it(self):
        task = make_task(goal_indices=None)
        state = task.state(self.OBSERVATION, self.ACHIEVED)
        assert state.tolist() == [[1.0, 2.0, 3.0, 8.0, 9.0]]
        assert torch.equal(task.observation(state), self.OBSERVATION)
        assert torch.equal(task.phi(state), self.ACHIEVED)
        assert task.state_size == 5


class TestReward:
    def test_is_the_environments_own(self):
        task = inspect_task("FetchReach-v4", {}, None)
        achieved = torch.tensor([[0.049, 0.0, 0.0], [0.051, 0.0, 0.0]])
        assert task.reward(achieved, torch.zeros(2, 3)).tolist() == [0.0, -1.0]

    @pytest.mark.parametrize(
        "rewards", [(-1.0, 0.0), (0.0, 1.0), (-10.0, 0.0), (-1.0, 1.0), (-0.3, 0.1)], ids=lambda pair: f"{pair}"
    )
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_is_exactly_0_at_the_goal_and_minus_1_elsewhere_whatever_the_task_gives(self, rewards, dtype):
        away, at_goal = np.array(rewards, dtype=dtype)
        task = make_task(
            rewards=(float(away), float(at_goal)),
            compute_reward=lambda *goals: np.where(reached(*goals) == 0.0, at_goal, away),
        )
        achieved = torch.tensor([[0.1, 0.0], [3.0, 0.0]])
        reward = task.reward(achieved, torch.zeros(2, 2))
        assert reward.dtype == torch.float32
        assert reward.tolist() == [0.0, pytest.approx(-1.0)]
        assert task.ends(reward).tolist() == [False, False]
        task.ended_at_goal = True
        assert task.ends(reward).tolist() == [True, False]

    @pytest.mark.parametrize(
        ("rewards", "expected"), [((-1.0, 0.0), 0.0), ((-10.0, 0.0), 0.0), ((0.0, 1.0), -1.0), ((-1.0, 1.0), -0.5)]
    )
    def test_after_the_end_is_the_tasks_own_0_on_the_same_scale(self, rewards, expected):
        assert make_task(rewards=rewards).reward_after_end == expected

    def test_after_the_end_is_no_better_than_the_goal(self):
        assert make_task(rewards=(-3.0, -2.0)).reward_after_end == 0.0

    def test_may_be_a_list(self):
        near = make_task(
            compute_reward=lambda achieved, desired, info: [
                -float((a != d).any()) for a, d in zip(achieved, desired, strict=True)
            ]
        )
        assert near.reward(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2)).tolist() == [0.0, -1.0]

    def test_is_of_goals_in_the_environments_own_type(self):
        def compute_reward(achieved, desired, info):
            assert achieved.dtype == desired.dtype == np.uint8
            return -(np.abs(achieved.astype(int) - desired).max(axis=-1) > 2).astype(float)

        task = make_task(compute_reward=compute_reward, goal_dtype=np.uint8)
        achieved, desired = torch.tensor([[3.4, 0.0], [3.6, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
        assert task.reward(achieved, desired).tolist() == [0.0, -1.0], "rounded: 3 is near enough and 4 is not"


class TestCheckEpisode:
    def episode(self) -> TensorDict:
        """Five steps of a toy whose observation holds the goals, the achieved one in entries 2 and 0."""
        observation = torch.arange(18.0).view(6, 3)
        return TensorDict(
            {
                "observation": observation,
                "achieved_goal": observation[:, [2, 0]],
                "desired_goal": observation[:-1, [1, 1]],
                "action": torch.zeros(5, 2),
            }
        )

    def test_accepts_goals_where_they_were_found(self):
        episode, task = self.episode(), make_task(desired_goal_indices=(1, 1))
        task.check_achieved_goals(episode["observation"], episode["achieved_goal"], 3)
        task.check_desired_goals(episode["observation"][:-1], episode["desired_goal"], 3)

    def test_names_step_and_episode_where_the_achieved_goal_is_elsewhere(self):
        episode = self.episode()
        episode["achieved_goal"][5, 1] += 1.0  # also in the last state
        message = r"data.goal_indices is \[2, 0\], but at step 5 of training episode 3 .* not the achieved goal"
        with pytest.raises(UserError, match=message):
            make_task().check_achieved_goals(episode["observation"], episode["achieved_goal"], 3)
        # nothing was found
        make_task(goal_indices=None).check_achieved_goals(episode["observation"], episode["achieved_goal"], 3)

    def test_names_step_and_episode_where_the_desired_goal_is_elsewhere(self):
        episode = self.episode()
        episode["desired_goal"][2] += 1.0
        message = r"data.desired_goal_indices is \[1, 1\], but at step 2 of training episode 3 .* the desired goal"
        with pytest.raises(UserError, match=message):
            make_task(desired_goal_indices=(1, 1)).check_desired_goals(
                episode["observation"][:-1], episode["desired_goal"], 3
            )
        make_task().check_desired_goals(episode["observation"][:-1], episode["desired_goal"], 3)


def test_who_needs_phi_is_told_where_it_is_unclear_and_nowhere_else():
    with pytest.raises(UserError, match=r"data.goal_indices is null, but the tester must know.*entries \[1, 2\]"):
        make_task_of_unclear_goals().require_phi("the tester")
    make_task().require_phi("the tester")
    make_task(goal_indices=None).require_phi("the tester")
