import numpy as np
import pytest

from mher_pl.envs import make, make_vec
from mher_pl.envs.episodes import WholeEpisodes

COPIES, STEPS = 6, 12
SEEDS = list(range(COPIES))


def actions(seed: int) -> np.ndarray:
    """The same actions [T, N, action] for a batch and for its copies one by one."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (STEPS, COPIES, 2)).astype(np.float32)


def alone(env: str, seed: int, acted: np.ndarray) -> list[tuple]:
    """What an environment gives from one reset to its episode's end."""
    single, steps = make(env), []
    single.reset(seed=seed)
    for action in acted:
        observation, reward, terminated, truncated, info = single.step(action)
        steps.append((observation, reward, terminated, truncated, bool(info["is_success"])))
        if terminated or truncated:
            break
    return steps


@pytest.mark.parametrize(
    ("env", "processes"),
    [
        ("goal_tasks:Ends-v0", False),
        ("goal_tasks:Falls-v0", False),
        ("goal_tasks:Plain-v0", False),
        ("goal_tasks:Ends-v0", True),
    ],
)
def test_each_copy_runs_its_own_episode_and_then_stands_still(env: str, processes: bool):
    envs = WholeEpisodes(make_vec(env, num_envs=COPIES, processes=processes))
    for round_ in range(2):  # the second one begins as new
        acted = 0.6 * np.sign(actions(round_)[:1]) + 0.4 * actions(round_)  # keeps to a direction: some reach an edge
        expected = [alone(env, seed + round_, acted[:, i]) for i, seed in enumerate(SEEDS)]
        envs.reset(seed=[seed + round_ for seed in SEEDS])
        assert not envs.ended.any()
        for t, action in enumerate(acted):
            observation, rewards, terminations, truncations, info = envs.step(action)
            for i, steps in enumerate(expected):
                shown, reward, terminated, truncated, success = steps[min(t, len(steps) - 1)]
                for key, value in shown.items():
                    np.testing.assert_array_equal(observation[key][i], value)
                assert rewards[i] == (reward if t < len(steps) else 0.0)
                assert (terminations[i], truncations[i]) == (terminated, truncated)
                assert info["is_success"][i] == success
            assert envs.ended.tolist() == [t + 1 >= len(steps) for steps in expected]
            if envs.ended.all():
                break
        lengths = [len(steps) for steps in expected]
        assert envs.lengths.tolist() == lengths
        assert envs.terminated.tolist() == [steps[-1][2] for steps in expected]
        assert (len(set(lengths)) > 1) == (env != "goal_tasks:Plain-v0")
    envs.close()


def test_what_was_shown_before_stays_as_it_was():
    envs = WholeEpisodes(make_vec("goal_tasks:Ends-v0", num_envs=COPIES))
    shown, _ = envs.reset(seed=SEEDS)
    kept = []
    for action in actions(0):
        kept.append((shown, {key: values.copy() for key, values in shown.items()}))
        shown, *_ = envs.step(action)
        if envs.ended.all():
            break
    for one, copy in kept:
        for key, values in one.items():
            np.testing.assert_array_equal(values, copy[key])


def test_a_batch_whose_copies_end_together_is_left_as_it_is():
    plain, whole = (make_vec("mher_pl/Point2DLarge-v1", num_envs=3, max_episode_steps=5) for _ in range(2))
    whole = WholeEpisodes(whole)
    plain.reset(seed=0)
    whole.reset(seed=0)
    for t in range(5):
        one, other = (envs.step(actions(1)[t, :3]) for envs in (plain, whole))
        for key, values in one[0].items():
            np.testing.assert_array_equal(values, other[0][key])
        for a, b in zip(one[1:4], other[1:4], strict=True):
            np.testing.assert_array_equal(a, b)
        assert (one[4]["is_success"] == other[4]["is_success"]).all()
    assert whole.lengths.tolist() == [5, 5, 5]
    assert not whole.terminated.any()
