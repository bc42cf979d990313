"""What is distinct about each method, seen in runs of its overlay through the whole program."""

from pathlib import Path

import pytest
import torch
import yaml
from toy import Record

from mher_pl.batch_source import MixedRollouts, ModelRollouts, Replayed
from mher_pl.gcsl import GCSL
from mher_pl.mher import MHER
from mher_pl.relabel import Foresight, Future, ImitationOnly, Keep, ModelBased, Noisy, RandomGoals
from mher_pl.relabel.curriculum import Curriculum
from mher_pl.run.cli import MherCLI
from mher_pl.sampler import Uniform
from mher_pl.sampler.maximum_entropy import MaximumEntropy
from mher_pl.td_target import OneStep, ValueExpansion

METHODS = [
    "mher",
    "no_sl",
    "no_mbr",
    "ddpg",
    "her",
    "gcsl",
    "mve",
    "mbpo",
    "mve_her",
    "mbpo_her",
    "cher",
    "mep",
    "random_goals",
    "goal_noise",
    "mapgo",
]
BEYOND_THE_PAPER = ["her_mixed", "her_plus", "mapgo_original", "mher_plus"]
OBJECTS = ["mher_grasp", "mher_relay"]  # for tasks with an object: tests/test_relay.py
PLANNERS = ["plangan", "plangan_original"]  # of other networks, so with settings of their own: tests/test_plangan.py
PARTS = {  # relabeller, TD target, batch source, sampler, imitation weight, whether there is a model
    "mher": (ModelBased, OneStep, Replayed, Uniform, 3.0, True),
    "no_sl": (ModelBased, OneStep, Replayed, Uniform, 0.0, True),
    "no_mbr": (ImitationOnly, OneStep, Replayed, Uniform, 3.0, True),
    "ddpg": (Keep, OneStep, Replayed, Uniform, 0.0, False),
    "her": (Future, OneStep, Replayed, Uniform, 0.0, False),
    "mve": (Keep, ValueExpansion, Replayed, Uniform, 0.0, True),
    "mbpo": (Keep, OneStep, ModelRollouts, Uniform, 0.0, True),
    "mve_her": (Future, ValueExpansion, Replayed, Uniform, 0.0, True),
    "mbpo_her": (Future, OneStep, ModelRollouts, Uniform, 0.0, True),
    "cher": (Curriculum, OneStep, Replayed, Uniform, 0.0, False),
    "mep": (Future, OneStep, Replayed, MaximumEntropy, 0.0, False),
    "random_goals": (RandomGoals, OneStep, Replayed, Uniform, 0.0, False),
    "goal_noise": (Noisy, OneStep, Replayed, Uniform, 0.0, False),
    "mapgo": (Foresight, OneStep, MixedRollouts, Uniform, 0.0, True),
}
OVERLAYS = Path(__file__).parent.parent / "configs" / "algorithms"


def overlay(method: str) -> str:
    return f"algorithms/{method}"


def resolved(root: Path, *methods: str, task: str = "point2d") -> dict:
    """All settings of a task with the overlays of `methods`."""
    paths = [OVERLAYS.parent / f"{task}.yaml", *(OVERLAYS / f"{method}.yaml" for method in methods)]
    config = [part for path in paths for part in ("--config", str(path))]
    settings = MherCLI([*config, f"--trainer.default_root_dir={root}"], run=False).config.as_dict()
    return {key: value for key, value in settings.items() if key != "config"}


class Trained:
    """A small run of a method, with the batches that its losses saw."""

    def __init__(self, build, method: str, **overrides) -> None:
        small = {"data.batches_per_episode": 20, "model.init_args.hidden_sizes": "[16]"}
        if method in PARTS and PARTS[method][-1]:
            small["model.init_args.dynamics.init_args.hidden_sizes"] = "[16]"
        if method.startswith("mapgo"):
            small["model.init_args.dynamics.init_args.weight_decay"] = "[0.0, 0.0]"
        cli = build("point2d", overlay(method), **small | overrides)
        self.agent, self.data = cli.model, cli.datamodule
        self.critic_batches, self.actor_batches, self.record = [], [], Record()
        if isinstance(self.agent, MHER):
            critic_loss, actor_loss = self.agent.critic_loss, self.agent.actor_loss
            self.agent.critic_loss = lambda batch: self.critic_batches.append(batch) or critic_loss(batch)
            self.agent.actor_loss = lambda batch: self.actor_batches.append(batch) or actor_loss(batch)
        cli.trainer.callbacks.append(self.record)
        cli.trainer.fit(self.agent, self.data)

    @property
    def batches(self):
        """All rows that the losses saw."""
        assert all(a is b for a, b in zip(self.critic_batches, self.actor_batches, strict=True))
        return torch.cat(self.critic_batches)

    def stored(self, key: str) -> torch.Tensor:
        """All stored vectors of a kind."""
        return self.data.replay.episodes[key].reshape(-1, self.data.replay.episodes[key].shape[-1])


def among(rows: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    """Tell which rows equal one of the stored vectors exactly."""
    return (rows.unsqueeze(1) == stored).all(dim=-1).any(dim=1)


def test_every_method_of_the_paper_has_an_overlay():
    assert sorted(path.stem for path in OVERLAYS.glob("*.yaml")) == sorted(
        [*METHODS, *BEYOND_THE_PAPER, *OBJECTS, *PLANNERS]
    )


@pytest.mark.parametrize("method", [*METHODS, *BEYOND_THE_PAPER])
def test_an_overlay_is_one_screen(method):
    assert len((OVERLAYS / f"{method}.yaml").read_text().splitlines()) <= 50


def test_the_two_overlays_of_plangan_have_the_same_settings_of_the_model_and_differ_in_planner_and_batches(tmp_path):
    paper, original = (resolved(tmp_path, method)["model"]["init_args"] for method in PLANNERS)
    assert {name for name in paper if paper[name] != original[name]} == {"planner", "gan_share"}
    assert (
        paper["planner"]["init_args"] | {"initial_actions": 25, "copies": 100, "choose": "mean"}
        == original["planner"]["init_args"]
    )


@pytest.mark.parametrize("method", METHODS)
def test_an_overlay_fits_with_its_parts_and_no_others_and_names_the_run(method, build, tmp_path):
    cli = build("point2d", overlay(method), **{"data.batches_per_episode": 2})
    agent = cli.model
    if method in PARTS:
        own = (agent.relabel, agent.td_target, agent.batch_source, cli.datamodule.sampler)
        assert type(agent) is MHER
        assert (*map(type, own), agent.imitation_weight, agent.dynamics is not None) == PARTS[method]
    else:
        assert (type(agent), type(agent.relabel)) == (GCSL, Future)
    cli.trainer.fit(agent, cli.datamodule)
    folder = tmp_path / "Point2DLarge-v1" / method / "seed_0"
    assert (folder / "config.yaml").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert "eval/success_rate" in cli.trainer.callback_metrics


SLOW_TASKS = [pytest.param(task, marks=pytest.mark.slow) for task in ("four_room", "fetch", "sawyer")]


@pytest.mark.parametrize("task", ["reacher", *SLOW_TASKS])
@pytest.mark.parametrize("method", [*METHODS, *BEYOND_THE_PAPER, *PLANNERS])
def test_an_overlay_stacks_on_every_task(method, task, build):
    cli = build(task, overlay(method))
    assert cli.model.task is cli.datamodule.task
    assert Path(cli.trainer.default_root_dir).parent.name == method


def test_no_two_methods_are_composed_alike():
    assert len(set(PARTS.values())) == len(PARTS)


@pytest.mark.parametrize("method", METHODS)
def test_what_no_method_changes_is_as_in_mher(method, tmp_path):
    reference, other = yaml.safe_load((OVERLAYS.parent / "point2d.yaml").read_text()), resolved(tmp_path, method)
    for key in ("discount", "polyak", "actor_lr", "hidden_sizes", "action_penalty", "inputs", "critic"):
        own = other["model"]["init_args"]
        assert key not in own or own[key] == reference["model"]["init_args"][key]
    for key in (
        "env",
        "env_kwargs",
        "episodes_per_epoch",
        "batches_per_episode",
        "capacity",
        "source",
        "exploration",
    ):
        assert other["data"][key] == reference["data"][key]
    assert other["warmup"]["episodes"] == reference["warmup"]["episodes"]
    assert other["trainer"]["max_epochs"] == reference["trainer"]["max_epochs"]


@pytest.mark.parametrize("task", ["point2d", "four_room", "fetch", "sawyer", "reacher"])
def test_the_mher_overlay_changes_nothing_and_no_sl_not_the_goals(tmp_path, task):
    plain, mher, no_sl = (resolved(tmp_path, *methods, task=task) for methods in ((), ("mher",), ("no_sl",)))
    assert plain == mher
    assert plain["model"]["init_args"]["relabel"] == no_sl["model"]["init_args"]["relabel"]


def test_ddpg_never_changes_a_goal(build):
    run = Trained(build, "ddpg")
    batch = run.batches
    assert len(batch) == 20 * 64
    assert among(batch["desired_goal"], run.stored("desired_goal")).all()
    assert not batch["relabelled"].any()
    assert run.agent.dynamics is None


def test_her_relabels_with_goals_achieved_and_keeps_a_fifth(build):
    run = Trained(build, "her")
    batch = run.batches
    assert batch["relabelled"].float().mean() == pytest.approx(0.8, abs=0.05)
    rows = batch[batch["relabelled"]]
    assert among(rows["desired_goal"], run.stored("achieved_goal")).all()
    assert torch.equal(rows["desired_goal"], rows["hindsight_goal"])
    kept = batch[~batch["relabelled"]]
    assert torch.equal(kept["desired_goal"], kept["original_goal"])


def test_mher_relabels_with_goals_that_were_not_all_achieved_and_imitates_them(build):
    run = Trained(build, "mher")
    batch = run.batches
    assert batch["relabelled"].float().mean() == pytest.approx(0.8, abs=0.05)
    real = among(batch[batch["relabelled"]]["desired_goal"], run.stored("achieved_goal"))
    assert real.float().mean() == pytest.approx(1 / 6, abs=0.06)  # s_{t+1} itself is one of six candidates
    assert run.agent.imitation_weight == 3.0


def test_no_sl_sees_the_batches_of_mher_and_ignores_their_actions(build):
    run = Trained(build, "no_sl")
    batch = run.actor_batches[-1].clone()
    assert batch["relabelled"].any()
    loss = run.agent.actor_loss(batch).item()
    batch["action"] = -batch["action"]
    assert run.agent.actor_loss(batch).item() == loss


def test_no_mbr_shows_original_goals_to_the_rl_losses_and_others_to_the_supervised_one(build):
    run = Trained(build, "no_mbr")
    batch = run.batches
    assert among(batch["desired_goal"], run.stored("desired_goal")).all()
    assert torch.equal(batch["desired_goal"], batch["original_goal"])
    assert torch.equal(batch["reward"], run.data.task.reward(batch["next", "achieved_goal"], batch["original_goal"]))
    changed = (batch["imitation_goal"] != batch["original_goal"]).any(dim=1)
    assert torch.equal(changed, batch["relabelled"])
    assert changed.float().mean() == pytest.approx(0.8, abs=0.05)
    loss = run.agent.actor_loss(batch).item()
    batch["action"] = -batch["action"]
    assert run.agent.actor_loss(batch).item() != loss, "the replayed actions count"


@pytest.mark.parametrize(("method", "share"), [("mbpo", 0.0), ("mbpo_her", 0.8)])
def test_mbpo_trains_on_model_data_only_under_original_or_with_her_mostly_hindsight_goals(method, share, build):
    run = Trained(build, method)
    batch = run.batches
    assert len(batch) == 20 * 64
    assert not among(batch["next", "observation"], run.stored("observation")).any()
    real = among(batch["observation"], run.stored("observation"))
    assert real.float().mean() == pytest.approx(1 / 5, abs=0.06)  # the first of five steps leaves a replayed state
    assert run.agent.batch_source.filled == 20 * 64 * 5
    assert among(batch["desired_goal"], run.stored("desired_goal")).float().mean() == pytest.approx(1 - share, abs=0.05)
    assert among(batch["desired_goal"], run.stored("achieved_goal")).float().mean() == pytest.approx(share, abs=0.05)


def test_mapgo_trains_on_a_few_replayed_transitions_and_on_many_of_a_model_that_was_refitted(build):
    run = Trained(build, "mapgo")
    batch = run.batches
    assert {len(rows) for rows in run.critic_batches} == {64}
    real = among(batch["next", "observation"], run.stored("observation"))
    assert real.float().mean() == pytest.approx(3 / 64)
    assert not among(batch[~real]["desired_goal"], run.stored("desired_goal")).all()
    assert among(batch[~real]["desired_goal"], run.stored("desired_goal")).float().mean() == pytest.approx(
        0.2, abs=0.05
    )
    replayed = torch.cat([rows for output in run.record.outputs for rows in output["relabelled"]])
    assert replayed["relabelled"].all()
    far = among(replayed["desired_goal"], run.stored("achieved_goal"))
    assert far.float().mean() == pytest.approx(0.66, abs=0.06)  # a mean over t of max(0, 1 - 10 / (100 - t))


@pytest.mark.parametrize(("method", "share"), [("mve", 0.0), ("mve_her", 0.8)])
def test_mve_trains_on_replayed_transitions_with_expanded_targets(method, share, build):
    run = Trained(build, method)
    batch, agent = run.batches, run.agent
    assert among(batch["next", "observation"], run.stored("observation")).all()
    assert batch["relabelled"].float().mean() == pytest.approx(share, abs=0.05)
    assert agent.td_target.horizon == 5
    assert not torch.allclose(agent.td_target(batch, agent), OneStep()(batch, agent))


def test_cher_learns_from_half_of_its_candidates(build):
    run = Trained(build, "cher")
    assert run.data.batch_size == 128
    assert {len(batch) for batch in run.critic_batches} == {64}
    assert {len(batch) for output in run.record.outputs for batch in output["relabelled"]} == {64}
    assert run.batches["relabelled"].float().mean() == pytest.approx(0.8, abs=0.05)
    rows = run.batches[run.batches["relabelled"]]
    assert among(rows["desired_goal"], run.stored("achieved_goal")).all()


def test_mep_draws_episodes_by_the_rank_of_their_density(build):
    run = Trained(build, "mep", **{"warmup.episodes": 12})
    sampler = run.data.sampler
    assert sampler.mixture is not None
    likeliest_first = (-torch.as_tensor(sampler.log_density)).argsort()
    assert sampler.weights[likeliest_first].tolist() == list(range(1, 14))
    assert run.batches["relabelled"].float().mean() == pytest.approx(0.8, abs=0.05)


def test_random_goals_lie_in_the_goal_space_and_were_not_achieved(build):
    run = Trained(build, "random_goals", **{"data.env_kwargs": "{boundary_dist: 4.0}"})
    rows = run.batches[run.batches["relabelled"]]
    assert not among(rows["desired_goal"], run.stored("achieved_goal")).any()
    assert not among(rows["desired_goal"], run.stored("desired_goal")).any()
    assert rows["desired_goal"].abs().max() == pytest.approx(4.0, abs=0.1)


def test_goal_noise_moves_hindsight_goals_by_a_hundredth(build):
    run = Trained(build, "goal_noise")
    rows = run.batches[run.batches["relabelled"]]
    noise = rows["desired_goal"] - rows["hindsight_goal"]
    assert noise.std() == pytest.approx(0.01, rel=0.1)
    kept = run.batches[~run.batches["relabelled"]]
    assert torch.equal(kept["desired_goal"], kept["original_goal"])


def test_gcsl_has_no_critic(build):
    run = Trained(build, "gcsl")
    assert type(run.agent) is GCSL
    assert not any("critic" in name or "target" in name for name, _ in run.agent.named_parameters())
    assert run.agent.value(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)) is None


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("mher", {"model.init_args.relabel.init_args.steps": 0}),
        ("mher", {"model.init_args.relabel.init_args.ratio": 0.0}),
        ("mher", {"model.init_args.relabel.init_args.ratio": 1.0}),
        ("mher", {"model.init_args.imitation_weight": 0.0}),
        ("her", {"model.init_args.relabel.init_args.ratio": 0.0}),
        ("her", {"model.init_args.relabel.init_args.ratio": 1.0}),
        ("mve", {"model.init_args.td_target.init_args.horizon": 1}),
        ("mbpo_her", {"model.init_args.batch_source.init_args.steps": 1}),
        ("cher", {"model.init_args.relabel.init_args.share": 1.0}),
        ("goal_noise", {"model.init_args.relabel.init_args.std": 0.0}),
        ("mapgo", {"model.init_args.relabel.init_args.steps": 0}),
        ("mapgo", {"model.init_args.batch_source.init_args.real_share": 1.0}),
        ("mapgo", {"model.init_args.batch_source.init_args.real_share": 0.0}),
    ],
    ids=str,
)
def test_the_ends_of_the_ranges_work(method, overrides, build):
    run = Trained(build, method, **{"data.batches_per_episode": 5} | overrides)
    assert all(torch.isfinite(parameter).all() for parameter in run.agent.parameters())


def test_her_with_ratio_0_is_ddpg(build):
    few = {"data.batches_per_episode": 5}
    her = Trained(build, "her", **few | {"model.init_args.relabel.init_args.ratio": 0.0})
    ddpg = Trained(build, "ddpg", **few)
    for a, b in zip(her.agent.actor.parameters(), ddpg.agent.actor.parameters(), strict=True):
        assert torch.equal(a, b)
