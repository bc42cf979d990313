import numpy as np
import pytest
import torch

from mher_pl.callbacks.goal_map import CELLS, draw_maps, smoothed, values
from mher_pl.errors import UserError
from mher_pl.evaluate import Episodes
from tests.events import events


class Distance:
    """In place of an agent: moves by `goal - observation`, and values a step by minus its length."""

    def act(self, observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return goal - observation

    def value(self, observation: torch.Tensor, goal: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return -action.norm(dim=-1)


class NoCritic(Distance):
    def value(self, observation, goal, action):
        return None


def episodes(goals: torch.Tensor, success: list[bool]) -> Episodes:
    """Episodes of two steps that begin at the origin; no goal of the second step is a real one."""
    starts, count = torch.zeros_like(goals), np.zeros(len(goals))
    seen, asked = torch.cat([starts, starts + 50.0]), torch.cat([goals, goals + 50.0])
    return Episodes(np.array(success), np.array(success), count, count, seen, asked, asked - seen)


def square(size: int = 2) -> torch.Tensor:
    """Goals [4, size] on the corners of a square, its first two dimensions from -1 to 1, the others at 3."""
    corners = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0]))
    return torch.cat([corners, torch.full((4, size - 2), 3.0)], dim=1)


def panels(figure) -> dict[str, object]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def colours(panel) -> np.ndarray:
    """Return the values [CELLS (second dimension), CELLS (first)] that a panel shows, NaN where none."""
    return panel.collections[0].get_array().filled(np.nan).reshape(CELLS, CELLS)


def test_success_lies_where_the_goals_are():
    shown = panels(draw_maps(episodes(square(), [False, False, True, False]), Distance()))
    success = colours(shown["success"])
    assert success[0, -1] == pytest.approx(1.0), "dimension 1 high, dimension 2 low"
    assert (success[[0, -1, -1], [0, 0, -1]] < 0.01).all()
    assert np.isnan(success[CELLS // 2, CELLS // 2]), "nothing is known far from all goals"
    assert shown["success"].get_xlim() == pytest.approx((-1.0, 1.0))


def test_the_smoothed_success_is_a_mean_of_the_goals_nearby():
    places = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    shares = smoothed(torch.tensor([1.0, 1.0, 0.0, 0.0]), places, torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]))
    assert shares[:2].tolist() == pytest.approx([2 / 3, 0.0])
    assert shares[2].isnan()


def test_q_is_that_of_the_goals_on_the_grid_from_the_first_states():
    shown = colours(panels(draw_maps(episodes(square(), [True] * 4), Distance()))["Q at the start"])
    half = 1.0 - 1.0 / CELLS  # the outermost centres
    assert shown[0, 0] == pytest.approx(-half * 2**0.5)
    assert shown[0, CELLS // 2] == pytest.approx(-np.hypot(half, 1.0 / CELLS))
    starts = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    assert values(Distance(), starts, torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist() == [-1.0, -1.0], "means"


def test_dimensions_that_do_not_differ_are_left_out_and_keep_their_value():
    figure = draw_maps(episodes(square(3), [True] * 4), Distance())
    assert len(panels(figure)) == 2
    centre = colours(panels(figure)["Q at the start"])[CELLS // 2, CELLS // 2]
    assert centre == pytest.approx(-3.0, abs=0.01), "3 away in the third dimension"


def test_goals_in_space_give_a_map_of_every_two_dimensions():
    goals = torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
    figure = draw_maps(episodes(goals, [True] * 10), Distance())
    labels = [(axes.get_xlabel()[-1], axes.get_ylabel()[-1]) for axes in figure.axes if axes.get_ylabel()]
    assert labels == [("1", "2"), ("1", "3"), ("2", "3")]


def test_without_a_critic_there_is_success_alone():
    assert list(panels(draw_maps(episodes(square(), [True] * 4), NoCritic()))) == ["success"]


def test_goals_on_a_line_give_no_map():
    assert draw_maps(episodes(square() * torch.tensor([1.0, 0.0]), [True] * 4), Distance()) is None
    assert draw_maps(episodes(square()[:, :1], [True] * 4), Distance()) is None


def test_the_map_is_logged_when_it_is_due_and_changes_no_training(build):
    weights = []
    for every in (0, 2):
        cli = build("point2d", **{"goal_map.every_n_epochs": every, "trainer.max_epochs": 4})
        cli.trainer.fit(cli.model, cli.datamodule)
        weights.append(cli.model.state_dict())
    assert [image.step for image in events(cli.trainer.log_dir).Images("eval/goal_map")] == [400, 600]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_map_is_of_the_first_evaluation_that_is_due(build):
    every = {"goal_map.every_n_epochs": 2, "trainer.check_val_every_n_epoch": 3, "trainer.max_epochs": 9}
    cli = build("point2d", **every)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert [image.step for image in events(cli.trainer.log_dir).Images("eval/goal_map")] == [500, 800, 1100]


def test_a_number_of_epochs_below_0_is_refused(build):
    with pytest.raises(UserError, match=r"goal_map.every_n_epochs is -1; allowed: an integer of at least 0"):
        build("point2d", **{"goal_map.every_n_epochs": -1})
