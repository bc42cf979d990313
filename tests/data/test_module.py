import pytest
import torch
from tensordict import TensorDict
from torch import nn

from mher_pl.data.episode import without_padding
from mher_pl.errors import UserError
from mher_pl.exploration import NoisyActor
from mher_pl.practice import GivenGoals

TINY = {
    "data.env": "goal_tasks:Ends-v0",
    "data.env_kwargs": "{}",
    "data.batch_size": 16,
    "data.batches_per_episode": 3,
    "model.init_args.hidden_sizes": "[8]",
    "model.init_args.critic.init_args.hidden_sizes": "[8]",
    "relabel_goals.every_n_epochs": 0,
}


class Watched(NoisyActor):
    """Keeps how many rows it was asked for, and in which kind of episode."""

    def __init__(self) -> None:
        super().__init__(noise=0.2, random_action_probability=0.3)
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, act, observation, goal, action_size, generator, random, begins):
        self.asked.append((len(observation), random))
        return super().__call__(act, observation, goal, action_size, generator, random, begins)


@pytest.mark.parametrize("num_envs", [1, 2])
def test_an_epoch_has_its_episodes_and_batches_however_many_environments_collect_them(build, num_envs: int):
    settings = {"data.num_envs": num_envs, "data.episodes_per_epoch": 6, "warmup.episodes": 4}
    run = build("point2d", "algorithms/her", **TINY | settings)
    data, steps = run.datamodule, []
    data.exploration = watched = Watched()
    closed, close = [], data.source.close
    data.source.close = lambda: closed.append(len(data.replay)) or close()
    training_step = run.model.training_step
    run.model.training_step = lambda batches, batch_idx: steps.append(len(batches)) or training_step(batches, batch_idx)
    run.trainer.fit(run.model, data)
    assert steps == [3 * num_envs] * (6 // num_envs)
    assert run.trainer.global_step == 18
    assert data.episodes == len(data.replay) == 10
    assert data.env_steps == int(data.replay.episodes["length"].sum()) < 10 * data.task.horizon
    assert run.model.inputs.normalizer.sums[0, 0] == 2 * data.env_steps, "no padding is among the statistics"
    assert {rows for rows, _ in watched.asked[1:]} == {num_envs}
    kinds = [random for _, random in watched.asked]
    assert kinds.index(True) < kinds.index(False, kinds.index(True)), "random episodes come first"
    assert closed == [10]
    assert {batch.shape for batch in data.replayed()} == {(16,)}
    numbers = data.replay.episodes.select("observation", "achieved_goal", "desired_goal", "action")
    assert sum(value.nbytes for value in numbers.values()) == 10 * data.task.episode_bytes


def test_without_a_number_there_is_a_batch_for_each_step_that_an_episode_may_have(build):
    run = build("point2d", "algorithms/her", **TINY | {"data.batches_per_episode": None})
    run.trainer.fit(run.model, run.datamodule)
    assert len(run.datamodule.replayed()) == run.datamodule.task.horizon == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.num_envs": 0}, "data.num_envs is 0; allowed: an integer of at least 1"),
        ({"data.num_envs": 4}, "data.episodes_per_epoch is 6; allowed: a multiple of data.num_envs, 4"),
        ({"data.num_envs": 3, "warmup.episodes": 4}, "warmup.episodes is 4; allowed: a multiple of data.num_envs, 3"),
        (
            {"data.num_envs": 10**6, "data.episodes_per_epoch": 10**6},
            "data.num_envs is 1000000, which takes 49,999.9 GB",
        ),
        ({"data.episodes_per_epoch": 0}, "data.episodes_per_epoch is 0; allowed: an integer of at least 1"),
        ({"data.batches_per_episode": 0}, "data.batches_per_episode is 0; allowed: an integer of at least 1"),
        ({"data.batch_size": 0}, "data.batch_size is 0; allowed: an integer of at least 1"),
        ({"data.batch_size": 10**9}, "data.batch_size is 1000000000, which takes "),
        ({"data.capacity": 11}, "data.capacity is 11; allowed: at least one episode of goal_tasks:Ends-v0, 12 transi"),
        ({"data.capacity": 10**12}, "data.capacity is 1000000000000, which takes "),
    ],
)
def test_numbers_that_do_not_fit_are_refused(build, settings: dict, message: str):
    with pytest.raises(UserError, match=message):  # noqa: PT012  (some are refused when it begins to train)
        run = build("point2d", "algorithms/her", **TINY | {"data.episodes_per_epoch": 6} | settings)
        run.trainer.fit(run.model, run.datamodule)


class Learned(GivenGoals, nn.Module):
    """A practice with weights."""


def test_a_part_whose_weights_would_be_lost_is_refused(build):
    with pytest.raises(UserError, match=r"data.practice is 'Learned'; allowed: a part that is no nn.Module, whose wei"):
        build("point2d", "algorithms/her", **TINY | {"data.practice": f"{__name__}.Learned"})


def test_environments_that_share_a_process_take_no_memory_of_their_own(build):
    many = {"data.num_envs": 10_000, "data.episodes_per_epoch": 10_000, "warmup.episodes": 10_000}
    assert build("point2d", **many | {"data.batches_per_episode": 1}).datamodule.num_envs == 10_000


def test_a_replay_may_hold_a_single_episode(build):
    assert build("point2d", "algorithms/her", **TINY | {"data.capacity": 12}).datamodule.capacity == 12


def test_a_checkpoint_of_another_form_of_the_task_is_refused(build):
    data = build("point2d", "algorithms/her", **TINY).datamodule
    with pytest.raises(UserError, match=r"data.env_kwargs is {}; allowed: {'size': 2}, as in the checkpoint"):
        data.require_own({"env_kwargs": {"size": 2}, "position": 0, "workers": []})


def test_without_padding_an_episode_has_the_steps_that_were_taken_and_the_state_after_them():
    time = torch.arange(6.0).unsqueeze(1)
    vectors = {"observation": time, "achieved_goal": time, "desired_goal": time[:-1], "action": time[:-1]}
    flags = {"length": torch.tensor(3), "failed": torch.tensor(True)}
    taken = without_padding(TensorDict(vectors | flags))
    assert {key: value.flatten().tolist() for key, value in taken.items()} == {
        "observation": [0.0, 1.0, 2.0, 3.0],
        "achieved_goal": [0.0, 1.0, 2.0, 3.0],
        "desired_goal": [0.0, 1.0, 2.0],
        "action": [0.0, 1.0, 2.0],
    }
