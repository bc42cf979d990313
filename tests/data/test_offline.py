"""Training from episodes that were collected before."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from toy import Bare
from trained_runs import assert_same_run, fit, run_folder, scalars, state

import mher_pl
from mher_pl.data import MinariEpisodes, StoredEpisodes
from mher_pl.data.offline import unit_actions
from mher_pl.errors import UserError
from mher_pl.inspection import inspect_task
from mher_pl.storage.checkpoint import read_checkpoint

POINT = "mher_pl/Point2DLarge-v1"
EPISODES, STEPS = 5, 100  # of the stored run: 2 random ones, and 3 epochs of one


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """The folder of a small run that collected its episodes."""
    root = tmp_path_factory.mktemp("stored")
    assert fit(root, "--data.episodes_per_epoch=1", epochs=3) == 0
    return run_folder(root)


@pytest.fixture
def datasets(tmp_path, monkeypatch) -> Path:
    """An empty folder of Minari data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def record(name: str, env: gym.Env, episodes: int = 4) -> list[EpisodeBuffer]:
    """Record episodes of random actions as a Minari data set, and return what was recorded."""
    env.action_space.seed(0)
    buffers = []
    for number in range(episodes):
        observations, actions, rewards, ends = [env.reset(seed=number)[0]], [], [], []
        while not ends or not any(ends[-1]):
            actions.append(env.action_space.sample())
            observation, reward, *end, _ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(reward)
            ends.append(end)
        terminations, truncations = zip(*ends, strict=True)
        first = observations[0]
        keys = first if isinstance(first, dict) else None
        states = np.stack(observations) if keys is None else {k: np.stack([o[k] for o in observations]) for k in keys}
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=states,
                actions=np.stack(actions),
                rewards=rewards,
                terminations=list(terminations),
                truncations=list(truncations),
            )
        )
    with warnings.catch_warnings(action="ignore"):  # what else one could say of a data set
        spaces_of = {"observation_space": env.observation_space, "action_space": env.action_space}
        minari.create_dataset_from_buffers(name, buffers, **spaces_of)
    env.close()
    return buffers


def point(**kwargs) -> gym.Env:
    return mher_pl.make(POINT, **kwargs)


def read(source, env: str = POINT, **env_kwargs):
    """All episodes of a source for a task."""
    source.open(inspect_task(env, env_kwargs, None), env_kwargs, 1, None, None, None, 0)
    return source.all()


def offline(root: Path, source: str, *options: str, epochs: int = 2) -> int:
    """Run a small `fit` on a source, given as class and argument."""
    cls, argument = source.split(" ")
    return fit(
        root,
        f"--data.source=mher_pl.data.{cls}",
        f"--data.source.init_args.{argument}",
        "--data.episodes_per_epoch=2",
        *options,
        epochs=epochs,
    )


class TestStoredEpisodes:
    def test_are_those_of_the_runs_replay(self, stored):
        episodes = read(StoredEpisodes(str(stored)), boundary_dist=5.0)
        replay = state(stored)
        assert len(episodes) == EPISODES
        for key, value in episodes.items():
            assert torch.equal(replay[f"/GoalDataModule/workers/0/replay/episodes/{key}"], value)

    @pytest.mark.parametrize(
        ("state", "ends"),
        [
            ({"seen": {"ended_at_goal": True, "went_on_at_goal": False}}, True),
            ({"seen": {"ended_at_goal": True, "went_on_at_goal": True}}, False),
            ({}, False),
        ],
        ids=["ends", "not always", "own source"],
    )
    def test_tell_whether_episodes_end_at_their_goals(self, stored, monkeypatch, state, ends):
        def edited(*args):
            checkpoint = read_checkpoint(*args)
            checkpoint["GoalDataModule"]["workers"][0]["parts"]["source"]["state"] = state
            return checkpoint

        monkeypatch.setattr("mher_pl.data.offline.read_checkpoint", edited)
        source = StoredEpisodes(str(stored))
        read(source, boundary_dist=5.0)
        assert source.task.ends_at_goal == ends

    def test_a_run_learns_from_all_of_them_at_once_and_collects_nothing(self, stored, tmp_path, monkeypatch):
        monkeypatch.setattr("mher_pl.data.collect.Collected.next", None)
        assert offline(tmp_path, f"StoredEpisodes path={stored}") == 0
        own, before = state(run_folder(tmp_path)), state(stored)
        observation = next(key for key in own if key.endswith("/replay/episodes/observation"))
        assert torch.equal(own[observation], before[observation])
        points = scalars(run_folder(tmp_path))
        assert {step for tag, step in points if tag == "eval/success_rate"} == {2 * STEPS, 4 * STEPS}
        assert {step for tag, step in points if tag == "train/model_loss"} == {2 * STEPS, 4 * STEPS}
        assert (points["epoch", 2 * STEPS], points["epoch", 4 * STEPS]) == (0, 1)
        assert str(own["/GoalDataModule/env_steps"]) == str(4 * STEPS), "a whole number"
        assert not any(tag == "train/success_rate" for tag, _ in points)

    def test_an_agent_that_logs_nothing_may_learn_from_them(self, stored, build):
        source = {"class_path": "mher_pl.data.StoredEpisodes", "init_args": {"path": str(stored)}}
        cli = build("point2d", **{"data.source": source, "relabel_goals.every_n_epochs": 0})
        cli.trainer.fit(Bare(cli.datamodule.task), cli.datamodule)
        assert "eval/success_rate" in cli.trainer.callback_metrics

    def test_a_resumed_run_equals_one_without_interruption_and_needs_them_no_more(self, stored, tmp_path):
        copy = tmp_path / "copy.ckpt"
        copy.write_bytes((stored / "checkpoints" / "last.ckpt").read_bytes())
        source = f"StoredEpisodes path={copy}"
        assert offline(tmp_path / "whole", source, epochs=3) == 0
        assert offline(tmp_path / "parts", source) == 0
        copy.unlink()
        assert offline(tmp_path / "parts", source, "--ckpt_path=last", epochs=3) == 0
        assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "parts"))

    def test_a_run_on_them_does_not_go_on_as_one_that_collects(self, stored, tmp_path, capsys):
        assert offline(tmp_path, f"StoredEpisodes path={stored}") == 0
        assert fit(tmp_path, "--data.episodes_per_epoch=2", "--ckpt_path=last", epochs=3) == 1
        assert "data.source is Collected; allowed: StoredEpisodes, as in the checkpoint" in capsys.readouterr().err

    def test_more_than_the_replay_holds_are_refused(self, stored, tmp_path, capsys):
        assert offline(tmp_path, f"StoredEpisodes path={stored}", "--data.capacity=400") == 1
        assert "data.capacity is 400; allowed: at least 500, for the 5 episodes of" in capsys.readouterr().err

    def test_of_another_task_are_refused(self, stored):
        with pytest.raises(UserError, match="whose task is 'mher_pl/Point2DLarge-v1'; allowed for mher_pl/Reacher-v1"):
            read(StoredEpisodes(str(stored)), "mher_pl/Reacher-v1")
        with pytest.raises(
            UserError, match=r"whose data.env_kwargs is \{.*\}; allowed for .*: \{'max_episode_steps': 50"
        ):
            read(StoredEpisodes(str(stored)), max_episode_steps=50)

    def test_a_path_without_a_checkpoint_is_named(self, tmp_path):
        with pytest.raises(
            UserError, match=r"data.source.path is '.*', a folder without checkpoints/last.ckpt; allowed: a checkpoint"
        ):
            read(StoredEpisodes(str(tmp_path)))
        (tmp_path / "bad.ckpt").write_bytes(b"nothing")
        with pytest.raises(UserError, match=r"data.source.path is '.*', which is damaged or no checkpoint"):
            read(StoredEpisodes(str(tmp_path / "bad.ckpt")))


class TestMinariEpisodes:
    def test_are_those_that_were_recorded(self, datasets):
        recorded = record("point/random-v0", point())
        episodes = read(MinariEpisodes("point/random-v0"))
        assert len(episodes) == 4
        for episode, own in zip(episodes, recorded, strict=True):
            for key in ("observation", "achieved_goal"):
                assert np.allclose(episode[key], own.observations[key])
            assert np.allclose(episode["desired_goal"], own.observations["desired_goal"][:-1])
            assert np.allclose(episode["action"], own.actions)
            assert (episode["length"], episode["failed"]) == (STEPS, False)

    def test_a_run_learns_from_them(self, datasets, tmp_path):
        record("point/random-v0", point())
        assert offline(tmp_path, "MinariEpisodes dataset=point/random-v0") == 0
        own = state(run_folder(tmp_path))
        observation = next(value for key, value in own.items() if key.endswith("/replay/episodes/observation"))
        assert len(observation) == 4

    def test_that_end_early_are_padded_and_told_by_how_they_ended(self, datasets):
        recorded = record("ends/random-v0", gym.make("goal_tasks:Ends-v0"), episodes=30)
        source = MinariEpisodes("ends/random-v0")
        episodes = read(source, "goal_tasks:Ends-v0")
        assert episodes["length"].tolist() == [len(episode.actions) for episode in recorded]
        assert len(set(episodes["length"].tolist())) > 1
        ends = [(bool(e.terminations[-1]), float(e.rewards[-1])) for e in recorded]
        best = max(reward for _, reward in ends)
        assert episodes["failed"].tolist() == [terminated and reward < best for terminated, reward in ends]
        assert source.task.ended_at_goal == any(terminated and reward == best for terminated, reward in ends)
        assert not source.task.went_on_at_goal

    def test_tell_whether_some_went_on_at_their_goals(self, datasets):
        record("plain/random-v0", gym.make("goal_tasks:Plain-v0"), episodes=30)
        source = MinariEpisodes("plain/random-v0")
        read(source, "goal_tasks:Plain-v0")
        assert (source.task.ended_at_goal, source.task.went_on_at_goal) == (False, True)

    def test_actions_come_into_the_unit_box(self):
        box = spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float64)
        assert unit_actions(np.array([[1.0, 1.0], [-2.0, 0.5]]), box).tolist() == [[0.5, 1.0], [-1.0, 0.0]]
        assert unit_actions(np.array([[3.0, 2.0], [-3.0, -1.0]]), box).tolist() == [[1.0, 1.0], [-1.0, -1.0]]
        with pytest.raises(UserError, match="allowed: a Box with bounds"):
            unit_actions(np.zeros((1, 1)), spaces.Discrete(2))

    def test_a_data_set_without_goals_is_refused(self, datasets):
        record("pendulum/random-v0", gym.make("Pendulum-v1", max_episode_steps=10), episodes=1)
        message = "whose observations have no observation, achieved_goal, desired_goal; allowed: those of a goal env"
        with pytest.raises(UserError, match=message):
            read(MinariEpisodes("pendulum/random-v0"))

    def test_of_another_task_are_refused(self, datasets):
        record("point/random-v0", point(), episodes=1)
        with pytest.raises(UserError, match=r"whose observation is \(2,\); allowed for mher_pl/Reacher-v1: \(11,\)"):
            read(MinariEpisodes("point/random-v0"), "mher_pl/Reacher-v1")
        with pytest.raises(
            UserError, match=r"whose episode 0 has 100 steps; allowed for .*: 1 to 50, max_episode_steps"
        ):
            read(MinariEpisodes("point/random-v0"), max_episode_steps=50)

    def test_of_other_actions_are_refused(self):
        env, source = point(), MinariEpisodes("point/random-v0")
        data = SimpleNamespace(observation_space=env.observation_space, action_space=spaces.Box(-1.0, 1.0, (3,)))
        source.open(inspect_task(POINT, {}, None), {}, 1, None, None, None, 0)
        with pytest.raises(UserError, match=r"whose action is \(3,\); allowed for .*: \(2,\)"):
            source.require_goals(data, source.task)

    def test_must_show_their_goals_where_the_task_does(self, datasets):
        class Moved(gym.ObservationWrapper):
            def observation(self, observation):
                return observation | {"desired_goal": observation["desired_goal"] + 0.01}

        record("reacher/random-v0", mher_pl.make("mher_pl/Reacher-v1"), episodes=1)
        assert len(read(MinariEpisodes("reacher/random-v0"), "mher_pl/Reacher-v1")) == 1
        record("moved/random-v0", Moved(mher_pl.make("mher_pl/Reacher-v1")), episodes=1)
        with pytest.raises(UserError, match=r"data\.desired_goal_indices"):
            read(MinariEpisodes("moved/random-v0"), "mher_pl/Reacher-v1")

    @pytest.mark.parametrize("name", ["nowhere/at-all-v0", "no id", "../../etc-v0"])
    def test_a_missing_data_set_is_named_in_a_line(self, datasets, tmp_path, capsys, name):
        with pytest.raises(
            UserError, match=r"data.source.dataset is '.*'; allowed: one of `minari list local` \(\w+: .+\)"
        ):
            read(MinariEpisodes(name))

    def test_numbers_that_are_not_finite_are_refused(self, datasets, monkeypatch):
        record("point/random-v0", point(), episodes=1)
        source = MinariEpisodes("point/random-v0")
        whole = source.read

        def broken(task):
            episodes = whole(task)
            episodes["action"][0, 3] = torch.nan
            return episodes

        monkeypatch.setattr(source, "read", broken)
        with pytest.raises(
            UserError, match=r"random-v0, whose episode 0 has a action that is NaN or .*; allowed: finite"
        ):
            read(source)
