import pytest
import torch
from toy import Shift, generator, make_agent, make_batch, make_task, make_task_of_unclear_goals

from mher_pl.errors import UserError
from mher_pl.relabel import Foresight

MANY = 4000  # rows


def foresight(ratio=1.0, steps=5, noise=0.2, random_action_probability=0.3) -> Foresight:
    return Foresight(ratio, steps, noise, random_action_probability)


def steps_walked(batch, relabelled) -> torch.Tensor:
    """Steps of the toy model, each adding 1, from the next state to the goal; 100 where it is the hindsight goal."""
    return (relabelled["desired_goal"] - batch["next", "achieved_goal"])[:, 0].round().long()


def test_a_goal_is_as_many_virtual_steps_away_as_hers_would_be_or_beyond_the_foresight_hers():
    batch = make_batch(MANY)
    walked = steps_walked(batch, foresight(steps=5)(batch, make_agent(), generator()))
    shares = torch.bincount(walked, minlength=101) / MANY
    assert torch.allclose(shares[1:6], torch.full((5,), 0.1), atol=0.02)  # of 10 steps that are left
    assert shares[100] == pytest.approx(0.5, abs=0.03)
    assert shares[[1, 2, 3, 4, 5, 100]].sum() == pytest.approx(1.0)


def test_near_the_end_of_an_episode_all_goals_are_within_the_foresight():
    batch = make_batch(MANY)
    batch["steps_left"] = torch.full((MANY,), 2)
    walked = steps_walked(batch, foresight(steps=5)(batch, make_agent(), generator()))
    assert set(walked.tolist()) == {1, 2}


def test_without_foresight_the_goals_are_hers():
    batch, agent = make_batch(50), make_agent()
    relabelled = foresight(steps=0)(batch, agent, generator())
    assert torch.equal(relabelled["desired_goal"], batch["hindsight_goal"])
    assert agent.dynamics.calls == []


def test_the_path_goes_towards_the_hindsight_goal_from_the_next_state_with_the_actor_itself():
    agent, batch = make_agent(), make_batch(20)
    for parameter in agent.actor_target.parameters():
        parameter.fill_(torch.nan)
    batch["steps_left"] = torch.ones(20, dtype=torch.long)
    foresight(noise=0.0, random_action_probability=0.0)(batch, agent, generator())
    ((state, action),) = agent.dynamics.calls
    assert torch.equal(state.sort(dim=0).values, batch["next", "observation"])
    goal = batch["hindsight_goal"][(state[:, 0] // 1000).long()]
    assert torch.allclose(action, agent.act(state, goal), atol=1e-6)


def test_some_virtual_actions_are_uniform():
    def actions(probability: float) -> torch.Tensor:
        agent, batch = make_agent(), make_batch(MANY)
        batch["steps_left"] = torch.ones(MANY, dtype=torch.long)
        foresight(noise=0.0, random_action_probability=probability)(batch, agent, generator())
        return agent.dynamics.calls[0][1]

    other = (actions(0.3) != actions(0.0)).all(dim=1)
    assert other.float().mean() == pytest.approx(0.3, abs=0.03)
    uniform = actions(1.0)
    assert uniform.abs().max() <= 1.0
    assert uniform.std() == pytest.approx(3**-0.5, abs=0.02)


def test_the_model_draws_its_states_with_the_generator():
    class Drawn(Shift):
        def draw(self, state, action, generator):
            return state + torch.rand(len(state), 1, generator=generator)

    batch, agent = make_batch(20, scale=1e-3), make_agent(dynamics=Drawn())
    batch["steps_left"] = torch.ones(20, dtype=torch.long)
    one, same, other = (foresight()(batch, agent, generator(seed))["desired_goal"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_it_needs_a_model_and_must_know_which_goals_states_achieve():
    with pytest.raises(UserError, match=r"model\.dynamics is null.*Foresight"):
        make_agent(relabel=foresight(), dynamics=None)
    with pytest.raises(UserError, match=r"data\.goal_indices is null, but model's Foresight must know"):
        make_agent(make_task_of_unclear_goals(), relabel=foresight())


def test_a_state_with_an_achieved_goal_of_its_own_gives_the_goal():
    agent, batch = make_agent(make_task(goal_indices=None)), make_batch(50)
    batch["next", "achieved_goal"] = batch["next", "achieved_goal"] + 7.0  # no part of the observation
    batch["steps_left"] = torch.full((50,), 2)
    relabelled = foresight()(batch, agent, generator())
    assert set(steps_walked(batch, relabelled).tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": -1}, "model.relabel.steps is -1; allowed: an integer of at least 0"),
        ({"noise": -1.0}, "model.relabel.noise is -1.0; allowed: a number of at least 0"),
        (
            {"random_action_probability": 2.0},
            "model.relabel.random_action_probability is 2.0; allowed: a probability from 0 to 1",
        ),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        foresight(**arguments)
