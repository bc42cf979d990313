"""What every agent has, seen in one that has nothing else."""

import pytest
import torch
from toy import Bare, make_agent, make_task

from mher_pl.agent import Agent
from mher_pl.errors import NonFiniteError, UserError
from mher_pl.inputs import Inputs
from mher_pl.networks import require_same_networks
from mher_pl.parts import describe, rebuild
from mher_pl.relabel import Future, Noisy

TINY = {"model.init_args.hidden_sizes": "[8]", "model.init_args.dynamics.init_args.hidden_sizes": "[8]"}


def bare() -> Bare:
    agent = Bare()
    agent.configure_model()
    return agent


def test_the_least_agent_acts_and_has_neither_critic_nor_model():
    agent, states, goals = bare(), torch.zeros(4, 3), torch.ones(4, 2)
    assert agent.act(states, goals).shape == (4, 2)
    assert torch.equal(agent.target_act(states, goals), agent.act(states, goals))
    assert agent.value(states, goals, torch.zeros(4, 2)) is None
    assert (agent.dynamics, agent.relabel) == (None, None)
    agent.warm_up(iter(()))


def test_an_agent_without_its_three_methods_cannot_be_made():
    with pytest.raises(TypeError, match=r"abstract methods \W*build\W+make_optimizers\W+training_step"):
        Agent(make_task(), Inputs(1e-4, 5.0), None, None, [8], 1e-3, False, 0)


def test_weights_are_decided_by_the_seed_alone():
    torch.manual_seed(123)
    one = bare()
    torch.manual_seed(321)
    other = bare()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestMinimize:
    def test_steps_the_named_optimisers_down_their_own_losses_for_their_own_parameters(self, build):
        cli = build("point2d", "algorithms/no_sl", **TINY)
        agent, seen = cli.model, {}
        minimize = agent.minimize

        def spy(losses):
            before = {name: [p.clone() for p in getattr(agent, name).parameters()] for name in ("actor", "critic")}
            minimize(losses)
            for name, old in before.items():
                moved = any(not torch.equal(a, b) for a, b in zip(old, getattr(agent, name).parameters(), strict=True))
                seen.setdefault(tuple(losses), set()).add((name, moved))

        agent.minimize = spy
        cli.trainer.fit(agent, cli.datamodule)
        assert seen == {
            ("dynamics",): {("actor", False), ("critic", False)},
            ("critic", "actor"): {("actor", True), ("critic", True)},
        }


class TestCheckFinite:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_names_the_scalar_that_went_wrong(self, value, build):
        cli = build("point2d", **TINY)
        loss = cli.model.critic_loss
        cli.model.critic_loss = lambda batch: loss(batch) + value
        track = cli.model.track
        cli.model.track = lambda values: track(
            {k: v + value if k == "train/critic_loss" else v for k, v in values.items()}
        )
        with pytest.raises(NonFiniteError, match=r"train/critic_loss is (nan|inf) after 300 environment steps"):
            cli.trainer.fit(cli.model, cli.datamodule)

    def test_nothing_that_is_not_finite_is_saved(self, build, tmp_path):
        cli = build("point2d", **TINY)
        cli.trainer.fit(cli.model, cli.datamodule)
        cli.model.track({"train/critic_loss": torch.tensor(float("nan"))})
        with pytest.raises(NonFiniteError, match="train/critic_loss is nan"):
            cli.trainer.save_checkpoint(tmp_path / "broken.ckpt")
        assert not (tmp_path / "broken.ckpt").exists()


def test_the_least_agent_trains_with_every_default_callback_on(build):
    cli = build("point2d", **TINY | {"relabel_goals.every_n_epochs": 1})
    agent = Bare(cli.datamodule.task)
    cli.trainer.fit(agent, cli.datamodule)
    assert "eval/success_rate" in cli.trainer.callback_metrics


class TestParts:
    def test_are_found_by_their_names_in_the_config(self):
        agent = make_agent(relabel=Future(0.8))
        own = {name: type(part).__name__ for name, part in agent.parts.items()}
        assert own == {
            "inputs": "Inputs",
            "relabel": "Future",
            "batch_source": "Replayed",
            "td_target": "OneStep",
            "critic": "SingleCritic",
            "dynamics": "Shift",
        }

    def test_are_described_by_class_and_arguments_and_rebuilt_from_that(self):
        description = describe(Noisy(Future(0.8), std=0.1))
        assert description["class_path"] == "mher_pl.relabel.base.Noisy"
        assert description["init_args"]["relabel"]["init_args"] == {"ratio": 0.8}
        inputs = rebuild(describe(Inputs(0.1, 4.0)), Inputs)
        assert (type(inputs), inputs.min_std, inputs.clip) == (Inputs, 0.1, 4.0)

    @pytest.mark.parametrize("path", ["os.system", "nobody.has.This", "mher_pl.relabel.Keep"])
    def test_of_another_kind_or_of_modules_that_are_not_imported_are_not_rebuilt(self, path):
        with pytest.raises(UserError, match="allowed: a Inputs of mher_pl"):
            rebuild({"class_path": path, "init_args": {}}, Inputs)


def test_networks_of_another_shape_are_named():
    own = {"actor.weight": torch.zeros(3, 2)}
    require_same_networks(own, own)
    with pytest.raises(UserError, match=r"its actor.weight has shape \[4, 2\]; allowed: \[3, 2\]"):
        require_same_networks({"actor.weight": torch.zeros(4, 2)}, own)
