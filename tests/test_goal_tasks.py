"""Kinds of goal tasks that people bring, each through the whole program: inspected, trained, evaluated, resumed."""

from pathlib import Path

import faulty_tasks
import numpy as np
import pytest
import torch
import yaml
from goal_tasks import STEPS, within
from toy import generator
from trained_runs import ROOT, assert_same_run, fit

from mher_pl.__main__ import main
from mher_pl.errors import UserError
from mher_pl.policy import load_policy
from mher_pl.relabel import Future, Keep
from mher_pl.run.api import Loaded, load

METHODS = {path.stem: path.read_text() for path in sorted((ROOT / "configs" / "algorithms").glob("*.yaml"))}
TINY = {
    "data.env_kwargs": "{}",
    "data.episodes_per_epoch": 4,
    "data.batches_per_episode": 2,
    "data.batch_size": 16,
    "evaluation.episodes": 5,
    "relabel_goals.every_n_epochs": 0,
    "model.init_args.hidden_sizes": "[8]",
}
SMALL_CRITIC = ["--model.init_args.critic.init_args.hidden_sizes=[16]", "--data.episodes_per_epoch=4"]


def tiny(method: str) -> dict[str, object]:
    """Settings of a run of less than a second."""
    networks = ["critic", "dynamics"]
    if method == "gcsl" or method.startswith("plangan"):
        networks.remove("critic")
    if method == "gcsl" or "dynamics: null" in METHODS[method]:
        networks.remove("dynamics")
    settings = {f"model.init_args.{network}.init_args.hidden_sizes": "[8]" for network in networks}
    if method.startswith("plangan"):
        settings |= {f"model.init_args.planner.init_args.{key}": 3 for key in ("copies", "steps")}
        settings |= {
            "warmup.updates": 2,
            "data.batch_size": 48,
            "warmup.batch_size": 48,
            "trainer.check_val_every_n_epoch": 1,
        }
    elif "weight_decay" in METHODS[method]:  # of each layer
        settings["model.init_args.dynamics.init_args.weight_decay"] = "[0.0, 0.0]"
    return TINY | settings


def train(build, env: str, method: str = "her", **overrides) -> Loaded:
    """A tiny fit of a method on one of the small tasks."""
    run = build("point2d", f"algorithms/{method}", **tiny(method) | {"data.env": f"goal_tasks:{env}-v0"} | overrides)
    run.trainer.fit(run.model, run.datamodule)
    return run


def replayed(run: Loaded, relabel=None, size: int = 400):
    """Transitions of a run's replay as its losses would see them."""
    return (relabel or Keep())(run.datamodule.replay.sample(size), run.model, generator())


def reached_by_hand(batch, radius: float) -> torch.Tensor:
    """Whether the goals of a batch are reached, worked out without the task."""
    goals = (batch["next", "achieved_goal"], batch["desired_goal"])
    return torch.as_tensor(within(radius, *(goal.double().numpy() for goal in goals)))


@pytest.mark.filterwarnings("ignore:.*share an object")  # Gymnasium's own, of arrays that are used again
@pytest.mark.parametrize(
    ("env", "radius", "method"),
    [
        ("Plain", 0.3, "mher"),
        ("Ends", 0.3, "mher"),
        ("Falls", 0.3, "mher"),
        ("Stricter", 0.05, "her"),
        ("Lift", 0.3, "mher"),
        ("Integers", 0.3, "her"),
        ("Ternary", 0.3, "her"),
        ("Uneven", 0.3, "her"),
        ("Moves", 0.3, "mher"),
        ("Bytes", 12.0, "mher"),
        ("BatchOnly", 0.3, "her"),
        ("Tenfold", 0.3, "her"),
        ("PlusMinus", 0.3, "her"),
        ("OneZero", 0.3, "mher"),
        ("Reuses", 0.3, "her"),
        ("Extra", 0.3, "her"),
    ],
)
def test_a_task_trains_on_its_own_reward_and_is_evaluated(build, env: str, radius: float, method: str):
    run = train(build, env, method)
    data = run.datamodule
    assert len(data.replay) == data.episodes == 6
    assert data.env_steps == int(data.replay.episodes["length"].sum())
    for relabel in (Keep(), Future(1.0)):
        batch = replayed(run, relabel)
        reached = reached_by_hand(batch, radius)
        assert torch.equal(batch["reward"], reached.float() - 1.0)
    assert reached.any(), "a relabelled goal is reached now and then"
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())
    assert 0.0 <= run.trainer.callback_metrics["eval/success_rate"] <= run.trainer.callback_metrics["eval/success_any"]


def test_directions_train_on_their_own_reward(build):
    run = train(build, "Heading", "mher")
    for relabel in (Keep(), Future(1.0)):
        batch = replayed(run, relabel)
        cosine = (batch["next", "achieved_goal"] * batch["desired_goal"]).sum(dim=1)
        assert torch.equal(batch["reward"], (cosine > 0.9).float() - 1.0)
    assert (batch["reward"] == 0.0).any()


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"mher_grasp", "mher_relay"}))  # for tasks with an object
def test_every_method_trains_on_episodes_that_end(build, method: str):
    run = train(build, "Ends", method, **{"data.episodes_per_epoch": 8, "warmup.episodes": 10})
    data = run.datamodule
    lengths = data.replay.episodes["length"]
    assert data.task.ends_at_goal
    assert lengths.min() < STEPS
    assert data.env_steps == lengths.sum()
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())
    assert run.trainer.callback_metrics["eval/success_rate"] == run.trainer.callback_metrics["eval/success_any"]


def test_a_guide_leads_several_environments_to_an_object_in_episodes_that_end(build):
    sub_goal = {"model.moved": [0, 1], "model.at": [2, 3], "model.inputs.places": []}
    exploration = {"data.exploration.spread": [0.1, 0.1], "data.exploration.far": 0.5, "data.num_envs": 2}
    episodes = {"data.episodes_per_epoch": 20, "warmup.episodes": 10}
    run = train(build, "Pushed", "mher_relay", **sub_goal | exploration | episodes)
    data, guide = run.datamodule, run.model.guide
    lengths = data.replay.episodes["length"]
    assert lengths.min() < STEPS
    assert data.env_steps == lengths.sum()
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())
    batch = data.replay.sample(400)
    assert Keep()(batch.clone(), run.model, generator())["terminated"].any()
    own = Keep()(guide.own(batch), guide, generator())
    distance = (own["next", "observation"][:, :2] - own["desired_goal"]).norm(dim=1)
    assert torch.equal(own["reward"] == 0.0, distance <= 0.3)
    assert not own["terminated"].any(), "the episode ends where the block is at its goal, not where the hand is"


class TestEnds:
    def test_reaching_the_goal_ends_the_episode_under_the_original_and_under_a_relabelled_goal(self, build):
        run = train(build, "Ends", **{"data.episodes_per_epoch": 12})
        for relabel in (Keep(), Future(1.0)):
            batch = replayed(run, relabel)
            assert batch["terminated"].any()
            assert torch.equal(batch["terminated"], reached_by_hand(batch, 0.3))
            target = run.model.td_target(batch, run.model)
            assert (target[batch["terminated"]] == 0.0).all()
        assert not run.datamodule.replay.episodes["failed"].any()

    def test_an_episode_that_reached_its_goal_counts_as_a_success(self, build):
        run = build("point2d", "algorithms/her", **tiny("her") | {"data.env": "goal_tasks:Ends-v0"})
        tracked = []
        track = run.model.track
        run.model.track = lambda values: tracked.append(values.get("train/success_rate")) or track(values)
        run.trainer.fit(run.model, run.datamodule)
        rates = [float(rate) for rate in tracked if rate is not None]
        lengths = run.datamodule.replay.episodes["length"][2:]  # after the warm-up, which is not tracked
        assert len(rates) == len(lengths)
        assert all(rate == 1.0 for rate, length in zip(rates, lengths, strict=True) if length < STEPS)

    def test_a_task_without_ends_bootstraps_at_the_goal(self, build):
        run = train(build, "Plain")
        batch = replayed(run, Future(1.0))
        assert (batch["reward"] == 0.0).any()
        assert not batch["terminated"].any()


def test_a_fall_stays_one_under_every_goal_and_nothing_is_bootstrapped_past_it(build):
    run = train(build, "Falls", **{"data.episodes_per_epoch": 20, "data.exploration.init_args.noise": 1.0})
    episodes = run.datamodule.replay.episodes
    assert episodes["failed"].any()
    assert not run.datamodule.task.ends_at_goal
    for relabel in (Keep(), Future(1.0)):
        batch = replayed(run, relabel)
        at_edge = (batch["next", "achieved_goal"].abs() == 1.0).any(dim=1)
        original = within(0.3, batch["next", "achieved_goal"].numpy(), batch["original_goal"].numpy())
        assert torch.equal(batch["terminated"], at_edge & ~torch.as_tensor(original))
        target = run.model.td_target(batch, run.model)
        ended = batch["terminated"]
        assert ended.any()
        assert torch.equal(target[ended], batch["reward"][ended])


def test_each_transition_is_stored_under_the_goal_that_it_was_acted_for(build):
    run = train(build, "Moves", **{"data.episodes_per_epoch": 12})
    episodes = run.datamodule.replay.episodes
    goals, achieved = episodes["desired_goal"], episodes["achieved_goal"][:, 1:]
    moved = (goals[:, 1:] != goals[:, :-1]).any(dim=-1)
    reached = torch.as_tensor(within(0.3, achieved.numpy(), goals.numpy()))[:, :-1]
    assert moved.any()
    assert torch.equal(moved, reached), "the goal moves after the step that reached it, and at no other time"


class TestLift:
    UNCLEAR = '{"closes": 99}'

    @pytest.mark.parametrize("method", ["mher", "mbpo", "mve", "no_mbr"])
    def test_where_the_map_is_unclear_a_model_asks_for_it(self, build, method: str):
        with pytest.raises(UserError, match=r"data.goal_indices is null, but model's .*entries \[0, 3\]"):
            train(build, "Lift", method, **{"data.env_kwargs": self.UNCLEAR})

    def test_with_the_map_given_it_trains(self, build):
        run = train(build, "Lift", "mher", **{"data.env_kwargs": self.UNCLEAR, "data.goal_indices": "[1, 2, 3]"})
        assert run.datamodule.env_steps == 6 * 40

    def test_who_has_no_model_needs_no_map(self, build):
        assert train(build, "Lift", "her", **{"data.env_kwargs": self.UNCLEAR}).datamodule.env_steps == 6 * 40

    @pytest.mark.parametrize("method", ["mher", "her_mixed"], ids=["by a model", "by relative goals"])
    def test_a_wrong_map_is_noticed_in_a_later_episode(self, build, method: str):
        late = {"data.env_kwargs": '{"from_episode": 9}', "data.episodes_per_epoch": 12}
        message = (
            r"data.goal_indices is \[1, 2, 0\], but at step \d+ of training episode (8|9|1\d) .* the achieved goal"
        )
        with pytest.raises(UserError, match=message):
            train(build, "Lift", method, **late | {"data.goal_indices": "[1, 2, 0]"})
        assert train(build, "Lift", method, **late | {"data.goal_indices": "[1, 2, 3]"}).datamodule.episodes == 14


@pytest.mark.parametrize("method", ["mher", "mbpo_her", "mve_her", "mapgo"])
def test_a_model_learns_the_achieved_goal_that_no_observation_shows(build, method: str):
    run = train(build, "Hidden", method, **{"data.batches_per_episode": 4})
    agent, task = run.model, run.datamodule.task
    assert (task.goal_indices, task.state_size) == (None, 4)
    batch = run.datamodule.replay.sample(200)
    state = task.state(batch["observation"], batch["achieved_goal"])
    change = task.phi(agent.dynamics.predict(state, batch["action"])) - batch["achieved_goal"]
    assert change.shape == (200, 2)
    seen = (batch["next", "achieved_goal"] - batch["achieved_goal"]).abs().max()
    assert change.abs().max() < 20 * seen, "in the units of the goal"


class TestConfigured:
    """Settings of a task as a dict."""

    KWARGS = "{config: {radius: 0.1}}"

    def check(self, run: Loaded) -> None:
        goals = np.zeros((1, 2), dtype=np.float32)
        assert run.datamodule.env_kwargs == {"config": {"radius": 0.1}}
        assert run.datamodule.task.compute_reward(goals, goals + np.float32(0.1), {}) == -1.0

    def test_from_a_yaml_file(self, tmp_path: Path):
        own = tmp_path / "own.yaml"
        own.write_text(f"data:\n  env: goal_tasks:Configured-v0\n  env_kwargs: {self.KWARGS}\n")
        self.check(load("point2d", own, **{"trainer.default_root_dir": tmp_path}))

    def test_from_the_command_line_and_in_a_resumed_run(self, tmp_path: Path):
        options = ["--data.env=goal_tasks:Configured-v0", f"--data.env_kwargs={self.KWARGS}"]
        assert fit(tmp_path, *options, epochs=1) == 0
        (config,) = tmp_path.glob("*/*/seed_0/config.yaml")
        assert yaml.safe_load(config.read_text())["data"]["env_kwargs"] == {"config": {"radius": 0.1}}
        assert fit(tmp_path, *options, "--ckpt_path=last", epochs=2) == 0
        self.check(load(config, **{"trainer.default_root_dir": tmp_path / "other"}))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("Unbounded", "actions without bounds"),
        ("HalfBounded", "actions without bounds"),
        ("Costly", "step gave the reward -1"),
        ("Map", "float32 numbers cannot tell them apart"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(tmp_path: Path, capsys, env: str, message: str):
    assert fit(tmp_path, f"--data.env=goal_tasks:{env}-v0", "--data.env_kwargs={}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: data.env is 'goal_tasks:{env}-v0'")
    assert message in line
    assert "; allowed: " in line
    assert list(tmp_path.rglob("*.ckpt")) == []


class TestFailures:
    """A run that fails says where in one line."""

    @pytest.mark.parametrize(
        ("episode", "step", "place"),
        [(9, 3, "training episode 9, step 2"), (10, 0, "the reset of training episode 10")],  # not yet the inspection's
    )
    def test_of_the_environment(self, tmp_path: Path, capsys, episode: int, step: int, place: str):
        kwargs = f"--data.env_kwargs={{episode: {episode}, step: {step}}}"
        code = fit(tmp_path, "--data.env=faulty_tasks:Breaks-v0", kwargs, "--data.episodes_per_epoch=10")
        last = capsys.readouterr().err.splitlines()[-1]
        assert code == 1
        reason = "RuntimeError: the simulator lost its mind, faulty_tasks.py:"
        assert last.startswith(f"error: the environment failed in {place} ({reason}")
        assert last.endswith("and --ckpt_path last goes on")
        (kept,) = tmp_path.rglob("environment_error.txt")
        assert f"the traceback is in {kept}" in last
        assert "the simulator lost its mind" in kept.read_text()
        assert "Traceback (most recent call last)" in kept.read_text()

    def test_of_an_evaluation_with_nan(self, tmp_path: Path, capsys, monkeypatch):
        monkeypatch.setattr(faulty_tasks.Torn, "made", 0)
        code = fit(tmp_path, "--data.env=faulty_tasks:Torn-v0", "--data.env_kwargs={}")
        assert capsys.readouterr().err.splitlines()[-1] == (
            "error: observation at step 2 of an evaluation is NaN or infinite"
        )
        assert code == 1


class TestResumed:
    """A run that was stopped between epochs equals one that was not."""

    @pytest.mark.parametrize(
        ("env", "num_envs"),
        [("goal_tasks:Ends-v0", 1), ("goal_tasks:Falls-v0", 2), ("mher_pl/Point2DLarge-v1", 2)],
        ids=["ends", "falls in processes", "a batch"],
    )
    def test_run(self, tmp_path: Path, env: str, num_envs: int):
        own = [f"--data.env={env}", "--data.env_kwargs={}", f"--data.num_envs={num_envs}", *SMALL_CRITIC]
        assert fit(tmp_path / "whole", *own, epochs=2) == 0
        assert fit(tmp_path / "parts", *own, epochs=1) == 0
        assert fit(tmp_path / "parts", *own, "--ckpt_path=last", epochs=2) == 0
        (whole,), (parts,) = (list((tmp_path / name).glob("*/*/seed_0")) for name in ("whole", "parts"))
        assert_same_run(whole, parts)
        if "Falls" in env:
            self.check_export(whole, tmp_path / "policy.pt2")

    def check_export(self, run: Path, out: Path) -> None:
        assert main(["export", str(run), "--out", str(out)]) == 0
        observation, goal = torch.rand(6, 2, generator=generator()), torch.rand(6, 2, generator=generator(1))
        action = torch.export.load(out).module()(observation, goal)
        assert torch.allclose(action, load_policy(run)(observation, goal), atol=1e-6)
