import numpy as np
import pytest

from mher_pl.callbacks.watched import as_tensors, watch
from mher_pl.envs import make
from mher_pl.envs.point2d import Point2DEnv
from mher_pl.errors import UserError


@pytest.mark.filterwarnings("ignore:.*RGB-array rendering")  # Gymnasium's own
def test_an_environment_that_draws_nothing_is_refused(build, monkeypatch):
    agent = build("point2d").model
    monkeypatch.setattr(Point2DEnv, "render", lambda env: None)
    with pytest.raises(UserError, match=r"cannot be drawn here \(ValueError: render gives NoneType \[\] of object\)"):
        watch(agent, {}, seed=0, steps=1)


@pytest.mark.filterwarnings("ignore:.*share an object")
def test_what_was_seen_stays_where_an_environment_reuses_its_arrays():
    env = make("goal_tasks:Reuses-v0")
    observation, _ = env.reset(seed=0)
    states = [as_tensors(observation)]
    for _ in range(5):
        states.append(as_tensors(env.step(np.array([1.0, 0.5], dtype=np.float32))[0]))
    assert len({tuple(state["achieved_goal"].tolist()) for state in states}) > 3
