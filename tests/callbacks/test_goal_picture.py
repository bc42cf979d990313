import numpy as np
import pytest
import torch
from scipy.ndimage import label
from tensordict import TensorDict

from mher_pl.callbacks.goal_picture import coordinates, draw_goals, frame
from mher_pl.callbacks.picture import render

COLOURS = {"achieved": (31, 119, 180), "relabelled": (255, 215, 0), "original": (214, 39, 40)}
LEGEND = 40  # rows of pixels


def episode(path: torch.Tensor, own: torch.Tensor, new: torch.Tensor, rows=None) -> tuple[TensorDict, TensorDict]:
    """An episode along `path` [T+1, goal], whose rows are relabelled, or those of `rows`."""
    steps = len(path) - 1
    mask = torch.ones(steps, dtype=torch.bool) if rows is None else torch.tensor(rows)
    batch = {"achieved_goal": path[:-1], "desired_goal": own.expand(steps, -1), "next": {"achieved_goal": path[1:]}}
    return TensorDict(batch, [steps]), TensorDict({"imitation_goal": new, "relabelled": mask}, [steps])


def places(image: np.ndarray, kind: str) -> np.ndarray:
    """Return rows and columns [N, 2] of the pixels below the legend in the colour of a kind of goal."""
    near = (abs(image.astype(int) - COLOURS[kind]) < 8).all(axis=-1)
    near[:LEGEND] = False
    return np.argwhere(near)


def at(*goals: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(goals)


def spiral(scale: tuple[float, ...]) -> torch.Tensor:
    """A path [101, 2 or 3] around the origin, as far as `scale` in each direction."""
    turn = torch.linspace(0.0, 6.28, 101)
    return torch.stack([turn.cos(), turn.sin(), (2 * turn).cos()], dim=1)[:, : len(scale)] * torch.tensor(scale)


def test_only_the_goals_of_relabelled_rows_are_shown_as_such():
    path, own = at((0.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.0, 2.0)), at((2.0, 0.0))
    new = at((1.0, 0.0), (1.0, 1.0), (1.0, 2.0))
    for rows, count in (([True, False, True], 2), ([True, True, True], 3), ([False, False, False], 0)):
        image = render(draw_goals(*episode(path, own, new, rows)))
        shown = np.zeros(image.shape[:2], dtype=bool)
        shown[tuple(places(image, "relabelled").T)] = True
        assert label(shown)[1] == count, "separate dots"


def test_each_kind_of_goal_is_seen_where_it_lies():
    image = render(draw_goals(*episode(at((0.0, 0.0), (0.0, 0.0)), at((0.0, 1.0)), at((1.0, 0.0)))))
    assert image.shape == (400, 400, 3)
    achieved, relabelled, original = (places(image, kind).mean(axis=0) for kind in COLOURS)
    assert relabelled[1] - achieved[1] > 200
    assert achieved[0] - original[0] > 200
    assert achieved[0] == pytest.approx(relabelled[0], abs=2)
    assert achieved[1] == pytest.approx(original[1], abs=2)


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_a_path_in_the_plane_fills_the_frame_whatever_its_size_and_place(size):
    path = spiral((size, size)) + 7.0 * size
    shown = places(render(draw_goals(*episode(path, path[:1], path[1:]))), "achieved")
    assert (np.ptp(shown, axis=0) > 230).all()


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (0.1, 0.1, 0.02), (1.0, 0.1, 1.0), (0.01, 1.0, 1.0)])
def test_a_path_in_space_fills_the_frame_however_it_lies(scale):
    path = spiral(scale) + 3.0
    image = render(draw_goals(*episode(path, path[:1], path[1:], [True] + [False] * 99)))
    height, width = np.ptp(places(image, "achieved"), axis=0)
    assert height * width > 0.2 * 400 * 400
    edge = np.concatenate([*image[[0, -1]], *image[:, [0, -1]].swapaxes(0, 1)])
    assert (edge == 255).all(), "nothing is cut off"


def test_space_is_seen_from_the_side_on_which_the_path_is_long():
    views = {}
    for name, scale in (("flat", (1.0, 1.0, 0.0)), ("along 1", (1.0, 0.0, 1.0)), ("along 2", (0.0, 1.0, 1.0))):
        path = spiral(scale)
        (views[name],) = draw_goals(*episode(path, path[:1], path[1:])).axes
    assert views["flat"].elev > views["along 1"].elev == views["along 2"].elev
    assert abs(views["along 1"].azim) > 45 > abs(views["along 2"].azim)


def test_all_directions_have_one_scale():
    path = spiral((2.0, 1.0, 0.5))
    (axes,) = draw_goals(*episode(path, path[:1], path[1:])).axes
    sides = np.ptp([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1)
    assert np.ptp(sides / axes._box_aspect) < 1e-6
    (axes,) = draw_goals(*episode(path[:, :2], path[:1, :2], path[1:, :2])).axes
    assert np.ptp(axes.get_xlim()) == pytest.approx(np.ptp(axes.get_ylim()))
    assert axes.get_box_aspect() == 1


def test_the_corners_hold_all_goals():
    for scale in ((1.0, 0.2), (0.2, 1.0), (1.0, 0.2, 0.3)):
        inside = coordinates(spiral(scale))
        low, high = frame(inside)
        assert (inside > low).all()
        assert (inside < high).all()


def test_goals_of_one_entry_lie_on_a_line():
    goals = torch.arange(6.0).view(6, 1)
    assert coordinates(goals).tolist() == [[x, 0.0] for x in range(6)]
    dots = places(render(draw_goals(*episode(goals, goals[:1], goals[1:] - 0.5))), "relabelled")
    assert np.ptp(dots[:, 0]) < 12
    assert np.ptp(dots[:, 1]) > 200


def test_of_longer_goals_the_first_three_entries_are_drawn():
    assert coordinates(torch.arange(12.0).view(2, 6)).tolist() == [[0, 1, 2], [6, 7, 8]]


@pytest.mark.parametrize("size", [2, 3])
def test_an_episode_that_stays_at_a_point_has_a_frame(size):
    still = torch.full((6, size), 3.0)
    image = render(draw_goals(*episode(still, still[:1], still[1:])))
    assert places(image, "original").mean(axis=0) == pytest.approx([205, 210], abs=40), "in its middle"
