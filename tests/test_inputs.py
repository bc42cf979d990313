import torch

from mher_pl.inputs import Inputs
from mher_pl.normalizer import Normalizer

STATE, GOAL = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[8.0, 9.0]])


def make_inputs(desired_goal_indices: tuple[int, ...]) -> Inputs:
    return Inputs(3, 2, desired_goal_indices, min_std=1e-4, clip=5.0)


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
