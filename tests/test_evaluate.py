import numpy as np
import pytest
import torch
from toy import make_agent

from mher_pl.envs import make, make_vec
from mher_pl.errors import NonFiniteError
from mher_pl.evaluate import rollout
from mher_pl.task import inspect_task

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
    for i, seed in enumerate(SEEDS):
        single = make(env)
        observation, _ = single.reset(seed=seed)
        rewards, successes = [], []
        for t in range(task.horizon):
            state = torch.as_tensor(observation["observation"], dtype=torch.float32)
            goal = torch.as_tensor(observation["desired_goal"], dtype=torch.float32)
            assert torch.equal(batched.observations[t, i], state)
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
    near = np.linalg.norm((stay.observations[0] - stay.desired_goals[0]).numpy(), axis=1) <= 1.0
    means = stay.means()
    assert means["eval/success_rate"] == means["eval/success_any"] == near.mean()
    assert means["eval/return"] == pytest.approx(-100 * (1 - near.mean()))


def test_a_policy_that_gives_nan_is_named():
    task = inspect_task("mher_pl/Point2DLarge-v1", {}, None)
    with pytest.raises(NonFiniteError, match="an action in the evaluation is NaN"):
        rollout(lambda s, g: torch.full((len(s), 2), torch.nan), make_vec(task.env, num_envs=2), task, [0, 1])


def test_a_networks_own_actions_differ_by_rounding_alone_where_episodes_run_one_at_a_time():
    task = inspect_task("FetchReach-v4", {}, None)
    agent = make_agent(task, hidden_sizes=[64, 64])
    batched = rollout(agent.act, make_vec(task.env, num_envs=len(SEEDS)), task, SEEDS)
    for i, seed in enumerate(SEEDS):
        single = rollout(agent.act, make_vec(task.env, num_envs=1), task, [seed])
        assert torch.allclose(batched.observations[:, i], single.observations[:, 0], atol=1e-4)
        assert batched.success[i] == single.success[0]
        assert batched.episode_return[i] == single.episode_return[0]
