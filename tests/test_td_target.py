import pytest
import torch
from toy import DISCOUNT, Shift, generator, make_agent, make_batch, make_task, make_task_of_unclear_goals

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
    batch["terminated"] = torch.tensor([False])
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
    batch = Keep()(make_batch(3, scale=1e-2), agent, generator())
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


def test_value_expansion_needs_a_model_and_must_know_which_goals_states_achieve():
    with pytest.raises(UserError, match=r"model\.dynamics is null.*ValueExpansion"):
        make_agent(td_target=ValueExpansion(3), dynamics=None)
    with pytest.raises(UserError, match=r"data\.goal_indices is null, but model's ValueExpansion must know"):
        make_agent(make_task_of_unclear_goals(), td_target=ValueExpansion(3))


def test_value_expansion_reads_the_goal_off_a_state_that_holds_it_and_values_the_observation():
    agent, seen = make_agent(make_task(goal_indices=None), dynamics=Walk()), []
    agent.target_act = lambda observation, goal: seen.append(observation) or torch.ones(len(observation), 2)
    agent.target_value = lambda observation, goal: seen.append(observation) or 10.0 * observation.sum(dim=1)
    batch = Keep()(make_batch(1), agent, generator())
    batch["next"] = {"observation": torch.zeros(1, 3), "achieved_goal": torch.full((1, 2), 4.0)}
    batch["desired_goal"] = torch.full((1, 2), 5.0)  # where the achieved goal is after one step
    assert ValueExpansion(2)(batch, agent).item() == pytest.approx(-1.0 + DISCOUNT * 0.0 + DISCOUNT**2 * 10.0 * 3.0)
    assert [observation.shape[1] for observation in seen] == [3, 3]


@pytest.mark.parametrize("td_target", [OneStep(), ValueExpansion(1), ValueExpansion(3)], ids=["1 step", "H 1", "H 3"])
class TestEnds:
    """Steps that end an episode: what comes after them is worth nothing, or what the task's 0 is on our scale."""

    def batch(self, agent, relabel=None):
        batch = make_batch(6)
        batch["desired_goal"][:3] = batch["next", "achieved_goal"][:3]  # rows 0 to 2 reach the original goal
        batch["hindsight_goal"][3:] = batch["next", "achieved_goal"][3:]  # and rows 3 to 5 the other one
        return (relabel or Keep())(batch, agent, generator())

    def test_reaching_the_goal_is_worth_0_for_original_and_for_relabelled_goals(self, td_target):
        task = make_task()
        agent = with_value(make_agent(task), value=-1.0)
        for relabel, reaching, others in (
            (Keep(), slice(0, 3), slice(3, 6)),
            (Future(1.0), slice(3, 6), slice(0, 3)),
        ):
            task.ended_at_goal = False
            bootstrapped = td_target(self.batch(agent, relabel), agent)
            assert (bootstrapped < -100).all(), "the value of the states is far from 0"
            task.ended_at_goal = True
            target = td_target(self.batch(agent, relabel), agent)
            assert target[reaching].tolist() == [0.0] * 3
            assert torch.equal(target[others], bootstrapped[others])

    def test_nothing_is_bootstrapped_past_a_failure_whatever_the_goal(self, td_target):
        agent = with_value(make_agent(), value=-1.0)
        for relabel in (Keep(), Future(1.0)):
            batch = self.batch(agent, relabel)
            going = td_target(batch, agent)
            batch["failed"][::2] = batch["terminated"][::2] = True
            target = td_target(batch, agent)
            assert torch.equal(target[::2], batch["reward"][::2])
            assert torch.equal(target[1::2], going[1::2])

    @pytest.mark.parametrize(
        ("rewards", "after"), [((-1.0, 0.0), 0.0), ((-10.0, 0.0), 0.0), ((0.0, 1.0), -1.0), ((-1.0, 1.0), -0.5)]
    )
    def test_after_a_failure_every_step_gives_the_tasks_own_0(self, td_target, rewards, after):
        away, best = rewards
        task = make_task(
            rewards=rewards, compute_reward=lambda *goals: best + (best - away) * make_task().compute_reward(*goals)
        )
        agent = with_value(make_agent(task), value=-1.0)
        batch = self.batch(agent)
        batch["failed"][:] = batch["terminated"][:] = True
        expected = batch["reward"] + DISCOUNT * after / (1 - DISCOUNT)
        assert set(batch["reward"].tolist()) == {-1.0, 0.0}
        assert torch.allclose(td_target(batch, agent), expected)


def test_the_virtual_path_of_a_value_expansion_ends_at_its_goal_where_episodes_do():
    # From s_{t+1} = (0, 0, 0) the path goes 1, 2, 3 in every entry; the goal (2, 2) is reached at 2.
    task = make_task()
    agent = with_value(make_agent(task, dynamics=Walk()), value=10.0)
    batch = make_batch(1)
    batch["next", "observation"] = torch.zeros(1, 3)
    batch["desired_goal"] = torch.full((1, 2), 2.0)
    batch["reward"] = torch.tensor([-1.0])
    batch["terminated"] = torch.tensor([False])
    task.ended_at_goal = True
    g = DISCOUNT
    by_hand = {1: -1.0, 2: -1.0 - g + g**2 * 10.0 * 3.0, 3: -1.0 - g, 4: -1.0 - g, 7: -1.0 - g}
    for horizon, expected in by_hand.items():
        assert ValueExpansion(horizon)(batch, agent).item() == pytest.approx(expected, rel=1e-6)


def test_a_horizon_of_0_is_refused():
    with pytest.raises(UserError, match=r"model\.td_target\.horizon is 0; allowed: an integer of at least 1"):
        ValueExpansion(0)
