import torch
from tensordict import TensorDict

from mher_pl.goal_picture import GoalPicture


def test_the_picture_shows_achieved_desired_and_relabelled_goals():
    achieved, desired = torch.arange(10.0).view(5, 2), torch.full((5, 2), 7.0)
    mask = torch.tensor([True, False, True, False, False])
    batch = TensorDict({"desired_goal": desired, "next": {"achieved_goal": achieved}}, [5])
    relabelled = TensorDict({"desired_goal": achieved + 1, "relabelled": mask}, [5])
    lines = {line.get_label(): line.get_xydata() for line in GoalPicture().draw(batch, relabelled).axes[0].lines}
    assert lines["achieved"].tolist() == achieved.tolist()
    assert lines["relabelled"].tolist() == (achieved + 1)[mask].tolist()
    assert lines["desired"].tolist() == desired.tolist()


def test_the_next_episode_takes_the_place_of_the_last_in_the_same_figure():
    picture, mask = GoalPicture(), torch.ones(5, dtype=torch.bool)
    for place in (0.0, 100.0):
        goals = torch.arange(10.0).view(5, 2) + place
        batch = TensorDict({"desired_goal": goals, "next": {"achieved_goal": goals}}, [5])
        figure = picture.draw(batch, TensorDict({"desired_goal": goals, "relabelled": mask}, [5]))
    (axes,) = figure.axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [goals.tolist()] * 3
    assert axes.get_xlim()[0] > 50.0


def test_goals_of_one_entry_lie_on_a_line():
    goals, mask = torch.arange(5.0).view(5, 1), torch.ones(5, dtype=torch.bool)
    batch = TensorDict({"desired_goal": goals, "next": {"achieved_goal": goals}}, [5])
    figure = GoalPicture().draw(batch, TensorDict({"desired_goal": goals, "relabelled": mask}, [5]))
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[x, 0.0] for x in range(5)]
