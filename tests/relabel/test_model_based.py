import pytest
import torch
from toy import Shift, generator, make_agent, make_batch, make_task, make_task_of_unclear_goals

from mher_pl.errors import UserError
from mher_pl.relabel import Mixed, ModelBased, Noisy

MANY = 4000  # rows; a share of 0.8 is off by 0.02 once in a thousand draws


class TestModelBased:
    def test_the_goal_is_a_uniform_state_of_the_virtual_path_from_the_next_state(self):
        batch = make_batch(MANY)
        relabelled = ModelBased(1.0, steps=5, noise=0.2)(batch, make_agent(), generator())
        step = relabelled["desired_goal"] - batch["next", "achieved_goal"]  # the toy model adds 1 a step
        assert torch.equal(step[:, 0].round(), step[:, 1].round())
        counts = torch.bincount(step[:, 0].round().long(), minlength=6) / MANY
        assert torch.allclose(counts, torch.full((6,), 1 / 6), atol=0.03)

    def test_without_steps_the_goal_is_what_the_next_state_achieves(self):
        batch = make_batch(20)
        agent = make_agent()
        relabelled = ModelBased(1.0, steps=0, noise=0.2)(batch, agent, generator())
        assert torch.equal(relabelled["desired_goal"], batch["next", "achieved_goal"])
        assert (relabelled["reward"] == 0).all()
        assert agent.dynamics.calls == []

    def test_with_ratio_0_the_model_is_not_used(self):
        agent = make_agent()
        relabelled = ModelBased(0.0, steps=5, noise=0.2)(make_batch(20), agent, generator())
        assert not relabelled["relabelled"].any()
        assert sum(len(state) for state, _ in agent.dynamics.calls) == 0

    def test_the_path_follows_the_target_actor_under_the_original_goal(self):
        agent, batch, seen = make_agent(), make_batch(20), []
        act = agent.target_act
        agent.target_act = lambda state, goal: seen.append((state, goal)) or act(state, goal)
        ModelBased(1.0, steps=3, noise=0.0)(batch, agent, generator())
        original = {
            tuple(state): goal
            for state, goal in zip(batch["next", "observation"].tolist(), batch["desired_goal"], strict=True)
        }
        starts, goals = seen[0]
        assert len(starts) > 5
        for state, goal in zip(starts.tolist(), goals, strict=True):
            assert torch.equal(original[tuple(state)], goal)
        for state, goal in seen[1:]:  # further along, the row is still told by its thousands
            rows = (state[:, 0] // 1000).long()
            assert torch.equal(goal, batch["desired_goal"][rows])

    def test_the_model_gets_the_actors_actions(self):
        agent, batch = make_agent(), make_batch(20)
        with torch.no_grad():
            for parameter in agent.actor.parameters():  # only the target actor may act
                parameter.fill_(torch.nan)
        ModelBased(1.0, steps=1, noise=0.0)(batch, agent, generator())
        ((state, action),) = agent.dynamics.calls
        goal = batch["desired_goal"][(state[:, 0] // 1000).long()]
        assert torch.allclose(action, agent.target_act(state, goal), atol=1e-6)

    def test_noise_is_added_to_virtual_actions_and_clipped(self):
        def actions(noise: float) -> torch.Tensor:
            agent = make_agent()
            ModelBased(1.0, steps=1, noise=noise)(make_batch(MANY), agent, generator())
            return agent.dynamics.calls[0][1]

        difference = actions(0.01) - actions(0.0)
        assert difference.std() == pytest.approx(0.01, rel=0.1)
        assert actions(50.0).abs().max() == 1.0
        assert torch.equal(actions(0.01), actions(0.01)), "the generator's"

    def test_leaks_no_gradient_into_actor_or_model(self):
        class Scale(Shift):
            def __init__(self):
                super().__init__()
                self.factor = torch.nn.Parameter(torch.ones(()))

            def predict(self, state, action):
                return state * self.factor + action.sum(dim=1, keepdim=True)

        agent = make_agent(dynamics=Scale(), imitation_weight=1.0)
        relabelled = ModelBased(1.0, steps=4, noise=0.2)(make_batch(20), agent, generator())
        agent.actor_loss(relabelled).backward()
        assert agent.dynamics.factor.grad is None
        assert all(parameter.grad is None for parameter in agent.actor_target.parameters())

    def test_needs_a_model(self):
        with pytest.raises(UserError, match=r"model\.dynamics is null.*ModelBased"):
            make_agent(relabel=ModelBased(0.8, 5, 0.2), dynamics=None)

    @pytest.mark.parametrize("around", [lambda own: own, lambda own: Noisy(own, std=0.1), lambda own: Mixed([own])])
    def test_must_know_which_goals_states_achieve(self, around):
        with pytest.raises(UserError, match=r"data\.goal_indices is null, but model's ModelBased must know.*\[1, 2\]"):
            make_agent(make_task_of_unclear_goals(), relabel=around(ModelBased(0.8, 5, 0.2)))

    def test_the_models_state_holds_an_achieved_goal_that_is_no_part_of_the_observation(self):
        agent, batch = make_agent(make_task(goal_indices=None)), make_batch(MANY)
        batch["next", "achieved_goal"] = batch["next", "achieved_goal"] + 7.0
        relabelled = ModelBased(1.0, steps=5, noise=0.2)(batch, agent, generator())
        step = relabelled["desired_goal"] - batch["next", "achieved_goal"]  # the toy model adds 1 a step
        assert set(step.round().unique().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
        assert all(state.shape[1] == 3 + 2 for state, _ in agent.dynamics.calls)
