import pytest
import torch
from toy import generator

from mher_pl.errors import UserError
from mher_pl.exploration import NoisyActor

ROWS, SIZE = 4000, 2
OBSERVATION, GOAL = torch.arange(3.0 * ROWS).view(ROWS, 3), torch.arange(2.0 * ROWS).view(ROWS, 2)


def act(observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    return torch.full((len(observation), SIZE), 0.25)


def explore(
    noise: float = 0.2, random_action_probability: float = 0.3, random: bool = False, policy=act, seed: int = 0
):
    exploration = NoisyActor(noise, random_action_probability)
    return exploration(policy, OBSERVATION, GOAL, SIZE, generator(seed), random)


def test_rows_are_the_actors_with_noise_or_now_and_then_uniform_each_by_its_own_draw():
    actions = explore(noise=0.01, random_action_probability=0.3)
    near = ((actions - 0.25).abs() < 0.05).all(dim=1)
    assert near.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert (actions[near] - 0.25).std().item() == pytest.approx(0.01, rel=0.05)
    assert actions[~near].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)
    assert actions[~near].mean().item() == pytest.approx(0.0, abs=0.03)
    assert len(actions.unique(dim=0)) == ROWS


def test_the_actor_sees_every_row():
    seen = []
    actions = explore(0.0, 0.0, policy=lambda *inputs: seen.append(inputs) or OBSERVATION[:, :SIZE] / 1e5)
    assert torch.equal(actions, OBSERVATION[:, :SIZE] / 1e5)
    ((observation, goal),) = seen
    assert torch.equal(observation, OBSERVATION)
    assert torch.equal(goal, GOAL)


def test_actions_stay_in_their_bounds():
    assert explore(noise=5.0, random_action_probability=0.0).abs().max() == 1.0


@pytest.mark.parametrize("how", [{"random": True}, {"random_action_probability": 1.0}])
def test_where_no_row_needs_the_actor_it_is_not_asked(how):
    actions = explore(**how, policy=lambda *inputs: pytest.fail("the actor was asked"))
    assert actions.shape == (ROWS, SIZE)
    assert actions.std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)


def test_all_randomness_is_the_generators():
    assert torch.equal(explore(seed=1), explore(seed=1))
    assert not torch.equal(explore(seed=1), explore(seed=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.3), "data.exploration.noise is -0.1; allowed: a number of at least 0"),
        ((0.2, 1.3), "data.exploration.random_action_probability is 1.3; allowed: a probability from 0 to 1"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        NoisyActor(*arguments)
