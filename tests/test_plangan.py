import numpy as np
import pytest
import torch
from tensordict import TensorDict
from toy import generator, make_task
from trained_runs import ROOT, assert_same_run, fit, run_process, state

import mher_pl
from mher_pl.__main__ import main
from mher_pl.errors import UserError
from mher_pl.gan import Discriminators, Generators
from mher_pl.inputs import Inputs
from mher_pl.one_step import OneStepModels
from mher_pl.plangan import PlanGAN
from mher_pl.planner import Planner
from mher_pl.policy import save_policy
from mher_pl.storage.checkpoint import write_checkpoint
from mher_pl.task import Task

TAU = 4
POINT = "Point2DLarge-v1/plangan/seed_0"
LITTLE = {  # settings of a run of seconds
    "model.init_args.hidden_sizes": "[16]",
    "model.init_args.dynamics.init_args.hidden_sizes": "[16]",
    "model.init_args.planner.init_args.initial_actions": 3,
    "model.init_args.planner.init_args.copies": 2,
    "model.init_args.planner.init_args.steps": 3,
    "data.batches_per_episode": 2,
    "data.batch_size": 24,
    "warmup.episodes": 2,
    "warmup.updates": 2,
    "warmup.batch_size": 24,
    "evaluation.episodes": 3,
    "trainer.check_val_every_n_epoch": 1,
}
OVERLAY = ["--config", str(ROOT / "configs/algorithms/plangan.yaml"), *(f"--{k}={v}" for k, v in LITTLE.items())]


def make_plangan(task: Task | None = None, **settings) -> PlanGAN:
    known = {
        "inputs": Inputs(min_std=0.05, clip=5.0),
        "dynamics": OneStepModels(3, [8], 1e-3, 2e-4, 0.05, 0.01, 10.0),
        "planner": Planner(3, 2, 3, 0.5, "best", 5.0),
        "gans": 2,
        "hidden_sizes": [8],
        "noise_size": 4,
        "path_length": TAU,
        "gan_share": 1.0,
        "min_goal_distance": 0.1,
        "agreement_weight": 30.0,
        "actor_lr": 1e-2,
        "discriminator_lr": 1e-2,
        "betas": (0.5, 0.999),
        "weight_decay": 0.0,
        "compile": False,
        "seed": 0,
    }
    agent = PlanGAN(task or make_task(), **known | settings)
    agent.configure_model()
    agent.named_optimizers = agent.make_optimizers()
    agent.optimizers = lambda: agent.named_optimizers["actor"]
    agent._trainer = type("Alone", (), {"world_size": 1})()
    return agent


def make_paths(rows: int) -> TensorDict:
    """Paths [B, tau] of random walks, each step with its own goal."""
    draws = generator()
    states = torch.randn(rows, TAU + 1, 3, generator=draws).cumsum(dim=1)
    goals = torch.randn(rows, TAU, 2, generator=draws)
    shape = [rows, TAU]
    return TensorDict(
        {
            "observation": states[:, :-1],
            "achieved_goal": states[:, :-1, [2, 0]],
            "action": 2.0 * torch.rand(*shape, 2, generator=draws) - 1.0,
            "hindsight_goal": goals,
            "next": TensorDict({"observation": states[:, 1:], "achieved_goal": states[:, 1:, [2, 0]]}, shape),
        },
        shape,
    )


def weights_of(agent: PlanGAN) -> dict[str, torch.Tensor]:
    parts = {"actor": agent.actor, "discriminators": agent.discriminators, "dynamics": agent.dynamics}
    return {name: torch.cat([p.detach().flatten() for p in part.parameters()]) for name, part in parts.items()}


def test_there_are_ensembles_of_three_kinds_and_no_critic():
    agent = make_plangan()
    kinds = {name: type(module) for name, module in agent.named_children()}
    assert kinds == {"inputs": Inputs, "dynamics": OneStepModels, "actor": Generators, "discriminators": Discriminators}
    assert agent.value(torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2, 2)) is None
    assert agent.relabel is None


def test_a_planner_that_a_checkpoint_could_not_describe_is_refused_before_training():
    class Own(Planner):
        def __init__(self, depth):
            super().__init__(3, 2, depth, 0.5, "best", 5.0)

    with pytest.raises(UserError, match="Own keeps no depth; allowed: an attribute of the name of each argument"):
        make_plangan(planner=Own(3))


def test_each_loss_trains_its_own_networks_alone():
    agent, paths = make_plangan(), make_paths(10)
    updates = {
        "dynamics": lambda: agent.fit_models(paths),
        "discriminators": lambda: agent.minimize({"discriminators": agent.discriminator_loss(agent.shared_out(paths))}),
        "actor": lambda: agent.minimize({"actor": agent.generator_loss(agent.shared_out(paths))}),
    }
    for name, update in updates.items():
        before = weights_of(agent)
        update()
        changed = {part for part, value in weights_of(agent).items() if not torch.equal(value, before[part])}
        assert changed == {name}


def test_the_warm_up_trains_all_networks_and_keeps_nothing_to_log():
    agent = make_plangan()
    before = weights_of(agent)
    agent.warm_up(iter([make_paths(10)]))
    assert not any(torch.equal(value, before[part]) for part, value in weights_of(agent).items())
    assert agent.tracked == {}


def test_generated_paths_begin_at_real_states_and_go_on_from_their_own():
    agent, paths = make_plangan(), make_plangan().shared_out(make_paths(10))
    states, actions = agent.generate(paths)
    assert states.shape == (2, 5, TAU + 1, 3)
    assert actions.shape == (2, 5, TAU, 2)
    assert torch.equal(states[..., 0, :], paths["observation"][..., 0, :])
    paths["observation"][..., 1:, :] = torch.nan  # nothing but the first real state counts
    paths["action"][:] = torch.nan
    assert torch.isfinite(agent.generate(paths)[0]).all()


def test_what_states_show_of_the_desired_goal_stays_along_generated_paths():
    agent = make_plangan(make_task(desired_goal_indices=(1, 2), goal_indices=(0, 1)))
    states, _ = agent.generate(agent.shared_out(make_paths(10)))
    assert torch.equal(states[..., [1, 2]], states[..., :1, [1, 2]].expand(-1, -1, TAU + 1, -1))
    assert (states[..., 1:, 0] != states[..., :1, 0]).all()
    start = states[0, :, 0]
    _, reached = agent.planner.generate(agent, start, torch.zeros(len(start), 2), generator())
    assert torch.equal(reached[:, [1, 2]], start[:, [1, 2]])


def test_discriminators_come_to_value_real_transitions_lower_than_generated_ones():
    agent, paths = make_plangan(), make_paths(64)
    share = agent.shared_out(paths)
    gaps = []
    for _ in range(60):
        loss = agent.discriminator_loss(share)
        gaps.append(loss.item())
        agent.minimize({"discriminators": loss})
    assert sum(gaps[-5:]) / 5 < gaps[0] - 0.2


def test_generators_come_to_agree_with_the_models():
    agent, paths = make_plangan(), make_paths(64)
    agent.dynamics.observe(
        *(paths[key].flatten(0, 1) for key in ("observation", "action")),
        paths["next", "observation"].flatten(0, 1),
        lambda sums: sums,
    )
    for _ in range(80):
        agent.minimize({"actor": agent.generator_loss(agent.shared_out(paths))})
    first, *_, last = agent.tracked["train/disagreement"]
    assert last < 0.5 * first


def test_goals_that_a_state_achieves_already_are_not_learned_from():
    agent, paths = make_plangan(), make_paths(10)
    paths["hindsight_goal"][:5] = paths["achieved_goal"][:5] + 0.05
    share = agent.shared_out(paths)  # the first of two members has them all
    assert agent.learned(share).tolist() == [[[0.0] * TAU] * 5, [[1.0] * TAU] * 5]
    agent.discriminator_loss(share).backward()
    assert agent.discriminators.last.weight.grad[0].abs().max() == 0.0
    assert agent.discriminators.last.weight.grad[1].abs().max() > 0.0


def test_every_step_of_the_paths_can_be_what_the_models_learn_from():
    agent, paths, seen = make_plangan(), make_paths(300), []
    paths["action"][..., 0] = torch.arange(TAU) / TAU
    examples = agent.dynamics.examples
    agent.dynamics.examples = lambda batch: seen.append(batch["action"][:, 0]) or examples(batch)
    agent.fit_models(paths)
    assert torch.bincount((TAU * seen[0]).long()).min() > 40


def test_the_gan_learns_from_its_share_of_the_batch():
    assert make_plangan(gan_share=0.5).shared_out(make_paths(21)).shape == (2, 5, TAU)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 1.0])
def test_with_the_fewest_rows_every_generator_has_two_and_with_one_less_not(share):
    agent = make_plangan(gan_share=share)
    least = agent.least_rows
    assert agent.shared_out(make_paths(least)).shape[1] >= 2
    assert agent.shared_out(make_paths(least - 1)).shape[1] < 2


def test_acting_plans_and_changes_nothing():
    agent = make_plangan()
    before, draws = {k: v.clone() for k, v in agent.state_dict().items()}, agent.generator.get_state()
    observations, goals = torch.randn(4, 3), torch.randn(4, 2)
    actions = agent.act(observations, goals)
    assert actions.shape == (4, 2)
    assert torch.equal(actions, agent.act(observations, goals))
    assert all(torch.equal(value, before[key]) for key, value in agent.state_dict().items())
    assert torch.equal(agent.generator.get_state(), draws)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gans", 0),
        ("noise_size", 0),
        ("path_length", 11),
        ("path_length", 1),
        ("gan_share", 2.0),
        ("min_goal_distance", -1.0),
        ("agreement_weight", -1.0),
        ("discriminator_lr", 0.0),
        ("betas", (0.5, 1.0)),
        ("weight_decay", -1.0),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(UserError, match=rf"model\.{name} is "):
        make_plangan(**{name: value})


@pytest.mark.slow
def test_weights_and_statistics_stay_equal_on_all_workers(tmp_path):
    workers = ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.callbacks=trained_runs.DumpWorker"]
    run_process(tmp_path, *OVERLAY, *workers, epochs=1)
    first, second = (torch.load(tmp_path / f"worker_{rank}.pt")["weights"] for rank in range(2))
    assert {"actor.norms.0.mean", "discriminators.hidden.0.left"} <= first.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class TestRun:
    """A small run of the whole program."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("run")
        assert fit(root, *OVERLAY, "--data.episodes_per_epoch=1", config="reacher", epochs=1) == 0
        return root / "Reacher-v1" / "plangan" / "seed_0"

    @pytest.fixture(scope="class")
    def whole(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("whole")
        assert fit(root, *OVERLAY, epochs=3) == 0
        return root / POINT

    def test_it_resumes_exactly(self, whole, tmp_path):
        assert fit(tmp_path, *OVERLAY, epochs=1) == 0
        assert fit(tmp_path, *OVERLAY, "--ckpt_path=last", epochs=3) == 0
        assert_same_run(whole, tmp_path / POINT)

    def test_it_learns_the_same_however_often_it_is_evaluated(self, whole, tmp_path):
        assert fit(tmp_path, *OVERLAY, "--trainer.check_val_every_n_epoch=3", epochs=3) == 0
        often, rarely = state(whole), state(tmp_path / POINT)
        weights = [key for key in often if key.startswith("/state_dict/")]
        assert len(weights) > 10
        assert all(torch.equal(often[key], rarely[key]) for key in weights)

    def test_the_loaded_policy_plans_as_the_agent_did(self, run, tmp_path):
        cli = mher_pl.load(str(run / "config.yaml"), **{"trainer.default_root_dir": tmp_path})
        cli.model.configure_model()
        cli.model.load_state_dict(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
        envs = mher_pl.make_vec("mher_pl/Reacher-v1", num_envs=3)
        observation, _ = envs.reset(seed=0)
        envs.close()
        seen, goal = (torch.as_tensor(observation[key]).float() for key in ("observation", "desired_goal"))
        policy = mher_pl.load_policy(run)
        assert torch.equal(policy(seen, goal), cli.model.act(seen, goal))
        assert isinstance(policy(observation), np.ndarray)
        assert policy(seen[0], goal[0]).shape == (2,)
        save_policy(policy, tmp_path / "a.safetensors")
        assert torch.equal(mher_pl.load_policy(tmp_path / "a.safetensors")(seen, goal), policy(seen, goal))

    def test_export_is_refused_in_one_line(self, run, tmp_path, capsys):
        assert main(["export", str(run), "--out", str(tmp_path / "policy.pt2")]) == 1
        errors = capsys.readouterr().err
        assert errors.startswith("error: CKPT names a checkpoint of a planner")
        assert errors.count("\n") == 1
        assert not (tmp_path / "policy.pt2").exists()

    def test_a_policy_of_a_task_whose_module_was_not_imported_is_refused(self, run, tmp_path):
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        checkpoint["agent"]["task"]["env"] = "a_module_of_theirs:Task-v0"
        write_checkpoint(checkpoint, tmp_path / "foreign.ckpt")
        with pytest.raises(UserError, match="allowed: a task whose module was imported before"):
            mher_pl.load_policy(tmp_path / "foreign.ckpt")
