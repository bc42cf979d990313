import re
import traceback

import faulty_tasks
import goal_tasks
import gymnasium
import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from mher_pl.data.collect import Collected
from mher_pl.data.episode_env import EpisodeEnv
from mher_pl.envs import make, make_vec
from mher_pl.errors import EnvironmentFailed, NonFiniteError, UserError
from mher_pl.exploration import Exploration, NoisyActor
from mher_pl.inspection import inspect_task
from mher_pl.practice import GivenGoals, NextGoals, Practice
from mher_pl.streams import Stream, stream_seed

SEED = 3


def collector(
    env: str = "mher_pl/Point2DLarge-v1",
    noise: float = 0.2,
    random: float = 0.3,
    action: float = 0.25,
    num_envs: int = 1,
    practice: Practice | None = None,
    exploration: Exploration | None = None,
    **env_kwargs,
) -> Collected:
    """Episodes of an actor whose every action is the same."""
    task = inspect_task(env, env_kwargs, None)

    def act(observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return torch.full((*observation.shape[:-1], task.action_size), action)

    collected = Collected()
    explored, practised = exploration or NoisyActor(noise, random), practice or GivenGoals()
    collected.open(task, env_kwargs, num_envs, explored, practised, act, SEED)
    return collected


def next_one(collect: Collected, random: bool = False):
    """The next episode of a single environment."""
    (episode,) = collect.next(random).unbind(0)
    return episode


def alone(env: str, number: int, actions: np.ndarray, **env_kwargs) -> list[tuple[dict, float, bool, dict]]:
    """What the environment itself shows in a run's episode `number`: reset, then steps until it ends."""
    single = make(env, **env_kwargs)
    seed = stream_seed(SEED, Stream.EPISODES, number)
    shown = [({key: value.copy() for key, value in single.reset(seed=seed)[0].items()}, 0.0, False, {})]
    for action in actions:
        observation, reward, terminated, truncated, info = single.step(action)
        shown.append(({key: value.copy() for key, value in observation.items()}, reward, terminated, info))
        if terminated or truncated:
            break
    return shown


@pytest.mark.filterwarnings("ignore:.*share an object")
@pytest.mark.parametrize(
    ("env", "num_envs"),
    [
        ("mher_pl/Point2DLarge-v1", 1),
        ("mher_pl/Point2DLarge-v1", 3),
        ("FetchReach-v4", 1),
        ("goal_tasks:Ends-v0", 1),
        ("goal_tasks:Ends-v0", 2),
        ("goal_tasks:Falls-v0", 1),
        ("goal_tasks:Moves-v0", 1),
        ("goal_tasks:Reuses-v0", 1),
        ("goal_tasks:Bytes-v0", 1),
    ],
)
def test_episodes_equal_the_raw_environment_step_by_step(env: str, num_envs: int):
    collect = collector(env, num_envs=num_envs, action=0.5, noise=0.5)
    lengths, horizon = set(), collect.task.horizon
    for first in range(0, 8 if horizon < 100 else 2, num_envs):
        for number, episode in enumerate(collect.next().unbind(0), start=first):
            shown = alone(env, number, episode["action"].numpy())
            length = len(shown) - 1
            lengths.add(length)
            assert episode["length"] == length
            for t, (observation, *_) in enumerate(shown):
                for key in ("observation", "achieved_goal", "desired_goal")[: 3 if t < length else 2]:
                    np.testing.assert_array_equal(episode[key][t].numpy(), observation[key].astype(np.float32))
            *_, (_, reward, terminated, info) = shown
            assert episode["is_success"] == bool(info["is_success"])
            assert episode["failed"] == (terminated and reward < 0)
            assert (len(episode["observation"]), len(episode["action"])) == (horizon + 1, horizon)
            assert (len(episode["achieved_goal"]), len(episode["desired_goal"])) == (horizon + 1, horizon)
    assert (lengths != {horizon}) == (env in ("goal_tasks:Ends-v0", "goal_tasks:Falls-v0"))
    collect.close()


@pytest.mark.parametrize("num_envs", [1, 2])
def test_the_environment_keeps_torchrls_contract(num_envs: int):
    envs = make_vec("mher_pl/Point2DLarge-v1", num_envs=num_envs)
    check_env_specs(EpisodeEnv(envs, horizon=100, seed=SEED), check_dtype=True)


@pytest.mark.parametrize("env", ["mher_pl/Point2DLarge-v1", "goal_tasks:Ends-v0"])
def test_several_environments_run_the_episodes_that_one_runs_after_another(env: str):
    one, three = (collector(env, noise=0.0, random=0.0, num_envs=num_envs) for num_envs in (1, 3))
    for _ in range(2):
        together = three.next()
        for i in range(3):
            episode = next_one(one)
            length = int(episode["length"])
            for key in ("length", "failed", "is_success"):
                assert episode[key] == together[key][i]
            for key, end in {"observation": length + 1, "achieved_goal": length + 1, "desired_goal": length}.items():
                assert torch.equal(episode[key][:end], together[key][i, :end])
    three.close()


def test_exploration_is_noise_around_the_actor_and_now_and_then_uniform():
    collect = collector(noise=0.01, random=0.3)
    actions = torch.cat([next_one(collect)["action"] for _ in range(20)])
    near = ((actions - 0.25).abs() < 0.05).all(dim=1)
    assert near.float().mean().item() == pytest.approx(0.7, abs=0.04)
    assert actions[~near].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.05)


def test_actions_stay_in_their_bounds_under_large_noise():
    assert collector(noise=5.0, random=0.0).next()["action"].abs().max() == 1.0


def test_random_episodes_ignore_the_actor():
    actions = collector(noise=0.0, random=0.0).next(random=True)["action"]
    assert not (actions == 0.25).any()
    assert actions.mean().abs() < 0.2


@pytest.mark.parametrize("num_envs", [1, 2])
def test_without_exploration_the_actor_alone_acts(num_envs: int):
    assert (collector(noise=0.0, random=0.0, num_envs=num_envs).next()["action"] == 0.25).all()


@pytest.mark.parametrize("num_envs", [1, 2])
def test_episodes_differ_and_depend_on_the_seed_alone(num_envs: int):
    first, second = collector(num_envs=num_envs), collector(num_envs=num_envs)
    episodes = [first.next() for _ in range(2)]
    starts = torch.cat(episodes)["observation"][:, 0]
    assert len(starts.unique(dim=0)) == 2 * num_envs
    for episode in episodes:
        assert (episode == second.next()).all()


@pytest.mark.parametrize(
    ("env", "num_envs"), [("mher_pl/Point2DLarge-v1", 1), ("mher_pl/Point2DLarge-v1", 2), ("goal_tasks:Ends-v0", 1)]
)
def test_a_restored_collector_continues_with_the_next_episode(env: str, num_envs: int):
    original, copy = (collector(env, num_envs=num_envs) for _ in range(2))
    for _ in range(3):
        original.next()
    copy.load_worker_state(original.worker_state())
    assert (original.next() == copy.next()).all()


class Own(Exploration):
    """Actions of a user's own, which become smaller from step to step."""

    def __init__(self, form=lambda action: action):
        self.form, self.steps = form, 0

    def __call__(self, act, observation, goal, action_size, generator, random, begins):
        self.steps += 1
        return self.form(torch.full((len(observation), action_size), 1.0 / self.steps))

    def worker_state(self):
        return {"steps": self.steps}

    def load_worker_state(self, state):
        self.steps = state["steps"]


def test_an_exploration_with_a_state_is_asked_once_a_step():
    collect = collector(exploration=Own())
    for number in (1, 2):
        next_one(collect)
        assert collect.policy.exploration.steps == number * collect.task.horizon


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda action: 4.0 * action, "data.exploration is Own, which gives 4 in an action; allowed: from -1 to 1"),
        (
            lambda action: action[:, :1],
            "actions are a tensor [1, 1] of float32; allowed: a tensor [1, 2] of float32",
        ),
        (
            lambda action: action.double(),
            "actions are a tensor [1, 2] of float64; allowed: a tensor [1, 2] of float32",
        ),
        (
            lambda action: action.numpy(),
            "data.exploration is Own, whose actions are a ndarray; allowed: a tensor [1",
        ),
    ],
)
def test_actions_of_another_form_are_refused(form, message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        next_one(collector(exploration=Own(form)))


@pytest.mark.parametrize(
    ("form", "given"),
    [(lambda goal: goal.double(), r"\[1, 2\] of float64"), (lambda goal: goal[0], r"\[2\] of float32")],
)
def test_goals_to_practise_of_another_form_are_refused(form, given: str):
    class Odd(Practice):
        def __call__(self, task, achieved_goal, given_goal, begins, generator):
            return form(given_goal)

    message = rf"data.practice is Odd, whose goals are a tensor {given}; allowed: a tensor \[1, 2\] of float32"
    with pytest.raises(UserError, match=message):
        next_one(collector(practice=Odd()))


def test_it_notes_whether_episodes_end_at_their_goals():
    ends, falls, plain, tenths = (
        collector(f"goal_tasks:{name}-v0", action=0.5, noise=0.5) for name in ("Ends", "Falls", "Plain", "Tenths")
    )
    for collect, expected in ((ends, True), (falls, False), (plain, False), (tenths, True)):
        assert not collect.task.ends_at_goal
        episodes = torch.cat([collect.next() for _ in range(15)])
        assert (episodes["length"] < 12).any() == (collect is not plain)
        assert collect.task.ends_at_goal == expected
        assert episodes["failed"].any() == (collect is falls)
    assert plain.task.went_on_at_goal
    plain.task.ended_at_goal = True
    assert not plain.task.ends_at_goal, "an end there had another cause where others go on"
    resumed = collector("goal_tasks:Ends-v0")
    resumed.load_worker_state(ends.worker_state())
    assert resumed.task.ends_at_goal


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_reward_that_compute_reward_does_not_give_stops_with_the_place(num_envs: int):
    collect = collector("goal_tasks:Plain-v0", num_envs=num_envs)
    compute_reward = collect.task.compute_reward

    def other(achieved, desired, info):
        rewards = compute_reward(achieved, desired, info)
        rewards[7] = -3.0
        return rewards

    collect.next()
    collect.task.compute_reward = other
    message = rf"compute_reward gives -3 \(step 7 of training episode {num_envs}\)"
    with pytest.raises(UserError, match=message):
        collect.next()
    collect.close()


def test_a_reward_that_rounding_alone_makes_another_is_none():
    collect = collector("faulty_tasks:Double-v0")
    edge = [next_one(collect)["achieved_goal"][5, 0].item() for _ in range(10)]
    assert edge.count(np.float32(0.2)) > 0, "steps at the very edge of the goal were among them"


@pytest.mark.filterwarnings("ignore:.*(not within the observation space|NaN value)")  # Gymnasium's own
@pytest.mark.parametrize(
    ("num_envs", "env"), [(1, "mher_pl/Point2DLarge-v1"), (2, "mher_pl/Point2DLarge-v1"), (1, "goal_tasks:Plain-v0")]
)
def test_a_non_finite_action_stops_with_the_place(num_envs: int, env: str):
    collect = collector(env, action=float("nan"), random=0.0, num_envs=num_envs)
    with pytest.raises(NonFiniteError, match=r"of training episodes? 0( to 1)? is NaN or infinite"):
        collect.next()


@pytest.mark.filterwarnings("ignore:.*(not within the observation space|NaN value)")  # Gymnasium's own
def test_an_observation_that_is_nan_is_named_and_not_the_action_made_of_it(monkeypatch):
    monkeypatch.setattr(faulty_tasks.Torn, "made", 1)  # the next is inspected, the one after it trains
    collect = collector("faulty_tasks:Torn-v0", strict=True)
    collect.policy.act = lambda observation, goal: observation  # NaN, where that is
    with pytest.raises(NonFiniteError, match="observation of training episode 0 is NaN or infinite"):
        torch.stack([collect.next() for _ in range(3)])


def test_an_environment_that_can_be_made_once_alone_fails_in_a_line():
    with pytest.raises(UserError, match=r"made once and not again .OSError: the port is taken, faulty_tasks"):
        collector("faulty_tasks:Alone-v0")


@pytest.mark.parametrize("num_envs", [1, 2])
@pytest.mark.parametrize(("step", "place"), [(0, "the reset of {}"), (5, "{}, step 4")])
def test_an_environment_that_fails_is_named_with_episode_and_step(num_envs: int, step: int, place: str):
    collect = collector("faulty_tasks:Breaks-v0", num_envs=num_envs, episode=10, step=step)
    with pytest.raises(EnvironmentFailed) as failed:
        torch.stack([collect.next() for _ in range(20)])
    number = collect.env.episode
    assert number > 0
    assert number % num_envs == 0
    running = f"training episode {number}" if num_envs == 1 else f"training episodes {number} to {number + 1}"
    reason = "RuntimeError: the simulator lost its mind" + (r", faulty_tasks.py:\d+" if num_envs == 1 else "")
    expected = rf"the environment failed in {re.escape(place.format(running))} \({reason}\)"
    assert re.fullmatch(expected, str(failed.value))
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert "faulty_tasks.py" in "".join(traceback.format_exception(failed.value)), "where in the environment"
    collect.close()


def test_an_environment_that_its_processes_cannot_find_is_one_line():
    gymnasium.register("Here-v0", entry_point=goal_tasks.Slide, max_episode_steps=12)
    with pytest.raises(
        UserError, match=r"data\.num_envs is 2, whose processes ended at their start; allowed: 1, or an"
    ):
        collector("Here-v0", num_envs=2)


def test_practised_goals_are_what_the_actor_sees_and_what_is_stored():
    collect = collector("mher_pl/Reacher-v1", noise=0.0, random=0.0, practice=NextGoals(1.0))
    seen, act = [], collect.policy.act
    collect.policy.act = lambda observation, goal: seen.append(goal.clone()) or act(observation, goal)
    collect.task.reward = lambda achieved, desired: torch.zeros(len(achieved))  # each goal is reached at once
    next_one(collect)
    seen.clear()
    episode = next_one(collect)
    assert torch.equal(torch.stack(seen), episode["desired_goal"])
    goals = {tuple(goal.tolist()) for goal in episode["desired_goal"]}
    assert len(goals) == 2  # of both episodes
    given = tuple(episode["observation"][0, 4:6].tolist())  # Reacher shows its own, all along
    assert given in goals
    assert bool((episode["observation"][:, 4:6] == torch.tensor(given)).all())
