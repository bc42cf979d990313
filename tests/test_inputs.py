import pytest
import torch
from tensordict import TensorDict

from mher_pl.errors import UserError
from mher_pl.inputs import Inputs, RelativeGoals, RelativeOnly
from mher_pl.normalizer import Normalizer
from mher_pl.task import Shape, Task

STATE, GOAL = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[8.0, 9.0]])


def make_inputs(desired_goal_indices: tuple[int, ...]) -> Inputs:
    inputs = Inputs(min_std=1e-4, clip=5.0)
    inputs.build(Shape("none", 3, 2, 2, None, desired_goal_indices))
    return inputs


def test_observation_and_goal_stand_side_by_side():
    assert make_inputs(()).join(STATE, GOAL).tolist() == [[1.0, 2.0, 3.0, 8.0, 9.0]]


def test_the_goal_stands_where_the_observation_shows_one():
    assert make_inputs((2, 0)).join(STATE, GOAL).tolist() == [[9.0, 2.0, 8.0, 8.0, 9.0]]


def test_joined_vectors_are_normalised():
    inputs = make_inputs((2, 0))
    rows = torch.arange(20.0).view(4, 5)
    inputs.normalizer.update(Normalizer.sums_of(rows))
    assert torch.equal(inputs(STATE, GOAL), inputs.normalizer(torch.tensor([[9.0, 2.0, 8.0, 8.0, 9.0]])))


def test_what_the_task_decides_is_no_weight():
    assert make_inputs((2, 0)).state_dict().keys() == make_inputs(()).state_dict().keys()


def test_statistics_are_of_every_state_under_the_goal_achieved_next_and_under_the_desired_one():
    inputs = make_inputs(())
    episode = {"observation": torch.arange(9.0).view(3, 3), "achieved_goal": torch.arange(6.0).view(3, 2) + 20.0}
    goals = torch.tensor([[50.0, 60.0], [70.0, 80.0]])  # the second is another, as in tasks that move their goals
    inputs.observe(TensorDict(episode | {"desired_goal": goals}), lambda sums: sums)
    rows = torch.tensor([[0, 1, 2, 22, 23], [3, 4, 5, 24, 25], [0, 1, 2, 50, 60], [3, 4, 5, 70, 80.0]])
    assert torch.allclose(inputs.normalizer.mean, rows.mean(dim=0))
    assert torch.allclose(inputs.normalizer.std, rows.std(dim=0, correction=0))


class TestRelativeGoals:
    def make(self) -> RelativeGoals:
        inputs = RelativeGoals(min_std=1e-4, clip=5.0)
        inputs.build(Shape("none", 3, 2, 2, goal_indices=(2, 0)))
        return inputs

    def test_show_the_way_from_the_achieved_goal(self):
        inputs = self.make()
        assert inputs.join(STATE, GOAL).tolist() == [[1.0, 2.0, 3.0, 8.0, 9.0, 5.0, 8.0]]
        assert inputs.size == 7

    def test_are_refused_where_observations_do_not_show_the_achieved_goal(self):
        task = Task("none", 10, 3, 2, 2, None, lambda achieved, desired, info: achieved[:, 0])
        with pytest.raises(UserError, match=r"model\.inputs is RelativeGoals, but the achieved goal of none was no"):
            RelativeGoals(1e-4, 5.0).check(task)


class TestRelativeOnly:
    def task(self) -> Task:
        return Task("none", 10, 3, 2, 2, (2, 0), lambda achieved, desired, info: achieved[:, 0])

    def test_leave_out_where_things_are(self):
        inputs = RelativeOnly(min_std=1e-4, clip=5.0, places=[0, 3], ways=[])
        inputs.check(self.task())
        inputs.build(self.task())
        assert inputs.join(STATE, GOAL).tolist() == [[2.0, 3.0, 9.0, 5.0, 8.0]]
        assert inputs.size == 5
        assert inputs(STATE, GOAL).shape == (1, 5)

    @pytest.mark.parametrize("places", [[5], [-1], [1, 1]])
    def test_are_refused_with_entries_that_there_are_not(self, places):
        allowed = "allowed: different entries from 0 to 4, of the observation and then of the goal"
        with pytest.raises(UserError) as refused:
            RelativeOnly(min_std=1e-4, clip=5.0, places=places, ways=[]).check(self.task())
        assert str(refused.value) == f"model.inputs.places is {places}; {allowed}"

    def test_show_ways_between_entries(self):
        inputs = RelativeOnly(min_std=1e-4, clip=5.0, places=[0, 3], ways=[[0, 2], [2, 1]])
        inputs.check(self.task())
        inputs.build(self.task())
        assert inputs.join(STATE, GOAL).tolist() == [[2.0, 3.0, 9.0, 5.0, 8.0, 2.0, -1.0]]
        assert inputs(STATE, GOAL).shape == (1, inputs.size)

    def test_show_ways_to_the_goal_that_is_asked_for(self):
        inputs = RelativeOnly(min_std=1e-4, clip=5.0, places=[0, 3], ways=[[2, 1], [2, 0]])
        inputs.build(Shape("none", 3, 2, 2, goal_indices=(2, 0), desired_goal_indices=(1, 0)))
        assert inputs.join(STATE, GOAL).tolist()[0][-2:] == [8.0 - 3.0, 9.0 - 3.0]

    @pytest.mark.parametrize("ways", [[[0, 3]], [[-1, 0]], [[0, 1, 2]]])
    def test_are_refused_with_ways_that_there_are_not(self, ways):
        with pytest.raises(UserError) as refused:
            RelativeOnly(min_std=1e-4, clip=5.0, places=[], ways=ways).check(self.task())
        assert (
            str(refused.value)
            == f"model.inputs.ways is {ways}; allowed: pairs of entries of the observation, from 0 to 2"
        )
