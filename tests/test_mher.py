import copy
import shutil
from itertools import pairwise

import pytest
import torch
from toy import DISCOUNT, Shift, generator, make_agent, make_batch

from mher_pl.critic import SingleCritic
from mher_pl.errors import UserError
from mher_pl.relabel import Future, ImitationOnly, Keep, Mixed, Noisy, OtherGoals

TINY = {"model.init_args.hidden_sizes": "[8]", "model.init_args.dynamics.init_args.hidden_sizes": "[8]"}


def trained_batch(agent, relabel=None, rows: int = 20):
    """A relabelled batch of moderate numbers."""
    return (relabel or Keep())(make_batch(rows, scale=1e-3), agent, generator())


def values(agent, batch, action):
    return agent.critic(agent.inputs(batch["observation"], batch["desired_goal"]), action)


class TestCriticLoss:
    def test_is_the_mean_squared_error_to_the_td_target(self):
        agent = make_agent()
        batch, target = trained_batch(agent), torch.linspace(-9.0, -1.0, 20)
        agent.td_target = lambda batch, agent: target
        error = target - values(agent, batch, batch["action"])
        assert agent.critic_loss(batch).item() == pytest.approx(error.square().mean().item(), rel=1e-5)

    @pytest.mark.parametrize(("estimate", "clipped"), [(7.0, 0.0), (-500.0, -1.0 / (1.0 - DISCOUNT)), (-3.0, -3.0)])
    def test_clips_targets_to_what_returns_can_be(self, estimate, clipped):
        agent = make_agent()
        agent.td_target = lambda batch, agent: torch.full((len(batch),), estimate)
        batch = trained_batch(agent)
        error = clipped - values(agent, batch, batch["action"])
        assert agent.critic_loss(batch).item() == pytest.approx(error.square().mean().item(), rel=1e-5)

    def test_refuses_targets_of_another_form(self):
        class Column(SingleCritic):
            def forward(self, inputs, action):
                return super().forward(inputs, action).unsqueeze(-1)

        agent = make_agent(critic=Column([8], 1e-3))
        message = (
            r"model.td_target is OneStep, whose targets, of values of Column, are a tensor \[20, 20\] of float32; "
        )
        with pytest.raises(UserError, match=message + r"allowed: a tensor \[20\] of float32"):
            agent.critic_loss(trained_batch(agent))

    def test_has_a_gradient_for_the_critic_alone(self):
        agent = make_agent()
        agent.critic_loss(trained_batch(agent)).backward()
        assert all(parameter.grad is not None for parameter in agent.critic.parameters())
        others = [agent.actor, agent.actor_target, agent.critic_target]
        assert all(parameter.grad is None for network in others for parameter in network.parameters())


class TestActorLoss:
    def test_is_minus_the_mean_value_of_the_actors_own_actions(self):
        agent = make_agent()
        batch = trained_batch(agent)
        action = agent.act(batch["observation"], batch["desired_goal"])
        assert agent.actor_loss(batch).item() == pytest.approx(-values(agent, batch, action).mean().item(), rel=1e-5)

    def test_adds_alpha_times_the_error_of_relabelled_rows_over_the_whole_batch(self):
        plain, joint = make_agent(), make_agent(imitation_weight=3.0)
        batch = trained_batch(joint, Future(0.5))
        action = joint.act(batch["observation"], batch["desired_goal"])
        rows = [row for row in range(20) if batch["relabelled"][row]]
        assert 0 < len(rows) < 20
        error = sum((action[row] - batch["action"][row]).square().mean().item() for row in rows) / 20
        assert joint.actor_loss(batch).item() - plain.actor_loss(batch).item() == pytest.approx(3.0 * error, rel=1e-4)

    def test_without_relabelled_rows_alpha_does_nothing(self):
        plain, joint = make_agent(), make_agent(imitation_weight=3.0)
        batch = trained_batch(joint)
        assert joint.actor_loss(batch).item() == plain.actor_loss(batch).item()

    def test_penalises_the_mean_squared_action(self):
        plain, penalised = make_agent(), make_agent(action_penalty=2.0)
        batch = trained_batch(plain)
        action = plain.act(batch["observation"], batch["desired_goal"])
        difference = penalised.actor_loss(batch) - plain.actor_loss(batch)
        assert difference.item() == pytest.approx(2.0 * action.square().mean().item(), rel=1e-4)

    def test_imitates_under_goals_of_its_own_where_the_batch_brings_them(self):
        plain, joint = make_agent(), make_agent(imitation_weight=3.0)
        batch = trained_batch(joint, ImitationOnly(Future(1.0)))
        assert torch.equal(batch["desired_goal"], batch["original_goal"])
        action = joint.act(batch["observation"], batch["hindsight_goal"])
        error = (action - batch["action"]).square().mean().item()
        difference = joint.actor_loss(batch) - plain.actor_loss(batch)
        assert difference.item() == pytest.approx(3.0 * error, rel=1e-4)

    @pytest.mark.parametrize("relabel", [Keep(), Noisy(Keep(), std=0.1), OtherGoals(0.8), Mixed([OtherGoals(0.8)])])
    def test_refuses_to_imitate_where_nothing_is_imitated(self, relabel):
        message = rf"model\.imitation_weight is 3\.0; allowed: 0 with {type(relabel).__name__}, which has no actions"
        with pytest.raises(UserError, match=message):
            make_agent(relabel=relabel, imitation_weight=3.0)

    def test_calls_the_actor_once_where_all_losses_share_their_goals(self):
        agent = make_agent(imitation_weight=3.0)
        batch, calls = trained_batch(agent, Future(0.8)), []
        agent.actor.register_forward_hook(lambda *args: calls.append(1))
        agent.actor_loss(batch)
        assert len(calls) == 1


class TestTargets:
    def test_are_updated_by_the_batches_of_the_run_not_of_the_epoch(self, build):
        cli = build("point2d", **TINY | {"model.init_args.batches_per_target_update": 7, "trainer.max_epochs": 4})
        updates = []
        cli.model.update_targets = lambda: updates.append(cli.model.batches)
        cli.trainer.fit(cli.model, cli.datamodule)
        assert updates == [7, 14]

    def test_start_as_copies(self):
        agent = make_agent()
        for trained, target in ((agent.actor, agent.actor_target), (agent.critic, agent.critic_target)):
            for a, b in zip(trained.parameters(), target.parameters(), strict=True):
                assert torch.equal(a, b)
                assert a is not b
                assert not b.requires_grad

    @pytest.mark.parametrize("act_with_target", [True, False])
    def test_act_where_asked_to(self, act_with_target):
        agent = make_agent(act_with_target=act_with_target)
        with torch.no_grad():
            agent.actor_target.network.layers[-1].bias.fill_(10.0)
        action = agent.act(torch.zeros(4, agent.task.observation_size), torch.zeros(4, agent.task.goal_size))
        assert bool((action > 0.99).all()) is act_with_target

    def test_move_by_what_polyak_leaves(self):
        agent = make_agent(polyak=0.75)
        before = copy.deepcopy(agent.critic_target)
        with torch.no_grad():
            for parameter in agent.critic.parameters():
                parameter.add_(1.0)
        agent.update_targets()
        for old, new in zip(before.parameters(), agent.critic_target.parameters(), strict=True):
            assert torch.allclose(new, old + 0.25)

    def test_statistics_of_a_critic_are_its_targets_too(self):
        agent = make_agent()
        for critic in (agent.critic, agent.critic_target):
            critic.register_buffer("scale", torch.zeros(1))
        agent.critic.scale.fill_(3.0)
        agent.update_targets()
        assert agent.critic_target.scale.item() == 3.0

    def test_are_updated_once_an_episode(self, build):
        def target(agent):
            return torch.cat([parameter.flatten() for parameter in agent.critic_target.parameters()]).clone()

        cli, seen = build("point2d", **TINY | {"data.episodes_per_epoch": 2}), []
        relabel = cli.model.relabel
        cli.model.relabel = lambda batch, agent, rng: seen.append(target(agent)) or relabel(batch, agent, rng)
        cli.trainer.fit(cli.model, cli.datamodule)
        changed = [not torch.equal(a, b) for a, b in pairwise(seen)]
        assert changed == [False, False, False, False, True, False, False, False, False]
        assert not torch.equal(seen[-1], target(cli.model))


class TestTrainingStep:
    def test_fits_the_model_before_relabelling_with_it(self, build):
        order, cli = [], build("point2d", **TINY)
        agent = cli.model
        fit, relabel = agent.fit_dynamics, agent.relabel
        agent.fit_dynamics = lambda batch: order.append("fit") or fit(batch)
        agent.relabel = lambda *args: order.append("relabel") or relabel(*args)
        cli.trainer.fit(agent, cli.datamodule)
        assert order == ["fit", "relabel"] * 5

    def test_fits_the_model_on_the_batch_as_replayed(self, build):
        seen, cli = [], build("point2d", "algorithms/mbpo_her", **TINY)
        examples = cli.model.dynamics.examples
        cli.model.dynamics.examples = lambda batch: seen.append(batch) or examples(batch)
        cli.trainer.fit(cli.model, cli.datamodule)
        states = cli.datamodule.replay.episodes["observation"].flatten(0, 1)
        for batch in seen:
            assert (batch["observation"].unsqueeze(1) == states).all(dim=-1).any(dim=1).all()

    def test_the_model_gets_as_many_updates_a_batch_as_set(self, build):
        for updates in (0, 3):
            own = {"model.init_args.dynamics.init_args.updates_per_batch": updates}
            cli, count = build("point2d", **TINY | own), []
            loss = cli.model.dynamics.loss
            cli.model.dynamics.loss = lambda *args, loss=loss, count=count: count.append(1) or loss(*args)
            cli.trainer.fit(cli.model, cli.datamodule)
            assert len(count) == 2 + 5 * updates  # 2 in the small warm-up

    def test_lightnings_global_step_is_the_number_of_batches(self, build):
        cli = build("point2d", **TINY | {"data.episodes_per_epoch": 2})
        cli.trainer.fit(cli.model, cli.datamodule)
        assert (cli.trainer.global_step, cli.model.batches) == (10, 10)

    def test_the_actor_learns_from_every_batch_or_from_some(self, build):
        for every, expected in ((1, 5), (2, 3)):
            cli, steps = build("point2d", **TINY | {"model.init_args.batches_per_actor_update": every}), []
            loss = cli.model.actor_loss
            cli.model.actor_loss = lambda batch, loss=loss, steps=steps: steps.append(1) or loss(batch)
            cli.trainer.fit(cli.model, cli.datamodule)
            assert len(steps) == expected
            assert cli.model.named_optimizers["actor"].state[next(cli.model.actor.parameters())]["step"] == expected

    def test_both_gradients_are_taken_before_either_is_applied(self, build):
        cli = build("point2d", **TINY)
        agent, order = cli.model, []
        make_optimizers = agent.make_optimizers

        def make():
            optimizers = make_optimizers()
            for name in ("critic", "actor"):
                optimizer = optimizers[name]
                optimizer.register_step_pre_hook(lambda *args: order.append("step"))
                first = optimizer.param_groups[0]["params"][0]
                first.register_post_accumulate_grad_hook(lambda *args: order.append("gradient"))
            return optimizers

        agent.make_optimizers = make
        agent.dynamics.updates_per_batch = 0
        cli.trainer.fit(agent, cli.datamodule)
        assert order[-20:] == ["gradient", "gradient", "step", "step"] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imitation_weight": -1.0}, "model.imitation_weight is -1.0"),
        ({"action_penalty": float("nan")}, "model.action_penalty is nan"),
        ({"discount": 1.0}, "model.discount is 1.0"),
        ({"polyak": 1.5}, "model.polyak is 1.5"),
        ({"batches_per_target_update": 0}, "model.batches_per_target_update is 0"),
        ({"batches_per_actor_update": 0}, "model.batches_per_actor_update is 0"),
    ],
)
def test_a_setting_out_of_range_is_named(change, message):
    with pytest.raises(UserError, match=message):
        make_agent(dynamics=Shift(), **change)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # Dynamo's own
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")  # Dynamo's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_and_eager_updates_agree(build):
    # Thirty batches after one episode: it is collected, with the same actions, before the first of them.
    settings = {"data.batches_per_episode": 30, "model.init_args.hidden_sizes": "[64, 64]"}
    eager, compiled = (build("point2d", **settings | {"model.init_args.compile": flag}) for flag in (False, True))
    eager.model.configure_model()
    start = [parameter.clone() for parameter in eager.model.parameters()]
    for cli in (eager, compiled):
        cli.trainer.fit(cli.model, cli.datamodule)
    assert compiled.model.critic.network._compiled_call_impl is not None
    for before, one, other in zip(start, eager.model.parameters(), compiled.model.parameters(), strict=True):
        # On average: where rounding turns a sign, a single weight moves by another step.
        assert (one - other).abs().mean() < 1e-3 * (one - before).abs().mean()
