import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from trained_runs import assert_same_run

import mher_pl
from mher_pl.errors import UserError
from mher_pl.inputs import RelativeGoals
from mher_pl.relay import sub_task
from mher_pl.run.api import load
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file

SHORT = {
    "data.episodes_per_epoch": 2,
    "data.batches_per_episode": 4,
    "data.batch_size": 16,
    "warmup.episodes": 2,
    "warmup.updates": 2,
    "evaluation.episodes": 3,
    "trainer.max_epochs": 1,
    "trainer.enable_progress_bar": False,
}
GRIPPER, OBJECT = slice(0, 3), slice(3, 6)


def fit(build, task="push", overlay="mher_relay", **overrides):
    """Train for a moment."""
    cli = build(task, f"algorithms/{overlay}", **SHORT | overrides)
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return module, data and trainer after a small fit, and the weights before."""
    cli = load("push", "mher_relay", **SHORT | {"trainer.default_root_dir": tmp_path_factory.mktemp("relay")})
    cli.model.configure_model()
    before = copy.deepcopy(cli.model.state_dict())
    cli.trainer.fit(cli.model, cli.datamodule)
    return SimpleNamespace(model=cli.model, datamodule=cli.datamodule, trainer=cli.trainer, before=before)


def test_the_guides_batches_are_of_bringing_the_gripper_to_the_object(run):
    agent = run.model
    batch = run.datamodule.sample(500)
    own = agent.guide.own(batch)
    assert torch.equal(own["achieved_goal"], batch["observation"][:, GRIPPER])
    assert torch.equal(own["next", "achieved_goal"], batch["next", "observation"][:, GRIPPER])
    assert torch.equal(own["desired_goal"], batch["observation"][:, OBJECT])
    grippers = run.datamodule.replay.episodes["observation"][..., GRIPPER].flatten(0, 1)
    assert (own["hindsight_goal"].unsqueeze(1) == grippers).all(dim=-1).any(dim=1).all(), "where it came later"
    for state in (batch, batch["next"]):
        assert torch.equal(state["achieved_goal"], state["observation"][:, OBJECT]), "the agent's batch is as before"


def test_the_guides_rewards_are_the_tasks_own_of_the_gripper(run):
    guide = run.model.guide
    batch = guide.relabel(guide.own(run.datamodule.sample(500)), guide, torch.Generator().manual_seed(0))
    distance = (batch["next", "observation"][:, GRIPPER] - batch["desired_goal"]).norm(dim=-1)
    assert torch.equal(batch["reward"] == 0.0, distance <= 0.05)
    assert 0.0 < (batch["reward"] == 0.0).float().mean() < 1.0


def test_agent_and_guide_learn_each_in_networks_of_their_own(run):
    before, after = run.before, run.model.state_dict()
    for network in ("actor", "critic", "actor_target", "critic_target"):
        for name in (network, f"guide.{network}"):
            weights = [key for key in after if key.startswith(f"{name}.")]
            assert weights
            assert any(not torch.equal(before[key], after[key]) for key in weights), name
    assert {"guide/critic_loss", "guide/actor_loss"} <= run.trainer.callback_metrics.keys()


def test_the_policy_is_the_agents_not_the_guides(run):
    policy = mher_pl.load_policy(run.trainer.log_dir)
    env = mher_pl.make("FetchPush-v4")
    observation, _ = env.reset(seed=0)
    state, goal = (torch.as_tensor(observation[key], dtype=torch.float32) for key in ("observation", "desired_goal"))
    assert torch.allclose(torch.as_tensor(policy(observation)), run.model.act(state, goal), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "num_envs"),
    [(("push", "mher_relay"), 1), (("push", "mher_relay"), 2), (("pick_and_place", "mher_grasp"), 1)],
)
def test_a_resumed_run_goes_on_exactly(build, tmp_path, method, num_envs):
    envs = {"data.num_envs": num_envs}
    whole, parts = (envs | {"trainer.default_root_dir": tmp_path / name} for name in ("whole", "parts"))
    folder = fit(build, *method, **whole, **{"trainer.max_epochs": 2}).trainer.log_dir
    fit(build, *method, **parts)
    resumed = fit(build, *method, **parts, **{"trainer.max_epochs": 2, "ckpt_path": "last"}).trainer.log_dir
    assert_same_run(Path(folder), Path(resumed))


def test_what_the_guide_logs_can_end_a_run(build):
    settings = {"monitor": "guide/critic_loss", "stopping_threshold": 1e9}
    stop = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": settings}
    assert fit(build, **{"trainer.callbacks": [stop], "trainer.max_epochs": 2}).trainer.current_epoch == 1


def test_both_count_their_batches_over_a_resume(run, build):
    again = build("push", "algorithms/mher_relay", **SHORT)
    again.model.load_state_dict(read_checkpoint(checkpoint_file(run.trainer.log_dir))["state_dict"])
    counts = [(model.batches, model.guide.batches) for model in (run.model, again.model)]
    assert counts == [(8, 2)] * 2


@pytest.mark.parametrize("entries", [[0, 1], [0, 1, 25], [0, 0, 1]])
def test_a_sub_goal_has_as_many_entries_of_the_observation_as_a_goal(build, entries):
    allowed = "allowed: 3 different entries, as many as a goal has, of the 25 of an observation"
    with pytest.raises(UserError) as refused:
        build("push", "algorithms/mher_relay", **{"model.moved": entries})
    assert str(refused.value) == f"model.moved is {entries}; {allowed}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.at": [0, 1, 2]}, r"model.at is [0, 1, 2]; allowed: other entries than model.moved"),
        ({"model.relabel": "mher_pl.relabel.Keep"}, "model.relabel is 'Keep'; allowed: one that relabels a"),
    ],
)
def test_a_guide_that_could_learn_nothing_is_refused(build, settings, message):
    with pytest.raises(UserError) as refused:
        build("push", "algorithms/mher_relay", **settings)
    assert message in str(refused.value)


def test_a_guided_exploration_needs_a_guide(build):
    exploration = {"class_path": "mher_pl.exploration.Guided", "init_args": {"guided": 0.5, "steps": 8}}
    exploration["init_args"] |= {"spread": [0.1, 0.1], "far": 1.0, "held": []}
    with pytest.raises(UserError, match=r"the agent has no guide"):
        build("point2d", **{"data.exploration": exploration})


def test_a_guide_needs_to_know_no_more_than_its_own_entries(run):
    task = copy.copy(run.datamodule.task)
    task.goal_indices, task.unclear_phi = None, "some entries equalled each other"
    RelativeGoals(1e-4, 5.0).check(sub_task(task, [0, 1, 2]))
    with pytest.raises(UserError, match=task.unclear_phi):
        RelativeGoals(1e-4, 5.0).check(task)


def test_a_run_does_not_go_on_with_other_entries_before_the_same_networks(run, build):
    checkpoint = read_checkpoint(checkpoint_file(run.trainer.log_dir))
    build("push", "algorithms/mher_relay", **SHORT | {"model.inputs.clip": 4.0}).model.require_own(checkpoint)
    other = build("push", "algorithms/mher_relay", **SHORT | {"model.inputs.places": [0, 1, 3, 4, 25, 27]})
    with pytest.raises(UserError, match=r"model\.inputs is RelativeOnly with other entries than in the checkpoint; "):
        other.model.require_own(checkpoint)
