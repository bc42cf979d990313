import pytest
import torch
from toy import generator, make_task

from mher_pl.errors import UserError
from mher_pl.practice import GivenGoals, NextGoals

TASK = make_task()  # a goal is reached where it is achieved to within a distance
FIRST, SECOND = torch.tensor([[0.0, 0.0], [9.0, 9.0]]), torch.tensor([[5.0, 5.0], [7.0, 7.0]])
AWAY = torch.full((2, 2), 100.0)


def test_given_goals_are_the_environments_own():
    assert GivenGoals()(TASK, FIRST, SECOND, True, generator()) is SECOND


class TestNextGoals:
    def begin(self, chance: float = 1.0) -> NextGoals:
        """The second episodes of two environments, none at its goal."""
        practice = NextGoals(chance)
        practice(TASK, AWAY, FIRST, True, generator())
        assert torch.equal(practice(TASK, AWAY, SECOND, True, generator()), SECOND)
        return practice

    def test_stay_until_they_are_reached(self):
        practice = self.begin()
        for _ in range(5):
            assert torch.equal(practice(TASK, AWAY, SECOND, False, generator()), SECOND)

    def test_go_on_where_one_is_reached_to_what_some_episode_was_given(self):
        practice, rng, seen = self.begin(), generator(), set()
        for _ in range(200):
            at_first_ones = practice.pursued.clone()
            at_first_ones[1] = AWAY[1]
            goals = practice(TASK, at_first_ones, SECOND, False, rng)
            assert torch.equal(goals[1], SECOND[1])
            seen.add(tuple(goals[0].tolist()))
        assert seen == {tuple(goal.tolist()) for goal in (*FIRST, *SECOND)}

    def test_go_on_with_the_chance_that_was_asked_for(self):
        rng, on = generator(), 0
        for _ in range(1000):
            practice = self.begin(chance=0.3)
            practice(TASK, SECOND, SECOND, False, rng)
            on += (~practice.own).sum().item()
        assert on / 2000 == pytest.approx(0.3, abs=0.04)

    def test_follow_the_environments_own_goal_where_that_moves_but_not_once_it_is_left(self):
        practice = self.begin()
        assert torch.equal(practice(TASK, AWAY, SECOND + 1.0, False, generator()), SECOND + 1.0)
        at_own = torch.stack([SECOND[0] + 1.0, AWAY[1]])
        left = practice(TASK, at_own, SECOND + 1.0, False, generator())[0]
        moved = practice(TASK, AWAY, SECOND + 2.0, False, generator())
        assert torch.equal(moved[0], left)
        assert torch.equal(moved[1], SECOND[1] + 2.0)

    def test_begin_each_episode_with_its_own(self):
        practice = self.begin()
        practice(TASK, SECOND, SECOND, False, generator())
        assert torch.equal(practice(TASK, AWAY, FIRST, True, generator()), FIRST)

    def test_go_on_from_what_was_saved(self):
        practice, resumed = self.begin(), NextGoals(1.0)
        resumed.load_worker_state(practice.worker_state())
        goals = [p(TASK, FIRST, FIRST, True, generator(4)) for p in (practice, resumed)]
        assert torch.equal(*goals)
        assert not torch.equal(goals[0], FIRST)

    def test_a_chance_out_of_bounds_is_named(self):
        with pytest.raises(UserError, match=r"data.practice.chance is 1.5"):
            NextGoals(1.5)
