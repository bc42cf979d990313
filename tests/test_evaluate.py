import faulty_tasks
import numpy as np
import pytest
import torch
from toy import make_agent

from mher_pl.envs import make, make_vec
from mher_pl.errors import EnvironmentFailed, NonFiniteError
from mher_pl.evaluate import COPIES, evaluation_envs, rollout, wilson_interval
from mher_pl.inspection import inspect_task

SEEDS = [11, 5, 1234]


def towards_goal(observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Move the first goal entries straight at the goal, slowly enough to fail now and then."""
    gap = goal - observation[..., : goal.shape[-1]]
    action = torch.zeros(*observation.shape[:-1], 4 if goal.shape[-1] == 3 else 2)
    action[..., : goal.shape[-1]] = (0.3 * gap).clamp(-1, 1)
    return action


@pytest.mark.parametrize("env", ["mher_pl/Point2DLarge-v1", "FetchReach-v4"])
def test_batched_and_one_at_a_time_agree_episode_for_episode(env: str):
    task = inspect_task(env, {}, None)
    batched = rollout(towards_goal, make_vec(env, num_envs=len(SEEDS)), task, SEEDS)
    seen = batched.observations.view(task.horizon, len(SEEDS), -1)
    for i, seed in enumerate(SEEDS):
        single = make(env)
        observation, _ = single.reset(seed=seed)
        rewards, successes = [], []
        for t in range(task.horizon):
            state = torch.as_tensor(observation["observation"], dtype=torch.float32)
            goal = torch.as_tensor(observation["desired_goal"], dtype=torch.float32)
            assert torch.equal(seen[t, i], state)
            observation, reward, _, _, info = single.step(towards_goal(state, goal).numpy())
            rewards.append(reward)
            successes.append(bool(info["is_success"]))
        assert batched.success[i] == successes[-1]
        assert batched.success_any[i] == any(successes)
        assert batched.episode_return[i] == sum(rewards)
        gap = np.linalg.norm(observation["achieved_goal"] - observation["desired_goal"])
        assert batched.final_distance[i] == pytest.approx(gap)


def test_the_metrics_are_means_over_the_episodes():
    task = inspect_task("mher_pl/Point2DLarge-v1", {}, None)
    stay = rollout(lambda s, g: torch.zeros(len(s), 2), make_vec(task.env, num_envs=50), task, range(50))
    near = np.linalg.norm((stay.observations[:50] - stay.desired_goals[:50]).numpy(), axis=1) <= 1.0
    means = stay.means()
    assert means["eval/success_rate"] == means["eval/success_any"] == near.mean()
    assert means["eval/return"] == pytest.approx(-100 * (1 - near.mean()))


def test_a_policy_that_gives_nan_is_named():
    task = inspect_task("mher_pl/Point2DLarge-v1", {}, None)
    with pytest.raises(NonFiniteError, match="action at step 0 of an evaluation is NaN"):
        rollout(lambda s, g: torch.full((len(s), 2), torch.nan), make_vec(task.env, num_envs=2), task, [0, 1])


def test_a_networks_own_actions_differ_by_rounding_alone_where_episodes_run_one_at_a_time():
    task = inspect_task("FetchReach-v4", {}, None)
    agent = make_agent(task, hidden_sizes=[64, 64])
    batched = rollout(agent.act, make_vec(task.env, num_envs=len(SEEDS)), task, SEEDS)
    seen = batched.observations.view(task.horizon, len(SEEDS), -1)
    for i, seed in enumerate(SEEDS):
        single = rollout(agent.act, make_vec(task.env, num_envs=1), task, [seed])
        assert torch.allclose(seen[:, i], single.observations, atol=1e-4)
        assert batched.success[i] == single.success[0]
        assert batched.episode_return[i] == single.episode_return[0]


class TestEnds:
    """Episodes of one batch that end at different steps."""

    SEEDS = range(20)

    @pytest.mark.parametrize("env", ["Ends", "Falls", "Plain"])
    def test_every_episode_counts_until_its_own_end(self, env: str):
        task = inspect_task(f"goal_tasks:{env}-v0", {}, None)
        policy = towards_goal if env != "Falls" else lambda state, goal: goal.sign()  # to the edge
        batched = rollout(policy, make_vec(task.env, num_envs=20), task, self.SEEDS)
        steps = 0
        for i, seed in enumerate(self.SEEDS):
            single = make(task.env)
            observation, _ = single.reset(seed=seed)
            rewards, successes, ended = [], [], False
            while not ended:
                state, goal = (torch.as_tensor(observation[key]) for key in ("observation", "desired_goal"))
                observation, reward, terminated, truncated, info = single.step(policy(state, goal).numpy())
                rewards.append(reward)
                successes.append(bool(info["is_success"]))
                ended = terminated or truncated
            steps += len(rewards)
            assert batched.success[i] == successes[-1]
            assert batched.success_any[i] == any(successes)
            assert batched.episode_return[i] == sum(rewards)
            gap = np.linalg.norm(observation["achieved_goal"].astype(float) - observation["desired_goal"])
            assert batched.final_distance[i] == pytest.approx(gap, rel=1e-5)
        assert len(batched.observations) == len(batched.desired_goals) == len(batched.actions) == steps
        assert (steps < 20 * task.horizon) == (env != "Plain")

    def test_success_is_that_of_the_step_that_ended_the_episode(self):
        task = inspect_task("goal_tasks:Ends-v0", {}, None)
        outcome = rollout(towards_goal, make_vec(task.env, num_envs=20), task, self.SEEDS)
        assert outcome.success.sum() > 10
        assert (outcome.success == outcome.success_any).all(), "none leaves a goal that ends its episode"

    def test_the_batch_is_left_as_soon_as_all_have_ended(self):
        task = inspect_task("goal_tasks:Ends-v0", {}, None)
        calls = []

        def straight(state, goal):
            calls.append(1)
            return 4.0 * (goal - state)

        rollout(straight, make_vec(task.env, num_envs=5), task, range(5))
        assert len(calls) < task.horizon

    @pytest.mark.parametrize("copies", [1, 7, 10])
    def test_copies_that_take_turns_see_the_same_as_one_for_each_episode(self, copies: int):
        task = inspect_task("goal_tasks:Ends-v0", {}, None)
        at_once, by_turns = (
            rollout(towards_goal, make_vec(task.env, num_envs=n), task, self.SEEDS) for n in (20, copies)
        )
        for name, expected in vars(at_once).items():
            found = getattr(by_turns, name)
            assert found.shape == expected.shape, name
            assert np.array_equal(found, expected), name

    def test_the_same_copies_can_be_evaluated_again(self):
        task = inspect_task("goal_tasks:Ends-v0", {}, None)
        envs = make_vec(task.env, num_envs=5)
        one, other = (rollout(towards_goal, envs, task, range(5)) for _ in range(2))
        assert torch.equal(one.observations, other.observations)


@pytest.mark.parametrize(
    ("env", "episodes", "copies"),
    [
        ("mher_pl/Point2DLarge-v1", 100, 100),
        ("FetchPush-v4", 25, 25),
        ("goal_tasks:Plain-v0", 3, 3),
        ("goal_tasks:Plain-v0", 100, COPIES),
        ("goal_tasks:Plain-v0", 25, 9),
    ],
)
def test_a_task_without_a_batched_form_has_few_copies_however_many_the_episodes(env: str, episodes: int, copies: int):
    assert evaluation_envs(env, episodes).num_envs == copies


@pytest.mark.parametrize(("step", "place"), [(0, "the reset of an evaluation"), (4, "step 3 of an evaluation")])
def test_an_environment_that_fails_is_named_with_the_step(step: int, place: str):
    task = inspect_task("goal_tasks:Plain-v0", {}, None)
    envs = make_vec("faulty_tasks:Breaks-v0", num_envs=2, episode=0, step=step)
    reason = "RuntimeError: the simulator lost its mind, faulty_tasks.py"
    with pytest.raises(EnvironmentFailed, match=rf"failed in {place} \({reason}"):
        rollout(towards_goal, envs, task, [0, 1])


def test_an_environment_that_gives_nan_is_named_with_the_step(monkeypatch):
    monkeypatch.setattr(faulty_tasks.Torn, "made", 2)
    task = inspect_task("goal_tasks:Plain-v0", {}, None)
    with pytest.raises(NonFiniteError, match="observation at step 2 of an evaluation is NaN or infinite"):
        rollout(towards_goal, make_vec("faulty_tasks:Torn-v0", num_envs=2), task, [0, 1])


@pytest.mark.parametrize(
    ("successes", "episodes", "interval"),
    [(0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (81, 263, (0.2553, 0.3662))],  # the last: Newcombe 1998, table I
)
def test_the_interval_of_a_success_rate_is_wilsons(successes, episodes, interval):
    assert wilson_interval(successes, episodes) == pytest.approx(interval, abs=5e-5)
