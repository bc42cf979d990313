"""Maps of the goal space: which goals are reached, and which the critic thinks near."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, cast

import matplotlib
import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.callbacks.evaluation import Evaluation
from mher_pl.callbacks.picture import log_picture
from mher_pl.data import data_of
from mher_pl.errors import require_int
from mher_pl.evaluate import Episodes

CELLS = 16  # of a map, along each side
STARTS = 8  # states that the critic's values are means over
BANDWIDTH = 0.06  # standard deviation of the weights of a cell's neighbours, as a share of a side


class GoalMap(Callback):
    """Draw success and Q over the goals of an evaluation, which shows where a task is not yet learned.

    The episodes are the evaluation's own: each dot is a goal, blue if it was reached at the end, on the smoothed share
    of those around it; Q(s, pi(s, g), g) is that of goals on a grid, a mean over the first states of the episodes.
    Goals of three entries give a map for every two of them, with Q at the median of the third; of longer ones count the
    first three entries that differ between episodes.

    Args:
        every_n_epochs: epochs between pictures, each of the first evaluation that is due; 0 draws none.
    """

    def __init__(self, every_n_epochs: int = 0) -> None:
        require_int("goal_map.every_n_epochs", every_n_epochs, 0)
        self.every_n_epochs = every_n_epochs

    def on_validation_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Draw the evaluation that has just ended, where that is due."""
        epoch, since = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1  # the last evaluation
        due = self.every_n_epochs and epoch // self.every_n_epochs > (epoch - since) // self.every_n_epochs
        if not due or trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or not trainer.loggers:
            return
        evaluation = next(callback for callback in cast(Any, trainer).callbacks if isinstance(callback, Evaluation))
        figure = draw_maps(evaluation.outcome, pl_module)
        if figure is not None:
            log_picture(trainer, "eval/goal_map", figure, data_of(trainer).env_steps)


def draw_maps(episodes: Episodes, agent: Agent) -> Figure | None:
    """Draw success and, where there is a critic, Q over every two dimensions; None where goals differ in one alone."""
    goals = episodes.desired_goals[: len(episodes.success)]  # [N, goal]
    low, high = goals.amin(dim=0), goals.amax(dim=0)
    differing = torch.nonzero(high - low > 1e-6 * (1.0 + goals.abs().amax(dim=0))).flatten().tolist()
    pairs = list(combinations(differing[:3], 2))
    if not pairs:
        return None
    share = (torch.arange(CELLS) + 0.5) / CELLS
    grid = low + share.unsqueeze(-1) * (high - low)  # [CELLS, goal]
    success = torch.as_tensor(episodes.success, dtype=torch.float32)  # [N]
    cells = [torch.cartesian_prod(grid[:, y], grid[:, x]).flip(-1) for x, y in pairs]  # [CELLS * CELLS, 2], by rows
    sides = [(high - low)[list(pair)] for pair in pairs]
    reached = [
        smoothed(success, goals[:, pair] / side, cell / side)
        for pair, side, cell in zip(pairs, sides, cells, strict=True)
    ]
    columns = [("success", "RdYlBu", reached)]
    if agent.value(episodes.observations[:1], episodes.desired_goals[:1], episodes.actions[:1]) is not None:
        asked = goals.median(dim=0).values.repeat(len(pairs), CELLS**2, 1)  # [pairs, CELLS * CELLS, goal]
        for goal, pair, cell in zip(asked, pairs, cells, strict=True):
            goal[:, pair] = cell
        q = values(agent, episodes.observations[: len(goals)][:STARTS], asked.flatten(0, 1))
        columns.append(("Q at the start", "viridis", list(q.split(CELLS**2))))
    return draw_columns(columns, pairs, grid, goals, success)


def draw_columns(
    columns: Sequence[tuple[str, str, list[Tensor]]],
    pairs: Sequence[tuple[int, int]],
    grid: Tensor,
    goals: Tensor,
    success: Tensor,
) -> Figure:
    """Draw columns of maps, one below the other for every pair of dimensions.

    Args:
        columns: each a title, a colour map, and for every pair the values of its cells [CELLS * CELLS], by rows.
        pairs: dimensions of goals.
        grid: the cells' places in every dimension, [CELLS, goal].
        goals: of the episodes, [N, goal], shown on the maps of the first column.
        success: of the episodes, [N].
    """
    width, height = 3.0 * len(columns) + 0.6, 2.6 * len(pairs) + 0.6  # inches
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(width, height), dpi=100)
        panels = figure.subplots(
            len(pairs),
            len(columns),
            squeeze=False,
            sharey="row",
            # Margins by hand: a layout engine would draw every label once more.
            gridspec_kw={
                "left": 0.6 / width,
                "right": 1.0 - 0.3 / width,
                "bottom": 0.5 / height,
                "top": 1.0 - 0.3 / height,
            },
        )
        for (title, colour_map, maps), column in zip(columns, panels.T, strict=True):
            shown = torch.cat(maps)
            limits = (0.0, 1.0) if title == "success" else (shown.min().item(), shown.max().item())
            for panel, (x, y), colours in zip(column, pairs, maps, strict=True):
                mesh = panel.pcolormesh(
                    grid[:, x], grid[:, y], colours.view(CELLS, CELLS), cmap=colour_map, clim=limits, shading="nearest"
                )
                panel.set(xlabel=f"dimension {x + 1}", box_aspect=1)
                panel.locator_params(nbins=3)
            column[0].set_title(title)
            figure.colorbar(mesh, ax=column, shrink=0.85 / len(pairs))
        for panel, (x, y) in zip(panels[:, 0], pairs, strict=True):
            panel.set_ylabel(f"dimension {y + 1}")
            places = goals[:, [x, y]].T
            panel.scatter(*places, c=success, cmap="RdYlBu", vmin=0.0, vmax=1.0, s=20, edgecolors="white", lw=0.8)
    return figure


def smoothed(success: Tensor, places: Tensor, cells: Tensor) -> Tensor:
    """Return the mean success around each of `cells` [C, 2] of goals at `places` [N, 2]; NaN far from all of them."""
    weights = torch.exp(-0.5 * (torch.cdist(cells, places) / BANDWIDTH) ** 2)  # [C, N]
    total = weights.sum(dim=1)
    return torch.where(total > np.exp(-2.0), weights @ success / total, torch.nan)


@torch.no_grad()
def values(agent: Agent, starts: Tensor, goals: Tensor) -> Tensor:
    """Return Q(s, pi(s, g), g) [C] of goals [C, goal], means over starts [S, obs]."""
    observation, goal = starts.repeat_interleave(len(goals), dim=0), goals.repeat(len(starts), 1)
    value = agent.value(observation, goal, agent.act(observation, goal))
    assert value is not None
    return value.view(len(starts), len(goals)).mean(dim=0).cpu()
