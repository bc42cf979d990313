import numpy as np
import pytest
import torch
from scipy.ndimage import label
from tensordict import TensorDict

from mher_pl.callbacks.goal_picture import GoalPicture, plane

COLOURS = {"achieved": (31, 119, 180), "relabelled": (255, 215, 0), "desired": (214, 39, 40)}


def draw(picture: GoalPicture, achieved, relabelled, desired, rows=None) -> np.ndarray:
    """Draw an episode whose rows are relabelled, or those of `rows`."""
    batch = TensorDict({"desired_goal": desired, "next": {"achieved_goal": achieved}}, [len(desired)])
    mask = torch.ones(len(desired), dtype=torch.bool) if rows is None else torch.tensor(rows)
    return picture.draw(batch, TensorDict({"imitation_goal": relabelled, "relabelled": mask}, [len(desired)]))


def places(image: np.ndarray, kind: str) -> np.ndarray:
    """Return rows and columns [N, 2] of the axes' pixels in the colour of a kind of goal."""
    near = (abs(image.astype(int) - COLOURS[kind]) < 8).all(axis=-1)
    near[:36] = False  # the legend
    return np.argwhere(near)


def at(*points: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(points)


def test_only_the_goals_of_relabelled_rows_are_shown_as_such():
    achieved, desired = at((0.0, 0.0), (0.0, 1.0), (0.0, 2.0)), at(*[(2.0, 0.0)] * 3)
    relabelled = at((1.0, 0.0), (1.0, 1.0), (1.0, 2.0))
    for rows, count in (([True, False, True], 2), ([True, True, True], 3), ([False, False, False], 0)):
        image = draw(GoalPicture(), achieved, relabelled, desired, rows)
        shown = np.zeros(image.shape[:2], dtype=bool)
        shown[tuple(places(image, "relabelled").T)] = True
        assert label(shown)[1] == count, "separate dots"


def test_each_kind_of_goal_is_seen_where_it_lies():
    image = draw(GoalPicture(), at((0.0, 0.0)), at((1.0, 0.0)), at((0.0, 1.0)))
    assert image.shape == (320, 360, 3)
    achieved, relabelled, desired = (places(image, kind).mean(axis=0) for kind in COLOURS)
    assert relabelled[1] - achieved[1] > 100
    assert achieved[0] - desired[0] > 100
    assert achieved[0] == pytest.approx(relabelled[0], abs=2)
    assert achieved[1] == pytest.approx(desired[1], abs=2)


def test_the_next_episode_is_drawn_alone_within_the_same_frame():
    picture = GoalPicture()
    corners = draw(picture, at((0.0, 0.0)), at((1.0, 0.0)), at((0.0, 1.0)))
    image = draw(picture, at((0.5, 0.5)), at((1.0, 0.5)), at((0.5, 0.0)))
    assert (image == draw(picture, at((0.5, 0.5)), at((1.0, 0.5)), at((0.5, 0.0)))).all()
    assert np.ptp(places(image, "achieved")[:, 1]) < 12, "one point alone"
    right = [places(picture, "relabelled")[:, 1].mean() for picture in (corners, image)]
    assert right[0] == pytest.approx(right[1], abs=1), "at 1 on the first axis in both"


def test_the_frame_grows_to_hold_what_lies_outside_of_it_and_stays():
    picture, extents = GoalPicture(), []
    for size in (1.0, 10.0, 1.0):
        image = draw(picture, at((0.0, 0.0)), at((size, 0.0)), at((0.0, size)))
        centres = [places(image, kind).mean(axis=0) for kind in COLOURS]
        assert not np.isnan(centres).any(), "all are seen"
        extents.append(np.ptp(centres, axis=0))
    assert extents[1] == pytest.approx(extents[0], abs=3)
    assert extents[2] == pytest.approx(extents[0] / 10, abs=3)


def test_goals_that_were_included_have_room():
    picture = GoalPicture()
    picture.include(at((-9.0, 0.0), (11.0, 3.0)))
    picture.include(torch.zeros(0, 2))
    image = draw(picture, at((0.0, 0.0)), at((2.0, 0.0)), at((0.0, 2.0)))
    achieved, relabelled, _ = (places(image, kind).mean(axis=0) for kind in COLOURS)
    wide = draw(GoalPicture(), at((-9.0, 0.0)), at((11.0, 0.0)), at((0.0, 0.0)))
    ends = [places(wide, kind)[:, 1].mean() for kind in ("achieved", "relabelled")]
    assert relabelled[1] - achieved[1] == pytest.approx((ends[1] - ends[0]) / 10, abs=3)


def test_goals_of_one_entry_lie_on_a_line():
    goals = torch.arange(5.0).view(5, 1)
    assert plane(goals).tolist() == [[x, 0.0] for x in range(5)]
    dots = places(draw(GoalPicture(), goals, goals + 0.5, goals), "relabelled")
    assert np.ptp(dots[:, 0]) < 12
    assert np.ptp(dots[:, 1]) > 100


def test_an_episode_that_stays_at_a_point_has_a_frame():
    image = draw(GoalPicture(), *[torch.full((5, 2), 3.0)] * 3)
    assert places(image, "desired").mean(axis=0) == pytest.approx([170, 200], abs=30), "in its middle"
