import numpy as np
import pytest
import torch
from tensordict import TensorDict

from mher_pl.callbacks.goal_picture import GoalPicture

COLOURS = {"achieved": (31, 119, 180), "relabelled": (255, 215, 0), "desired": (214, 39, 40)}


def draw(picture: GoalPicture, achieved, relabelled, desired) -> np.ndarray:
    """Draw an episode whose rows are all relabelled."""
    batch = TensorDict({"desired_goal": desired, "next": {"achieved_goal": achieved}}, [len(desired)])
    mask = torch.ones(len(desired), dtype=torch.bool)
    return picture.draw(batch, TensorDict({"desired_goal": relabelled, "relabelled": mask}, [len(desired)]))


def places(image: np.ndarray, kind: str) -> np.ndarray:
    """Return rows and columns [N, 2] of the axes' pixels in the colour of a kind of goal."""
    near = (abs(image.astype(int) - COLOURS[kind]) < 8).all(axis=-1)
    near[:36] = False  # the legend
    return np.argwhere(near)


def at(*points: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(points)


def test_the_picture_shows_achieved_desired_and_relabelled_goals():
    achieved, desired = torch.arange(10.0).view(5, 2), torch.full((5, 2), 7.0)
    mask = torch.tensor([True, False, True, False, False])
    batch = TensorDict({"desired_goal": desired, "next": {"achieved_goal": achieved}}, [5])
    picture = GoalPicture()
    picture.draw(batch, TensorDict({"desired_goal": achieved + 1, "relabelled": mask}, [5]))
    lines = {line.get_label(): line.get_xydata() for line in picture.axes.lines}
    assert lines["achieved"].tolist() == achieved.tolist()
    assert lines["relabelled"].tolist() == (achieved + 1)[mask].tolist()
    assert lines["desired"].tolist() == desired.tolist()


def test_each_kind_of_goal_is_seen_where_it_lies():
    image = draw(GoalPicture(), at((0.0, 0.0)), at((1.0, 0.0)), at((0.0, 1.0)))
    assert image.shape == (320, 360, 3)
    achieved, relabelled, desired = (places(image, kind).mean(axis=0) for kind in COLOURS)
    assert relabelled[1] - achieved[1] > 100
    assert achieved[0] - desired[0] > 100
    assert achieved[0] == pytest.approx(relabelled[0], abs=2)
    assert achieved[1] == pytest.approx(desired[1], abs=2)


def test_the_next_episode_takes_the_place_of_the_last_within_the_same_frame():
    picture = GoalPicture()
    draw(picture, at((0.0, 0.0)), at((1.0, 0.0)), at((0.0, 1.0)))
    frame = picture.frame
    image = draw(picture, at((0.5, 0.5)), at((1.0, 0.5)), at((0.5, 0.0)))
    assert picture.frame is frame
    assert (image == draw(picture, at((0.5, 0.5)), at((1.0, 0.5)), at((0.5, 0.0)))).all()
    assert np.ptp(places(image, "achieved")[:, 1]) < 12, "one point alone"


def test_the_frame_grows_to_hold_what_lies_outside_of_it():
    picture, images = GoalPicture(), []
    for size in (1.0, 10.0, 1.0):
        images.append(draw(picture, at((0.0, 0.0)), at((size, 0.0)), at((0.0, size))))
        low, high = picture.axes.viewLim.min, picture.axes.viewLim.max
        assert (low < 0.0).all()
        assert (high > size).all()
    assert (high > 10.0).all(), "and stays"
    small, *_, far = (np.ptp(np.concatenate([places(image, kind) for kind in COLOURS]), axis=0) for image in images)
    assert (far < small / 5).all()


def test_goals_of_one_entry_lie_on_a_line():
    picture = GoalPicture()
    draw(picture, *[torch.arange(5.0).view(5, 1)] * 3)
    assert picture.axes.lines[0].get_xydata().tolist() == [[x, 0.0] for x in range(5)]


def test_an_episode_that_stays_at_a_point_has_a_frame():
    picture = GoalPicture()
    draw(picture, *[torch.full((5, 2), 3.0)] * 3)
    assert picture.axes.viewLim.width > 0.0
