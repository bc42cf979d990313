"""The planner in a made-up world: states stay where they are but for an action, which the models add to them."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from toy import generator, make_task, make_task_of_unclear_goals

from mher_pl.errors import UserError
from mher_pl.planner import Planner, by_random_members

SETTINGS = {
    "initial_actions": 64,
    "copies": 6,
    "steps": 4,
    "model_share": 0.0,
    "choose": "best",
    "sharpness": 5.0,
}


class World:
    """An action moves the goal's entries 2 and 0 of the observation by its own two. Counts the rows of each call."""

    def __init__(self, stay: bool = True) -> None:
        self.task, self.seed, self.stay = make_task(), 0, stay
        self.inputs = lambda state, goal: torch.cat([state, goal], dim=-1)
        self.actor = self
        self.members = 3
        self.dynamics = SimpleNamespace(
            members=2, predict_each=self.predict_each, state_normalizer=SimpleNamespace(inverse=lambda state: state)
        )
        self.generated, self.predicted = [], []

    def __call__(self, inputs: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        self.generated.append(inputs.shape[:2].numel())
        action = 2.0 * torch.rand(*inputs.shape[:2], 2, generator=draws) - 1.0
        state = inputs[..., :3]
        return action, state if self.stay else state + 100.0

    def predict_each(self, state: Tensor, action: Tensor) -> Tensor:
        self.predicted.append(state.shape[:2].numel())
        return state + torch.stack([action[..., 1], torch.zeros_like(action[..., 0]), action[..., 0]], dim=-1)


def plan(world: World, goals: list[list[float]], **settings) -> Tensor:
    goal = torch.tensor(goals)
    return Planner(**SETTINGS | settings)(world, torch.zeros(len(goal), 3), goal)


GOALS = [[0.7, 0.7], [-0.7, 0.7], [0.0, -0.9]]


def test_the_best_of_the_initial_actions_is_one_that_leads_to_the_goal():
    actions = plan(World(), GOALS)
    assert ((actions - torch.tensor(GOALS)).norm(dim=1) < 0.5).all()


def test_the_weighted_mean_leads_there_too_and_lies_between_the_good_ones():
    actions = plan(World(), GOALS, choose="mean", initial_actions=500)
    assert ((actions - torch.tensor(GOALS)).norm(dim=1) < 0.25).all()


def test_where_no_path_reaches_the_goal_all_initial_actions_count_alike():
    mean = plan(World(), [[50.0, 50.0]], choose="mean", initial_actions=2000)
    assert mean.abs().max() < 0.1
    planner, equals = Planner(**SETTINGS), torch.zeros(1, 64)
    assert torch.equal(planner.choice(torch.arange(64.0).view(1, 64, 1), equals), torch.zeros(1, 1)), "the first"


def test_an_action_is_worth_the_share_of_states_at_the_goal():
    planner, draws = Planner(**SETTINGS), generator()
    state, goal = torch.zeros(2, 3), torch.tensor([[0.7, 0.7], [0.7, 0.7]])
    action = torch.tensor([[0.7, 0.7], [-0.7, 0.7]])
    worth = planner.worth(World(), state, action, goal, draws).view(2, -1)
    assert worth.tolist() == [[1.0] * 6, [0.0] * 6]
    worth = planner.worth(World(stay=False), state, action, goal, draws).view(2, -1)
    assert worth.tolist() == [[0.25] * 6, [0.0] * 6], "only the models' step is there; the generators' lead away"


def test_one_call_serves_all_observations():
    one, many = World(), World()
    plan(one, GOALS[:1])
    plan(many, GOALS)
    assert len(many.generated) == len(one.generated) == 1 + 3, "initial actions, and the steps after the first"
    assert len(many.predicted) == len(one.predicted) == 1
    assert sum(many.generated) >= 3 * (64 + 3 * 64 * 6)


def test_the_models_replace_their_share_of_imagined_states():
    world = World()
    plan(world, GOALS, model_share=0.25)
    assert world.predicted == [3 * 64 * 6] + 3 * [3 * 64 * 6 // 4]
    states = torch.zeros(1000, 3)
    reached = Planner(**SETTINGS | {"model_share": 0.25}).step(
        World(stay=False), states, torch.zeros(1000, 2), generator()
    )
    assert (reached[:, 1] == 0.0).sum() == 250


def test_a_plan_is_a_function_of_what_it_sees_and_of_the_seed():
    first, other = World(), World()
    other.seed = 1
    assert torch.equal(plan(first, GOALS), plan(first, GOALS))
    assert not torch.equal(plan(first, GOALS), plan(other, GOALS))
    close = Planner(**SETTINGS)(first, torch.full((3, 3), 1e-6), torch.tensor(GOALS))
    assert not torch.equal(plan(first, GOALS), close), "fresh draws in every other state"
    state = torch.random.get_rng_state()
    plan(first, GOALS)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_paths_that_memory_does_not_hold_are_refused():
    with pytest.raises(UserError, match=r"model\.planner\.copies is 1000000000, which takes .* GB of memory"):
        Planner(**SETTINGS | {"copies": 10**9}).check(make_task(), object())


def test_leading_dimensions_stay():
    planner, world = Planner(**SETTINGS), World()
    assert planner(world, torch.zeros(3), torch.zeros(2)).shape == (2,)
    assert planner(world, torch.zeros(2, 4, 3), torch.zeros(2, 4, 2)).shape == (2, 4, 2)


@pytest.mark.parametrize("rows", [1, 2, 30, 31, 32])
def test_members_share_the_rows_out_and_answers_keep_their_places(rows):
    values = torch.arange(1.0, rows + 1).unsqueeze(1)
    members = torch.arange(3.0).view(3, 1, 1)
    answers = by_random_members(
        3, lambda shares: torch.cat([shares, members.expand_as(shares)], -1), values, generator()
    )
    assert torch.equal(answers[:, :1], values)
    counts = torch.bincount(answers[:, 1].long(), minlength=3)
    assert counts.max() <= -(-rows // 3)


def test_members_are_drawn_anew_each_time():
    members, draws = torch.arange(3.0).view(3, 1, 1), generator()
    drawn = [by_random_members(3, lambda rows: members.expand_as(rows), torch.zeros(9, 1), draws) for _ in range(2)]
    assert not torch.equal(*drawn)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_actions", 0),
        ("copies", 0),
        ("steps", 0),
        ("model_share", 1.5),
        ("choose", "worst"),
        ("sharpness", 0.0),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(UserError, match=rf"model\.planner\.{name} is "):
        Planner(**SETTINGS | {name: value})


def test_a_task_whose_observations_do_not_show_the_achieved_goal_is_refused():
    planner = Planner(**SETTINGS)
    with pytest.raises(UserError, match=r"model\.dynamics is null.*Planner"):
        planner.check(make_task(), None)
    with pytest.raises(UserError, match=r"data\.goal_indices is null.*Planner"):
        planner.check(make_task_of_unclear_goals(), object())
    with pytest.raises(UserError, match="the achieved goal of tests/Toy-v0 is no part of its observation"):
        planner.check(make_task(goal_indices=None), object())
