import pytest
import torch
from toy import DISCOUNT, Shift, generator, make_agent, make_batch, make_task

from mher_pl.errors import UserError
from mher_pl.relabel import Future, Keep
from mher_pl.td_target import OneStep, ValueExpansion


class Walk(Shift):
    """A model that moves every entry of the state by the first entry of the action."""

    def predict(self, state, action):
        super().predict(state, action)
        return state + action[:, :1]


def with_value(agent, value):
    """Let the target networks act and value states by hand: one unit ahead, and `value` of the state's sum."""
    agent.target_act = lambda state, goal: torch.ones(len(state), 2)
    agent.target_value = lambda state, goal: value * state.sum(dim=1)
    return agent


def test_one_step_is_reward_plus_discounted_target_value():
    agent = make_agent()
    batch = Keep()(make_batch(6), agent, generator())
    value = agent.target_value(batch["next", "observation"], batch["desired_goal"])
    assert torch.allclose(OneStep()(batch, agent), -1.0 + DISCOUNT * value)


def test_one_step_uses_the_target_networks_under_the_batchs_goal():
    agent = make_agent()
    batch = Future(1.0)(make_batch(6), agent, generator())
    with torch.no_grad():
        expected = batch["reward"] + DISCOUNT * agent.target_value(
            batch["next", "observation"], batch["hindsight_goal"]
        )
        for parameter in [*agent.actor.parameters(), *agent.critic.parameters()]:
            parameter.fill_(torch.nan)
    assert torch.equal(OneStep()(batch, agent), expected)


def test_value_expansion_of_horizon_1_is_one_step_exactly():
    agent = make_agent()
    batch = Future(0.5)(make_batch(50), agent, generator())
    assert torch.equal(ValueExpansion(1)(batch, agent), OneStep()(batch, agent))
    assert agent.dynamics.calls == []


def test_value_expansion_equals_equation_9_worked_out_by_hand():
    # From s_{t+1} = (0, 0, 0) the path goes 1, 2, 3 in every entry; the goal (2, 2) is reached within 0.5 at 2 alone.
    agent = with_value(make_agent(dynamics=Walk()), value=10.0)
    batch = make_batch(1)
    batch["next", "observation"] = torch.zeros(1, 3)
    batch["desired_goal"] = torch.full((1, 2), 2.0)
    batch["reward"] = torch.tensor([-7.0])  # the real reward, which no model may replace
    g = DISCOUNT
    by_hand = {
        1: -7.0 + g * 10.0 * 0.0,
        2: -7.0 + g * -1.0 + g**2 * 10.0 * 3.0,
        3: -7.0 + g * -1.0 + g**2 * 0.0 + g**3 * 10.0 * 6.0,
        4: -7.0 + g * -1.0 + g**2 * 0.0 + g**3 * -1.0 + g**4 * 10.0 * 9.0,
    }
    for horizon, expected in by_hand.items():
        assert ValueExpansion(horizon)(batch, agent).item() == pytest.approx(expected, rel=1e-6)


def test_value_expansion_takes_h_minus_1_steps_of_the_model_from_the_next_state():
    agent = make_agent()
    batch = Keep()(make_batch(6), agent, generator())
    ValueExpansion(4)(batch, agent)
    states = [state for state, _ in agent.dynamics.calls]
    assert len(states) == 3
    for k, state in enumerate(states):
        assert torch.equal(state, batch["next", "observation"] + k)


def test_value_expansion_follows_the_target_actor_under_the_batchs_goal():
    agent = make_agent()
    batch = Future(1.0)(make_batch(6), agent, generator())
    ValueExpansion(3)(batch, agent)
    for state, action in agent.dynamics.calls:
        assert torch.equal(action, agent.target_act(state, batch["hindsight_goal"]))


def test_the_critic_learns_towards_the_value_expansion():
    agent = with_value(make_agent(td_target=ValueExpansion(2), dynamics=Walk(), discount=0.99), value=-0.01)
    batch = Keep()(make_batch(3) / 100.0, agent, generator())
    target = ValueExpansion(2)(batch, agent)
    assert ((target < 0) & (target > -100)).all(), "not clipped, so that the loss can be worked out"
    value = agent.critic(agent.inputs(batch["observation"], batch["desired_goal"]), batch["action"])
    assert agent.critic_loss(batch).item() == pytest.approx((target - value).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("td_target", [OneStep(), ValueExpansion(3)], ids=["one step", "value expansion"])
def test_targets_carry_no_gradient(td_target):
    agent = make_agent()
    target = td_target(Keep()(make_batch(6), agent, generator()), agent)
    assert target.shape == (6,)
    assert not target.requires_grad


def test_value_expansion_needs_a_model_and_a_state_to_goal_map():
    with pytest.raises(UserError, match=r"model\.dynamics is null.*ValueExpansion"):
        make_agent(td_target=ValueExpansion(3), dynamics=None)
    task = make_task()
    task.goal_indices = None
    with pytest.raises(UserError, match="ValueExpansion needs the state-to-goal map"):
        make_agent(task, td_target=ValueExpansion(3))


def test_a_horizon_of_0_is_refused():
    with pytest.raises(UserError, match=r"model\.td_target\.horizon is 0; allowed: an integer of at least 1"):
        ValueExpansion(0)
