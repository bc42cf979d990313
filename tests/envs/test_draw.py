import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from gymnasium import error

import mher_pl
from mher_pl.envs.draw import Canvas, prefer_offscreen_gl
from tests.conftest import needs_gl

prefer_offscreen_gl()
MUJOCO_TASKS = ["mher_pl/Reacher-v1", "FetchReach-v4"]


def pixel(image, place, reach):
    size = len(image)
    column, row = (int((coordinate + reach) / (2 * reach) * size) for coordinate in (place[0], -place[1]))
    return image[row, column].tolist()


def test_shapes_lie_where_they_are_in_the_world():
    canvas = Canvas(reach=2.0, pixels=200)
    canvas.disc([1.0, 0.5], 0.3, (1.0, 0.0, 0.0))
    canvas.rectangle([-1.5, -1.0], [-0.5, 0.0], (0.0, 0.0, 1.0), opacity=0.5)
    image = canvas.image()
    for place, color in {
        (1.0, 0.5): [255, 0, 0],
        (1.0, 0.77): [255, 0, 0],
        (1.0, 0.83): [255, 255, 255],
        (-1.0, -0.5): [128, 128, 255],
        (-1.0, 0.1): [255, 255, 255],
    }.items():
        assert pixel(image, place, 2.0) == color


def test_the_four_rooms_show_point_goal_and_walls():
    env = mher_pl.make("mher_pl/Point2DFourRoom-v1", render_mode="rgb_array")
    env.reset(seed=0, options={"desired_goal": [3.0, 3.0]})
    env.unwrapped.batch.positions[:] = [-3.0, 2.0]
    image = env.render()
    blue, green, dark, white = (pixel(image, place, 6.0) for place in ([-3, 2], [3, 3], [0, 0], [-3, -3]))
    assert max(blue) == blue[2]
    assert max(green) == green[1]
    assert max(dark) < 100
    assert white == [255] * 3
    assert image.dtype == np.uint8


@needs_gl
@pytest.mark.parametrize("task", MUJOCO_TASKS)
def test_a_batch_gives_one_picture_for_each_copy_and_each_shows_its_own_goal(task):
    env = mher_pl.make_vec(task, num_envs=2, render_mode="rgb_array")
    goals = env.reset(seed=0)[0]["desired_goal"]
    first, second = env.render()
    assert first.shape == (480, 480, 3)
    assert first.std() > 10
    assert (first != second).any()
    env.reset(seed=[0, 0], options={"desired_goal": goals})
    other_goal = env.render()
    np.testing.assert_array_equal(other_goal[0], first)
    assert 0 < (other_goal[0] != other_goal[1]).mean() < 0.1
    env.close()


@needs_gl
@pytest.mark.parametrize("task", MUJOCO_TASKS)
def test_drawing_changes_nothing_in_the_simulation(task):
    runs = []
    actions = np.random.default_rng(0).uniform(-1, 1, size=(10, 2, 4 if "Fetch" in task else 2))
    for drawn in (True, False):
        env = mher_pl.make_vec(task, num_envs=2, render_mode="rgb_array")
        env.reset(seed=0)
        for action in actions:
            if drawn:
                env.render()
            observation, *_ = env.step(action)
        runs.append(observation["observation"])
        env.close()
    np.testing.assert_array_equal(*runs)


def test_the_window_shows_every_step(monkeypatch):
    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "pause", lambda seconds: shown.append(seconds))
    before = pyplot.get_fignums()
    env = mher_pl.make("mher_pl/Point2DLarge-v1", render_mode="human")
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.ones(2))
    assert len(shown) == 4
    env.close()
    assert pyplot.get_fignums() == before


def test_a_window_is_for_a_single_environment():
    env = mher_pl.make_vec("mher_pl/Point2DLarge-v1", num_envs=2, render_mode="human")
    with pytest.raises(error.UnsupportedMode, match="single"):
        env.render()


@needs_gl
@pytest.mark.skipif(sys.platform != "linux", reason="other systems draw without a screen by themselves")
@pytest.mark.parametrize("task", MUJOCO_TASKS)
def test_a_machine_without_a_screen_draws_unasked(task):
    made = f"mher_pl.make({task!r}, render_mode='rgb_array')"
    program = f"import mher_pl; env = {made}; env.reset(); print(env.render().shape); env.close()"
    environ = {
        key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")
    }
    run = subprocess.run([sys.executable, "-c", program], env=environ, text=True, capture_output=True)
    assert "(480, 480, 3)" in run.stdout, run.stderr
