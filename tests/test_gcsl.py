import pytest
import torch
from toy import Record, generator, make_batch, make_task

from mher_pl.errors import UserError
from mher_pl.gcsl import GCSL
from mher_pl.inputs import Inputs
from mher_pl.relabel import Future, ImitationOnly, Keep, Mixed, ModelBased, OtherGoals


def make_gcsl(relabel=None) -> GCSL:
    agent = GCSL(
        make_task(),
        Inputs(min_std=1e-4, clip=5.0),
        relabel or Future(1.0),
        hidden_sizes=[8],
        actor_lr=1e-3,
        compile=False,
        seed=0,
    )
    agent.configure_model()
    return agent


def test_there_is_one_network_and_no_critic():
    agent = make_gcsl()
    assert {name for name, _ in agent.named_children()} == {"inputs", "actor"}
    assert agent.value(torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2, 2)) is None


def test_the_optimiser_holds_the_actor_alone():
    agent = make_gcsl()
    assert list(agent.make_optimizers()) == ["actor"]
    (group,) = agent.make_optimizers()["actor"].param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in agent.actor.parameters()]


def test_the_loss_is_the_squared_error_to_replayed_actions_under_hindsight_goals():
    agent, batch = make_gcsl(), make_batch(20, scale=1e-3)
    relabelled = agent.relabel(batch, agent, generator())
    assert torch.equal(relabelled["desired_goal"], batch["hindsight_goal"])
    action = agent.act(batch["observation"], batch["hindsight_goal"])
    expected = sum(((a - b) ** 2).mean() for a, b in zip(action, batch["action"], strict=True)) / 20
    assert agent.imitation_loss(relabelled).item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_a_relabeller_has_not_imitated_is_not():
    batch = make_batch(20, scale=1e-3)
    agent = make_gcsl()
    assert agent.imitation_loss(OtherGoals(1.0)(batch, agent, generator())) == 0.0
    half = Mixed([Future(0.5), OtherGoals(0.5)])
    relabelled = half(batch, agent, generator())
    own = relabelled[relabelled["imitated"]]
    assert 0 < len(own) < 20
    assert agent.imitation_loss(relabelled).item() == pytest.approx(agent.imitation_loss(own).item(), rel=1e-5)


def test_every_transition_is_relabelled(build):
    cli, record = build("point2d", "algorithms/gcsl"), Record()
    cli.trainer.callbacks.append(record)
    cli.trainer.fit(cli.model, cli.datamodule)
    (output,) = record.outputs
    assert len(output["relabelled"]) == 5
    assert all(batch["relabelled"].all() for batch in output["relabelled"])


def test_training_changes_the_actor_towards_the_replayed_actions(build):
    cli = build("point2d", "algorithms/gcsl", **{"data.batches_per_episode": 50})
    cli.model.configure_model()
    before = [parameter.clone() for parameter in cli.model.actor.parameters()]
    losses = []
    loss = cli.model.imitation_loss
    cli.model.imitation_loss = lambda batch: losses.append(loss(batch)) or losses[-1]
    cli.trainer.fit(cli.model, cli.datamodule)
    assert any(not torch.equal(a, b) for a, b in zip(before, cli.model.actor.parameters(), strict=True))
    assert sum(losses[-10:]) < sum(losses[:10])


def test_a_relabeller_with_a_model_is_refused():
    with pytest.raises(UserError, match=r"model\.dynamics is null.*ModelBased"):
        make_gcsl(ModelBased(0.8, 5, 0.2))


def test_a_relabeller_that_relabels_nothing_is_refused():
    with pytest.raises(UserError, match=r"model\.relabel is 'Keep'; allowed: one that relabels a share above 0"):
        make_gcsl(Keep())


def test_goals_for_the_imitation_alone_are_what_it_imitates_under():
    plain, wrapped = make_gcsl(Future(1.0)), make_gcsl(ImitationOnly(Future(1.0)))
    batch = make_batch(20, scale=1e-3)
    losses = [agent.imitation_loss(agent.relabel(batch, agent, generator())).item() for agent in (plain, wrapped)]
    assert losses[0] == losses[1]
