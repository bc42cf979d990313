import numpy as np
import pytest

from mher_pl.callbacks.watched import as_tensors
from mher_pl.envs import make


@pytest.mark.filterwarnings("ignore:.*share an object")
def test_what_was_seen_stays_where_an_environment_reuses_its_arrays():
    env = make("goal_tasks:Reuses-v0")
    observation, _ = env.reset(seed=0)
    states = [as_tensors(observation)]
    for _ in range(5):
        states.append(as_tensors(env.step(np.array([1.0, 0.5], dtype=np.float32))[0]))
    assert len({tuple(state["achieved_goal"].tolist()) for state in states}) > 3
